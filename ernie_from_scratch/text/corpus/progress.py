"""The progress bar of `ernie prepare`: percentage, MB of text per second, tokens, remaining time."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class PrepareProgress:
    """Counts bytes read, for the bar, and text encoded, for the speed. A context manager.

    Args:
        total: bytes of the files as stored, compressed or not; None when unknown (standard input).
        show: whether to show the bar; by default if stderr is a terminal.
    """

    def __init__(self, total: int | None, show: bool | None = None):
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (sys.stderr.isatty() if show is None else show),
        )
        self._task = self._progress.add_task("prepare", total=total, speed="")
        self._bytes = self._tokens = 0
        self._started = time.perf_counter()

    def __enter__(self) -> "PrepareProgress":
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def read(self, count: int) -> None:
        """`count` bytes of a file as stored were read."""
        self._progress.advance(self._task, count)

    def encoded(self, count: int, tokens: int) -> None:
        """`count` bytes of text were encoded to `tokens` tokens."""
        self._bytes += count
        self._tokens += tokens
        seconds = max(time.perf_counter() - self._started, 1e-9)
        speed = f"{self._bytes / 1e6 / seconds:.1f} MB/s · {self._tokens / 1e6:.2f} M tokens"
        self._progress.update(self._task, speed=speed)
