"""The processes of one run and how they communicate: NCCL between GPUs, Gloo between CPU processes."""

import contextlib
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import paddle
import paddle.distributed as dist
from paddle.base import core

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import launched_processes

# The launcher checks once a second which process has ended. Processes that lose a peer wait before they fail, so
# that the launcher names the one that failed first.
REPORT_DELAY_SECONDS = 3
POLL_SECONDS = 0.02
TIMEOUT_SECONDS = 30


def leave(code: int = 0) -> NoReturn:
    """End a process that Paddle's launcher has started, after its work is done and written.

    Destroying Paddle's groups crashes now and then (signal 11), which the launcher would take for a failure: so the
    interpreter's clean-up is skipped. The first process, which holds the store that all use, ends last.
    """
    if code == 0 and dist.is_initialized():
        # if another process has failed, the launcher reports it
        with contextlib.suppress(RuntimeError, OSError):
            if dist.get_rank() > 0:
                _with_timeout(lambda: _count("left", 1))
            else:
                _wait_for_other_processes()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _wait_for_other_processes():
    """Until all others have left, for at most TIMEOUT_SECONDS."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while _count("left", 0) < dist.get_world_size() - 1 and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _count(key, more):
    """Add `more` to the counter `key` of all processes; returns its value."""
    try:
        return core.create_or_get_global_tcp_store().add(key, more)
    except ValueError as error:  # how Paddle reports that the process with the store has ended
        raise OSError(str(error)) from error


class ProcessLost(UserError):
    """Another process of the run has ended, or the connection to it is lost."""


@dataclass(frozen=True)
class Processes:
    """This process among all of the run. The plain `Processes()` is a run in one process.

    Attributes:
        rank, size: number of this process, and of how many.
        local_rank: its number on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    _waits: itertools.count = field(default_factory=itertools.count, repr=False, compare=False)

    @classmethod
    def connect(cls) -> "Processes":
        """This process as Paddle's launcher started it, connected with the others; alone without the launcher."""
        if launched_processes() == 1:
            return cls()
        with reporting_lost_processes():
            dist.init_parallel_env()
        return cls(dist.get_rank(), dist.get_world_size(), int(os.environ.get("PADDLE_LOCAL_RANK", 0)))

    def writes(self, share_folder: bool) -> bool:
        """Whether this process writes the run's folder: one of all, or one on each machine with its own folders."""
        return (self.rank if share_folder else self.local_rank) == 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes of a sequence of floats, as a list."""
        if self.size == 1:
            return list(numbers)
        tensor = paddle.to_tensor(np.array(numbers, dtype="float64"))
        with reporting_lost_processes():
            dist.all_reduce(tensor)
        return [float(total) for total in tensor]

    def gather(self, value: Any) -> list[Any]:
        """`value` (anything that pickles) of every process, in the order of ranks."""
        if self.size == 1:
            return [value]
        values = []
        self.wait()
        with reporting_lost_processes():
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Barrier: until every process has called it, however long one of them writes a checkpoint or reads a corpus.

        Not a collective operation on tensors: with Gloo those time out after TIMEOUT_SECONDS.
        """
        if self.size == 1:
            return
        with reporting_lost_processes():
            key = f"wait/{next(self._waits)}"
            arrived = _with_timeout(lambda: _count(key, 1))
            while arrived < self.size:
                time.sleep(POLL_SECONDS)
                arrived = _with_timeout(lambda: _count(key, 0))

    def agree(self, facts: dict[str, Any]) -> None:
        """Raise unless every process has the same `facts`, a dict of values to compare.

        Raises:
            UserError: naming the first value that differs and a process that has another one than the first.
        """
        everyone = self.gather(facts)
        for name, value in everyone[0].items():
            others = [rank for rank, held in enumerate(everyone) if held[name] != value]
            if others:
                found = everyone[others[0]][name]
                raise UserError(
                    f"the processes differ in {name}: process 0 has {value}, process {others[0]} has {found}; "
                    "start all of them with the same command and the same files"
                )


def _with_timeout(ask: Callable[[], Any]) -> Any:
    """What `ask()` returns; OSError when it takes longer than TIMEOUT_SECONDS, as over a broken connection."""
    answers = queue.SimpleQueue()

    def put():
        try:
            answers.put((ask(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=put, daemon=True).start()
    try:
        answer, error = answers.get(timeout=TIMEOUT_SECONDS)
    except queue.Empty:
        raise OSError(f"no answer for {TIMEOUT_SECONDS} s") from None
    if error:
        raise error
    return answer


@contextlib.contextmanager
def reporting_lost_processes() -> Iterator[None]:
    """Turn an error of a collective operation into a one-line ProcessLost."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        time.sleep(REPORT_DELAY_SECONDS)
        reason = str(error).strip().splitlines()[-1][:200]
        raise ProcessLost(f"lost the connection to another process of this run ({reason})") from error
