"""Steps, tokens and FLOPs a second between two log lines, without the time of evaluations."""

import contextlib
import time
from collections.abc import Iterator


class Speed:
    """Counts what is added from `step` on."""

    def __init__(self, step: int):
        self._start(step)

    def _start(self, step):
        self._clock, self._step, self._tokens, self._flops = time.perf_counter(), step, 0, 0.0

    def add(self, tokens: int, flops: float) -> None:
        self._tokens += tokens
        self._flops += flops

    def since_last(self, step: int) -> tuple[float, float, float]:
        """(steps, tokens, FLOPs) a second since the last call; counting starts anew at `step`."""
        seconds = time.perf_counter() - self._clock
        found = (step - self._step) / seconds, self._tokens / seconds, self._flops / seconds
        self._start(step)
        return found

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time that passes inside."""
        began = time.perf_counter()
        yield
        self._clock += time.perf_counter() - began
