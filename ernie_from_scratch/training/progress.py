"""What a run shows: a live bar on a terminal, and the log line of PaddleNLP's ernie-1.0 scripts everywhere."""

import re
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ernie_from_scratch.training.metrics import last_row

LOG_LINE = (
    "global step %d, loss: %.6f, lm_loss: %.6f, sop_loss: %.6f, "
    "speed: %.2f steps/s, ips: %.2f seqs/s, learning rate: %.5e"
)
LOGGED = re.compile(r"global step (\d+), loss: ")


class TrainingProgress:
    """Context manager around a training loop.

    Args:
        total: optimizer steps of the whole run.
        quiet: show nothing (for notebooks and tests).
    """

    def __init__(self, total, quiet=False):
        self.total, self.quiet = total, quiet
        self.metrics = None  # path of the metrics.jsonl that `follow` looks into
        self.console = Console(stderr=True)
        self._bar = None

    def __enter__(self):
        if not self.quiet and sys.stderr.isatty():
            columns = [
                TextColumn("pretraining"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            ]
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, note="")
        return self

    def __exit__(self, *exception):
        if self._bar:
            self._bar.stop()

    def step(self, step):
        """Move the bar to `step` steps done."""
        if self._bar:
            self._bar.update(self._task, completed=step)

    def say(self, text):
        """One line that stays."""
        if not self.quiet:
            self._bar.console.print(
                text, highlight=False, markup=False, soft_wrap=True
            ) if self._bar else print(text, file=sys.stderr, flush=True)

    def log(self, row, steps_per_second):
        """Print a metrics row in the peers' form and put the essentials beside the bar."""
        sop_loss = row.get("sop_loss") or 0.0
        numbers = (
            row["step"],
            row["loss"],
            row["lm_loss"],
            sop_loss,
            steps_per_second,
            row["samples_per_second"],
        )
        self.say(LOG_LINE % (*numbers, row["learning_rate"]))
        self._note(row)

    def follow(self, line):
        """Show a line that the first of several processes has printed, and move the bar when it tells a step."""
        self.say(line)
        told = LOGGED.match(line)
        if told and self._bar:
            self.step(int(told[1]))
            self._note(last_row(self.metrics))

    def _note(self, row):
        if self._bar and row:
            note = f"loss {row['loss']:.3f}  {row['tokens_per_second'] / 1000:.1f}k tokens/s  MFU {row['mfu']:.0%}"
            self._bar.update(self._task, note=note)
