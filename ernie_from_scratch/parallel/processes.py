"""The processes of one run, and what they tell each other: NCCL between GPUs, Gloo between CPU processes."""

import contextlib
import itertools
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import paddle
import paddle.distributed as dist
from paddle.base import core

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import launched_processes

# The launcher looks once a second which process has ended. Those that lose it wait, so that it is the one named.
REPORT_DELAY_SECONDS = 3
POLL_SECONDS = 0.02
TIMEOUT_SECONDS = 30


def leave(code=0):
    """End a process that Paddle's launcher has started, now that its work is done and written.

    While the interpreter takes Paddle's groups down, they crash now and then (signal 11), and the launcher would
    take that for a failure: so it is not waited for. The first process, which keeps the store that all ask, is the
    last to go.
    """
    if code == 0 and dist.is_initialized():
        # where another has ended, the launcher will say so
        with contextlib.suppress(RuntimeError, OSError):
            if dist.get_rank() > 0:
                _answer(lambda: _count("left", 1))
            else:
                _wait_for_the_others_to_leave()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _wait_for_the_others_to_leave():
    """For TIMEOUT_SECONDS at most."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while _count("left", 0) < dist.get_world_size() - 1 and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _count(key, more):
    """What all processes together have counted under `key`, with `more` added."""
    try:
        return core.create_or_get_global_tcp_store().add(key, more)
    except ValueError as error:  # Paddle's name for a connection that the process with the store has left
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
    def connect(cls):
        """This process as Paddle's launcher started it, connected with the others; alone without the launcher."""
        if launched_processes() == 1:
            return cls()
        with reporting_lost_processes():
            dist.init_parallel_env()
        return cls(dist.get_rank(), dist.get_world_size(), int(os.environ.get("PADDLE_LOCAL_RANK", 0)))

    def writes(self, share_folder):
        """Whether this process writes the run's folder: one of all, or one on each machine with its own folders."""
        return (self.rank if share_folder else self.local_rank) == 0

    def sum(self, numbers):
        """The sums over all processes of a sequence of floats, as a list."""
        if self.size == 1:
            return list(numbers)
        tensor = paddle.to_tensor(np.array(numbers, dtype="float64"))
        with reporting_lost_processes():
            dist.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, value):
        """`value` (anything that pickles) of every process, in the order of ranks."""
        if self.size == 1:
            return [value]
        values = []
        self.wait()
        with reporting_lost_processes():
            dist.all_gather_object(values, value)
        return values

    def wait(self):
        """Until every process has come here, however long one of them writes a checkpoint or reads a corpus.

        Not an exchange of tensors: Gloo gives up on those after TIMEOUT_SECONDS.
        """
        if self.size == 1:
            return
        with reporting_lost_processes():
            key = f"wait/{next(self._waits)}"
            here = _answer(lambda: _count(key, 1))
            while here < self.size:
                time.sleep(POLL_SECONDS)
                here = _answer(lambda: _count(key, 0))

    def agree(self, facts):
        """Refuse unless every process holds the same `facts`, a dict of things to compare.

        Raises:
            UserError: naming the first fact that differs and the processes that hold something else than the first.
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


def _answer(ask):
    """What `ask()` returns; OSError when it takes longer than TIMEOUT_SECONDS, as it does over a cable that is cut."""
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
def reporting_lost_processes():
    """Turn an error of a collective operation into a one-line ProcessLost."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        time.sleep(REPORT_DELAY_SECONDS)
        reason = str(error).strip().splitlines()[-1][:200]
        raise ProcessLost(f"lost the connection to another process of this run ({reason})") from error
