"""What this machine has: CPU cores, the processor's name, memory."""

import functools
import os
import platform
from pathlib import Path


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def processor_name() -> str:
    """The processor's name as Linux reports it, elsewhere at least its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory_bytes() -> tuple[int | None, int | None]:
    """(total, available) bytes of memory; None where the system does not report them."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
        return kilobytes["MemTotal"] << 10, kilobytes["MemAvailable"] << 10
    except (OSError, KeyError, ValueError):
        return None, None
