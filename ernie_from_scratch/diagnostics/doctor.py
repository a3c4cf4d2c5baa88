"""What `ernie doctor` finds out about a machine, and what to do about each thing that is missing."""

import functools
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ernie_from_scratch import native, process_setup
from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab import fonts

OK, NOTE, MISSING = "ok", "note", "missing"
GIB = 1 << 30
EXTRAS = {  # what an extra is for, and the packages that show that it is there
    "deploy": (
        "export and serving",
        ("onnxruntime", "paddle2onnx", "openvino", "fastapi", "uvicorn", "httpx"),
    ),
    "text": (".zst corpora, another segmenter", ("zstandard", "rjieba")),
    "paddlenlp": ("published weights by name, reference results", ("paddlenlp",)),
    "dev": ("tests, notebooks and lint", ("pytest", "nbval", "jupyterlab", "ruff", "import-linter")),
    "oracles": ("comparison with Hugging Face", ("torch", "transformers")),
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; "note" means it could be better, "missing" that the main path needs it."""

    topic: str
    name: str
    value: str
    state: str = OK
    advice: str = ""


def examine() -> list[Finding]:
    """All findings, in the order in which they are shown."""
    parts = (system, paddle, process_settings, helpers, packages, pictures, notebooks)
    return [finding for part in parts for finding in part()]


def system() -> Iterator[Finding]:
    version = platform.python_version()
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    advice = "" if supported else "use Python 3.10, 3.11 or 3.12: make setup PYTHON=python3.11"
    yield Finding("system", "python", f"{version} ({sys.prefix})", OK if supported else MISSING, advice)
    yield Finding(
        "system",
        "platform",
        f"{platform.system()} {platform.machine()} {process_setup.Machine.here().libc}".strip(),
    )
    yield Finding("system", "cpu", f"{cpu_name()}, {cores()} cores for this process")
    total, free = memory()
    little = free is not None and free < 2 * GIB
    advice = "`ernie demo` needs about 2 GB: close other programs" if little else ""
    shown = "unknown" if total is None else f"{total / GIB:.1f} GB, {free / GIB:.1f} GB free"
    yield Finding("system", "memory", shown, NOTE if little else OK, advice)
    disk = shutil.disk_usage(Path.cwd()).free
    advice = "runs need about 1 GB here: free some space" if disk < 2 * GIB else ""
    yield Finding(
        "system", "disk", f"{disk / GIB:.1f} GB free in {Path.cwd()}", NOTE if advice else OK, advice
    )


def paddle() -> Iterator[Finding]:
    try:
        import paddle
    except ImportError as error:
        advice = "pip install -r requirements.lock, or make setup"
        yield Finding("paddle", "paddle", f"does not import: {error}", MISSING, advice)
        return
    has_gpu_build = paddle.device.is_compiled_with_cuda()
    yield Finding("paddle", "paddle", f"{paddle.__version__} ({'GPU' if has_gpu_build else 'CPU'} build)")
    gpus = (
        [paddle.device.cuda.get_device_properties(n) for n in range(paddle.device.cuda.device_count())]
        if has_gpu_build
        else []
    )
    for number, gpu in enumerate(gpus):
        yield Finding("paddle", f"gpu {number}", f"{gpu.name}, {gpu.total_memory / GIB:.0f} GB")
    if not gpus:
        yield _no_gpu(has_gpu_build)
    else:
        yield Finding("paddle", "device", "gpu, used without a flag")
    speed = product_speed(paddle)
    yield Finding("paddle", "matrix product", f"{speed:.0f} GFLOP/s in float32 on {paddle.get_device()}")


def _no_gpu(has_gpu_build: bool) -> Finding:
    driver = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if driver and not has_gpu_build:
        advice = "to use the GPU, put paddlepaddle-gpu in place of paddlepaddle: see Paddle's install page"
        return Finding(
            "paddle", "device", "cpu; there is a GPU, but this is Paddle's CPU build", NOTE, advice
        )
    if has_gpu_build:
        advice = "check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES"
        return Finding("paddle", "device", "cpu; Paddle's GPU build sees no GPU", NOTE, advice)
    return Finding("paddle", "device", "cpu")


def product_speed(paddle, size: int = 1024, rounds: int = 8) -> float:
    """GFLOP/s of the best of some matrix products [size, size] x [size, size]."""
    a = paddle.ones([size, size])
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        float(paddle.matmul(a, a)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def process_settings() -> Iterator[Finding]:
    for setting in process_setup.report():
        value = f"{setting.state}: {setting.value}" if setting.value else setting.state
        yield Finding("settings", setting.name, f"{value} ({setting.reason})")


def helpers() -> Iterator[Finding]:
    compiler = find_compiler()
    if native.helpers():
        yield Finding("helpers", "C++ helpers", "built")
    else:
        first = "" if compiler else "install a C++17 compiler (Debian: apt-get install g++), then "
        advice = f"{first}pip install --no-deps --no-build-isolation -e ."
        if "EFS_NO_CPP" in native.why_missing():
            advice = "unset EFS_NO_CPP"
        yield Finding(
            "helpers", "C++ helpers", f"{native.why_missing()}; slower numpy versions run", NOTE, advice
        )
    yield Finding("helpers", "compiler", compiler or "none found")


def find_compiler() -> str | None:
    """Path of the C++ compiler that a build would take."""
    named = os.environ.get("CXX", "").split()[:1]
    return next((path for name in (*named, "c++", "g++", "clang++") if (path := shutil.which(name))), None)


def packages() -> Iterator[Finding]:
    for extra, (purpose, names) in EXTRAS.items():
        versions = {name: version_of(name) for name in names}
        lacking = [name for name, version in versions.items() if version is None]
        shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if not lacking:
            yield Finding("packages", extra, shown)
            continue
        advice = f'for {purpose}: pip install -c requirements.lock -e ".[{extra}]"'
        if extra == "oracles":
            advice = f"for {purpose}: pip install -c requirements.lock -r requirements-oracles.lock"
        value = f"without {', '.join(lacking)}" + (f"; {shown}" if shown else "")
        yield Finding("packages", extra, value, NOTE, advice)


def version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def pictures() -> Iterator[Finding]:
    try:
        family = fonts.chinese_font()
    except UserError as error:
        found, _, advice = str(error).partition("; ")
        yield Finding("pictures", "Chinese font", found, MISSING, advice)
    else:
        yield Finding("pictures", "Chinese font", f"{family} ({fonts.packaged_font() or 'of the system'})")


def notebooks() -> Iterator[Finding]:
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        yield Finding(
            "notebooks", "kernel", "no Jupyter", NOTE, 'pip install -c requirements.lock -e ".[dev]"'
        )
        return
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Finding(
            "notebooks", "kernel", "no kernel named python3", NOTE, "python -m ernie_from_scratch.lab.kernel"
        )
        return
    ours = "ernie_from_scratch.lab.kernel" in spec.argv
    advice = (
        ""
        if ours
        else "to apply the settings before a notebook's first cell: python -m ernie_from_scratch.lab.kernel"
    )
    yield Finding("notebooks", "kernel", f"python3 -> {spec.resource_dir}", OK if ours else NOTE, advice)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory() -> tuple[int | None, int | None]:
    """(all, available) bytes of memory; None where the system doesn't say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
        return kilobytes["MemTotal"] << 10, kilobytes["MemAvailable"] << 10
    except (OSError, KeyError, ValueError):
        return None, None


def to_json(findings: list[Finding]) -> dict:
    """The report for programs: findings by topic, and whether the main path can run."""
    topics: dict[str, list] = {}
    for finding in findings:
        topics.setdefault(finding.topic, []).append(asdict(finding))
    return {"ready": all(finding.state != MISSING for finding in findings), "topics": topics}


def show(findings: list[Finding], console=None) -> None:
    """Prints one table, and under it what to do."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    table = Table(box=None, pad_edge=False)
    for title in ("", "", "", ""):
        table.add_column(title, overflow="fold")
    marks = {OK: "[green]✓[/]", NOTE: "[yellow]•[/]", MISSING: "[red]✗[/]"}
    topic = ""
    for finding in findings:
        first = f"[bold]{finding.topic}[/]" if finding.topic != topic else ""
        table.add_row(first, marks[finding.state], finding.name, escape(finding.value))
        topic = finding.topic
    console.print(table)
    todo = [finding for finding in findings if finding.advice]
    for finding in todo:
        console.print(f"{marks[finding.state]} {finding.name}: {escape(finding.advice)}", soft_wrap=True)
    if not todo:
        console.print("[green]Nothing is missing.[/]")
