"""What a training run does about signals, and which signals the tests themselves begin with."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ernie_from_scratch.training.interrupt import StopRequest


@pytest.fixture(autouse=True)
def handlers():
    """Handlers that raise no exception, so that a signal too many is counted; the old ones afterwards."""
    received = []
    before = {n: signal.signal(n, lambda number, frame: received.append(number)) for n in StopRequest.SIGNALS}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", StopRequest.SIGNALS)
def test_the_first_signal_is_a_request_and_the_second_goes_to_the_former_handler(handlers, number):
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested and handlers == []
        signal.raise_signal(number)
        assert handlers == [number]


def test_handlers_are_restored(handlers):
    with StopRequest() as stop:
        pass
    signal.raise_signal(signal.SIGTERM)
    assert handlers == [signal.SIGTERM] and not stop.requested


def test_an_ignored_sigint_stays_ignored_and_sigterm_stops_the_run(handlers):
    """How a shell starts the background jobs of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop.requested
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN and handlers == []


def test_in_another_thread_it_leaves_the_handlers_alone(handlers):
    def enter():
        with StopRequest():
            signal.raise_signal(signal.SIGTERM)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.SIGTERM]


STATE = """
import signal
print(*(signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)))
print(*signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_programs_of_the_tests_begin_with_default_signals_in_any_shell():
    """Also where a script has started pytest in the background, or a supervisor with signals blocked."""
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STATE!r}])"
    helpers = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import process_helpers as p; "
    block = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGALRM]); "
        "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]; "
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    )
    said = []
    for program in (start, helpers + "p.set_default_signals(); " + start):
        done = subprocess.run(
            [sys.executable, "-c", block, program], capture_output=True, text=True, check=True
        )
        said.append(done.stdout.split("\n")[:2])
    assert said[0][0] == "True True True" and said[0][1] != ""
    assert said[1] == ["False False False", ""]
