"""What a run shows: a live bar on a terminal, and the log line of PaddleNLP's ernie-1.0 scripts everywhere."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ernie_from_scratch.training.metrics import last_row

LOGGED = re.compile(r"global step (\d+), loss: ")


class TrainingProgress:
    """Context manager around a training loop.

    Args:
        total: optimizer steps of the whole run.
        quiet: show nothing (for notebooks and tests).
        title: stands before the bar.
        metrics: path of the metrics.jsonl that `follow` reads.
    """

    def __init__(
        self, total: int, quiet: bool = False, title: str = "pretraining", metrics: Path | None = None
    ):
        self.total, self.quiet, self.title, self.metrics = total, quiet, title, metrics
        self.console = Console(stderr=True)
        self._bar = None

    def __enter__(self) -> "TrainingProgress":
        if not self.quiet and sys.stderr.isatty():
            columns = [
                TextColumn(self.title),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            ]
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, note="")
        return self

    def __exit__(self, *exception) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, step: int) -> None:
        """Move the bar to `step` steps done."""
        if self._bar:
            self._bar.update(self._task, completed=step)

    def log_line(self, text: str) -> None:
        """Print one line above the bar."""
        if not self.quiet:
            self._bar.console.print(
                text, highlight=False, markup=False, soft_wrap=True
            ) if self._bar else print(text, file=sys.stderr, flush=True)

    def log(self, row: dict[str, Any], metric_names: Sequence[str], steps_per_second: float) -> None:
        """Print a metrics row as PaddleNLP's ernie-1.0 scripts do, and the essentials beside the bar."""
        losses = ", ".join(f"{name}: {row[name]:.6f}" for name in ("loss", *metric_names))
        speeds = f"speed: {steps_per_second:.2f} steps/s, ips: {row['samples_per_second']:.2f} seqs/s"
        rate = f"learning rate: {row['learning_rate']:.5e}"
        self.log_line(f"global step {row['step']}, {losses}, {speeds}, {rate}")
        self._note(row)

    def follow(self, line: str) -> None:
        """Show a line that the first of several processes has printed, and move the bar when it logs a step."""
        self.log_line(line)
        logged = LOGGED.match(line)
        if logged and self._bar and self.metrics:
            self.step(int(logged[1]))
            self._note(last_row(self.metrics))

    def _note(self, row: dict[str, Any] | None) -> None:
        if self._bar and row:
            note = f"loss {row['loss']:.3f}  {row['tokens_per_second'] / 1000:.1f}k tokens/s  MFU {row['mfu']:.0%}"
            self._bar.update(self._task, note=note)
