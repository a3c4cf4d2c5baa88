"""`ernie doctor`: what a machine has, and what to do about each thing that is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ernie_from_scratch import jupyter_kernel, native, process_setup
from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab import fonts
from ernie_from_scratch.utils.machine import available_cores, memory_bytes, processor_name

if TYPE_CHECKING:
    from rich.console import Console

OK, NOTE, MISSING = "ok", "note", "missing"
GIB = 1 << 30
EXTRAS = {  # name of the extra -> its purpose, and packages that are there if it is installed
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
    """One line of the report.

    Attributes:
        state: OK; NOTE: something could be better; MISSING: `ernie demo` does not run without it.
        advice: what to do about it; empty if there is nothing to do.
    """

    topic: str
    name: str
    value: str
    state: str = OK
    advice: str = ""


def examine() -> list[Finding]:
    """All findings, in the order in which they are shown."""
    topics = (system, paddle, process_settings, helpers, packages, pictures, notebooks)
    return [finding for topic in topics for finding in topic()]


def system() -> Iterator[Finding]:
    """Python, platform, processor, memory and disk."""
    version = platform.python_version()
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    advice = "" if supported else "use Python 3.10, 3.11 or 3.12: make setup PYTHON=python3.11"
    yield Finding("system", "python", f"{version} ({sys.prefix})", OK if supported else MISSING, advice)
    yield Finding(
        "system",
        "platform",
        f"{platform.system()} {platform.machine()} {process_setup.Machine.here().libc}".strip(),
    )
    yield Finding("system", "cpu", f"{processor_name()}, {available_cores()} cores for this process")
    total, free = memory_bytes()
    if total is None or free is None:
        yield Finding("system", "memory", "unknown")
    else:
        advice = "`ernie demo` needs about 2 GB: close other programs" if free < 2 * GIB else ""
        shown = f"{total / GIB:.1f} GB, {free / GIB:.1f} GB free"
        yield Finding("system", "memory", shown, NOTE if advice else OK, advice)
    disk = shutil.disk_usage(Path.cwd()).free
    advice = "runs need about 1 GB here: free some space" if disk < 2 * GIB else ""
    yield Finding(
        "system", "disk", f"{disk / GIB:.1f} GB free in {Path.cwd()}", NOTE if advice else OK, advice
    )


def paddle() -> Iterator[Finding]:
    """Paddle's build, the GPUs that it uses, and its speed."""
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
        yield Finding("paddle", "device", "gpu, used by default")
    speed = matmul_gflops()
    yield Finding("paddle", "matrix product", f"{speed:.0f} GFLOP/s in float32 on {paddle.get_device()}")


def _no_gpu(has_gpu_build: bool) -> Finding:
    has_driver = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if has_driver and not has_gpu_build:
        advice = "to use the GPU, install paddlepaddle-gpu instead of paddlepaddle: see Paddle's install page"
        return Finding(
            "paddle", "device", "cpu; there is a GPU, but this is Paddle's CPU build", NOTE, advice
        )
    if has_gpu_build:
        advice = "check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES"
        return Finding("paddle", "device", "cpu; Paddle's GPU build sees no GPU", NOTE, advice)
    return Finding("paddle", "device", "cpu")


def matmul_gflops(size: int = 1024, rounds: int = 8) -> float:
    """GFLOP/s of the fastest of `rounds` products [size, size] x [size, size] in float32."""
    import paddle

    a = paddle.ones([size, size])
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        float(paddle.matmul(a, a)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def process_settings() -> Iterator[Finding]:
    """The settings that importing the package has applied to this process."""
    for setting in process_setup.report():
        value = f"{setting.state}: {setting.value}" if setting.value else setting.state
        yield Finding("settings", setting.name, f"{value} ({setting.reason})")


def helpers() -> Iterator[Finding]:
    """The C++ module and the compiler that builds it."""
    compiler = find_compiler()
    if native.helpers():
        yield Finding("helpers", "C++ helpers", "built")
    else:
        reason = native.why_missing()
        first = "" if compiler else "install a C++17 compiler (Debian: apt-get install g++), then "
        advice = f"{first}pip install --no-deps --no-build-isolation -e ."
        advice = "unset EFS_NO_CPP" if "EFS_NO_CPP" in reason else advice
        yield Finding("helpers", "C++ helpers", f"{reason}; slower numpy versions are used", NOTE, advice)
    yield Finding("helpers", "compiler", compiler or "none found")


def find_compiler() -> str | None:
    """Path of the C++ compiler that a build would use."""
    chosen = os.environ.get("CXX", "").split()[:1]
    return next((path for name in (*chosen, "c++", "g++", "clang++") if (path := shutil.which(name))), None)


def packages() -> Iterator[Finding]:
    """The optional packages, by extra."""
    for extra, (purpose, names) in EXTRAS.items():
        versions = {name: version_of(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if not missing:
            yield Finding("packages", extra, shown)
            continue
        advice = f'for {purpose}: pip install -c requirements.lock -e ".[{extra}]"'
        if extra == "oracles":
            advice = f"for {purpose}: pip install -c requirements.lock -r requirements-oracles.lock"
        value = f"without {', '.join(missing)}" + (f"; {shown}" if shown else "")
        yield Finding("packages", extra, value, NOTE, advice)


def version_of(distribution: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def pictures() -> Iterator[Finding]:
    """The font for Chinese text in pictures."""
    try:
        family = fonts.chinese_font()
    except UserError as error:
        found, _, advice = str(error).partition("; ")
        yield Finding("pictures", "Chinese font", found, MISSING, advice)
    else:
        yield Finding("pictures", "Chinese font", f"{family} ({fonts.packaged_font() or 'of the system'})")


def notebooks() -> Iterator[Finding]:
    """The Jupyter kernel of the notebooks."""
    install = f"python -m {jupyter_kernel.MODULE}"
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        advice = 'pip install -c requirements.lock -e ".[dev]"'
        yield Finding("notebooks", "kernel", "no Jupyter", NOTE, advice)
        return
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Finding("notebooks", "kernel", "no kernel named python3", NOTE, install)
        return
    ours = jupyter_kernel.MODULE in spec.argv
    advice = "" if ours else f"to apply the settings before a notebook's first cell: {install}"
    yield Finding("notebooks", "kernel", f"python3 -> {spec.resource_dir}", NOTE if advice else OK, advice)


def to_json(findings: list[Finding]) -> dict:
    """The report for programs: findings by topic, and whether `ernie demo` can run."""
    topics: dict[str, list] = {}
    for finding in findings:
        topics.setdefault(finding.topic, []).append(asdict(finding))
    return {"ready": all(finding.state != MISSING for finding in findings), "topics": topics}


def show(findings: list[Finding], console: Console | None = None) -> None:
    """Print one table, and what to do below it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    table = Table(box=None, pad_edge=False)
    for _ in range(4):
        table.add_column(overflow="fold")
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
