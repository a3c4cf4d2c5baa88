"""A process whose run has lost the one with the store reports it in one line."""

import subprocess
import sys
import threading

import pytest
from paddle.base import core
from process_helpers import HANG_SECONDS

from ernie_from_scratch.parallel import processes
from ernie_from_scratch.parallel.processes import Processes, ProcessLost

HOLD_A_STORE = """
import time
from ernie_from_scratch.parallel.gloo import _open_store
store, address = _open_store()
print(address, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def holder(monkeypatch):
    """Another process with the run's store; this one is connected to it."""
    with subprocess.Popen([sys.executable, "-c", HOLD_A_STORE], stdout=subprocess.PIPE, text=True) as process:
        host, port = process.stdout.readline().split(":")
        store = core.TCPStore(host, int(port), False, 0, HANG_SECONDS)
        monkeypatch.setattr(processes.core, "create_or_get_global_tcp_store", lambda: store)
        yield process
        process.kill()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_waiting_for_a_process_that_has_ended(holder, when):
    if when == "before":
        holder.kill()
        holder.wait()
    else:
        threading.Timer(1, holder.kill).start()
    with pytest.raises(ProcessLost, match="^lost the connection to another process of this run") as lost:
        Processes(rank=1, size=2).wait()
    assert "no answer" not in str(lost.value)  # noticed at once, not after the limit of an exchange
