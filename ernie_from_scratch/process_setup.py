"""Process settings that release the brakes of Paddle on a CPU; `import ernie_from_scratch` applies them.

Three settings, each only where it helps and never over what the user has set (a training step of 4 layers
x 312 takes 2.2 times as long without them on an AMD EPYC):

- MKL_DEBUG_CPU_TYPE=5: the MKL inside Paddle takes its slow path on CPUs that are not Intel's; 5 names the
  AVX2 path.
- FLAGS_use_stride_kernel=0: transpose and slice return contiguous tensors at once, instead of views that
  each of their readers copies again.
- glibc's malloc keeps big blocks, instead of giving them back to the system at every step and getting them
  again as fresh pages to be zeroed.

EFS_NO_SETTINGS=1 switches all of them off. `ernie doctor` prints what `report()` returns.
"""

import ctypes
import importlib.metadata
import logging
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OPT_OUT = "EFS_NO_SETTINGS"
MKL = "MKL_DEBUG_CPU_TYPE"
STRIDE = "FLAGS_use_stride_kernel"
MALLOC = "mallopt"
THREADS = "OMP_NUM_THREADS"

# Parameter numbers of mallopt(3) in glibc's malloc.h, and sizes in bytes.
MALLOC_OPTIONS = {
    -4: 0,  # M_MMAP_MAX: big blocks come from the heap too (M_MMAP_THRESHOLD can't go above 32 MB)
    -1: (1 << 31) - 1,  # M_TRIM_THRESHOLD: the heap's free top is not given back
    -2: 1 << 26,  # M_TOP_PAD: the heap grows by 64 MB at a time
}
MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
# What importing paddle and paddlenlp warns of in every process, and nobody can mend.
HARMLESS_WARNINGS = ("No ccache found", "Setuptools is replacing distutils")


@dataclass(frozen=True)
class Setting:
    """One setting; `state` is "applied", "kept" (the user's own value stays) or "skipped"."""

    name: str
    value: str
    state: str
    reason: str


@dataclass(frozen=True)
class Machine:
    """What the decision rests on."""

    system: str  # "Linux", "Darwin", "Windows"
    cpu_vendor: str  # as in /proc/cpuinfo, "" where there is none
    has_avx2: bool
    libc: str  # "glibc 2.36"; "" for musl and elsewhere
    paddle_build: str  # name of the installed distribution: "paddlepaddle", "paddlepaddle-gpu" or ""
    paddle_imported: bool

    @classmethod
    def here(cls) -> "Machine":
        vendor, avx2 = _cpu()
        return cls(platform.system(), vendor, avx2, _libc(), _paddle_build(), "paddle" in sys.modules)


def decide(machine: Machine, environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """What to apply on this machine in this environment; changes nothing."""
    if environ.get(OPT_OUT, "") not in ("", "0"):
        return tuple(Setting(name, "", "skipped", f"{OPT_OUT} is set") for name in (MKL, STRIDE, MALLOC))
    return _mkl(machine, environ), _stride(machine, environ), _malloc(machine, environ)


def _mkl(machine: Machine, environ: Mapping[str, str]) -> Setting:
    if MKL in environ:
        return Setting(MKL, environ[MKL], "kept", "already in the environment")
    if machine.cpu_vendor != "AuthenticAMD":
        return Setting(MKL, "", "skipped", "helps on AMD CPUs under Linux only")
    if not machine.has_avx2:
        return Setting(MKL, "", "skipped", "this CPU has no AVX2")
    return Setting(MKL, "5", "applied", "AMD CPU: matrix products take MKL's AVX2 path")


def _stride(machine: Machine, environ: Mapping[str, str]) -> Setting:
    if STRIDE in environ:
        return Setting(STRIDE, environ[STRIDE], "kept", "already in the environment")
    if machine.paddle_imported:  # views made before would be refused by every operation after
        return Setting(STRIDE, "", "skipped", "too late: import ernie_from_scratch before paddle")
    if machine.paddle_build != "paddlepaddle":
        return Setting(STRIDE, "", "skipped", "helps Paddle's CPU build only")
    return Setting(STRIDE, "0", "applied", "no hidden copies of transposed tensors")


def _malloc(machine: Machine, environ: Mapping[str, str]) -> Setting:
    if any(name in environ for name in MALLOC_VARIABLES) or "glibc.malloc" in environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return Setting(MALLOC, "", "kept", "malloc is tuned in the environment")
    if not machine.libc.startswith("glibc"):
        return Setting(MALLOC, "", "skipped", "for glibc only")
    return Setting(MALLOC, "keep big blocks", "applied", "glibc: freed memory is reused")


_report: tuple[Setting, ...] = ()


def apply() -> tuple[Setting, ...]:
    """Applies the settings to this process, once; returns what was done and why."""
    global _report
    if not _report:
        _report = tuple(_do(setting) for setting in decide(Machine.here(), os.environ))
        for message in HARMLESS_WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        # paddlenlp imports datasets, which says on stderr which other frameworks it finds.
        logging.getLogger("datasets").setLevel(logging.WARNING)
    return _report


def _do(setting: Setting) -> Setting:
    if setting.state != "applied":
        return setting
    if setting.name != MALLOC:
        os.environ[setting.name] = setting.value
        return setting
    libc = ctypes.CDLL(None)
    refused = [option for option, size in MALLOC_OPTIONS.items() if libc.mallopt(option, size) != 1]
    if refused:
        return Setting(MALLOC, "", "skipped", f"this glibc refuses the options {refused}")
    return setting


def report() -> tuple[Setting, ...]:
    """What `apply` did in this process, and the threads of a matrix product, which it leaves alone."""
    threads = os.environ.get(THREADS, "1")
    threads = Setting(THREADS, threads, "kept", "Paddle's default is one thread per process")
    return (*apply(), threads)


def plain_environment() -> dict[str, str]:
    """The environment for a child process that is to run without our settings (a peer in a benchmark)."""
    ours = {setting.name for setting in apply() if setting.state == "applied"}
    return {key: value for key, value in os.environ.items() if key not in ours} | {OPT_OUT: "1"}


def _cpu() -> tuple[str, bool]:
    """Vendor of the CPU and whether it has AVX2, from Linux's /proc/cpuinfo; ("", False) elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "", False
    facts = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts.get("vendor_id", ""), "avx2" in facts.get("flags", "").split()


def _libc() -> str:
    """Name and version of glibc; "" where the C library is another one."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # Windows; musl and macOS
        return ""


def _paddle_build() -> str:
    for name in ("paddlepaddle", "paddlepaddle-gpu"):
        try:
            return importlib.metadata.distribution(name).metadata["Name"]
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
