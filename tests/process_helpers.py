"""Starting programs beside the tests, waiting for what they do, and the signals that all of them begin with."""

import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

# Seconds that only something that hangs takes: far more than ten times what any wait takes on a quiet machine, and
# below the limit of a test in pyproject.toml, so that the message says which wait it was.
HANG_SECONDS = 900

_started: list[subprocess.Popen] = []


def set_default_signals() -> None:
    """Give this process, and those that it starts, the signals of a program that is started from a terminal.

    A shell that runs a script starts its background jobs with SIGINT and SIGQUIT ignored, nohup and supervisors ignore
    or block others, and all of that is inherited: Ctrl-C would reach no process of the tests. A handler in this
    process is enough, since a handled signal has its default action again in a program that is started from here.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def start(command: list[str], **options) -> subprocess.Popen:
    """Start a program with its stderr in a pipe, as text. One that still runs when its test has ended is killed."""
    process = subprocess.Popen(command, **{"stderr": subprocess.PIPE, "text": True, **options})
    _started.append(process)
    return process


def kill_started() -> None:
    """Kill what `start` has started and what still runs, with all of its processes."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                each.kill()
            process.communicate()


def runs(number: int) -> bool:
    """Whether the process with this number is there, and not only its entry, which init may leave."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Return as soon as `condition()` is true; the test fails if `process` ends before, or nothing happens at all."""
    limit = time.monotonic() + HANG_SECONDS
    while not condition():
        if process is not None and process.poll() is not None:
            if condition():  # true just before the end
                return
            said = "".join(text for text in process.communicate() if text)
            pytest.fail(f"it has ended with exit code {process.returncode}: {said}")
        assert time.monotonic() < limit, f"waited {HANG_SECONDS} s in vain"
        time.sleep(0.01)
