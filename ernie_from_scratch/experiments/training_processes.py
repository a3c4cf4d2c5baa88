"""Several `ernie pretrain` runs side by side, each in its own process, with a live progress bar per run."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.settings import PretrainSettings

POLL_SECONDS = 0.5


class TrainingProcess:
    """One `ernie pretrain` process, observed through the metrics.jsonl of its run folder.

    Started again after it was stopped, it resumes from its last checkpoint; a finished run returns at once.

    Args:
        label: the name shown beside the progress bar.
        settings: `settings.output_dir` is the run folder RUN; RUN.yaml and RUN.log are written beside it.
        threads: threads of the matrix products.
    """

    def __init__(self, label: str, settings: PretrainSettings, threads: int):
        assert settings.output_dir is not None
        self.label, self.settings = label, settings
        self.folder = Path(settings.output_dir)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._config = self.folder.with_suffix(".yaml")
        self._config.write_text(settings.to_yaml(), encoding="utf8")
        self._log = self.folder.with_suffix(".log")
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ernie_from_scratch", "pretrain", "--config", str(self._config)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def rows(self) -> list[dict]:
        """The training rows of metrics.jsonl so far."""
        file = self.folder / "metrics.jsonl"
        return [row for row in read_metrics(file) if "eval" not in row] if file.exists() else []

    def is_running(self) -> bool:
        """Whether the started process still runs.

        Raises:
            UserError: it has failed; the message holds the last line of its log.
        """
        code = self._process.poll() if self._process else 0
        if code:
            last = self._log.read_text(encoding="utf8", errors="replace").strip().splitlines()[-1:]
            raise UserError(
                f"pretraining {self.label} ended with exit code {code}: {''.join(last)}; full log: {self._log}"
            )
        return code is None

    def stop(self) -> None:
        """Let the process write a checkpoint and exit, and wait for that."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def train_side_by_side(runs: Sequence[TrainingProcess], console: Console, at_once: int) -> None:
    """Train all `runs` to their end, `at_once` of them at a time.

    If this function is left by an exception (Ctrl-C, SIGTERM turned into KeyboardInterrupt, a failed run), all
    running processes write a checkpoint first; the next call resumes from there.

    Raises:
        UserError: a run has failed.
    """
    columns = (
        TextColumn("    {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    waiting, running = list(runs), []
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bars = [progress.add_task(run.label, total=run.settings.max_steps, note="") for run in runs]
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(waiting.pop(0))
                    running[-1].start()
                time.sleep(POLL_SECONDS)
                for run in list(running):
                    finished = not run.is_running()
                    _update_bar(progress, bars[runs.index(run)], run)
                    if finished:
                        running.remove(run)
        finally:
            for run in running:
                run.stop()


def _update_bar(progress: Progress, bar: TaskID, run: TrainingProcess) -> None:
    rows = run.rows()
    if rows:
        note = f"loss {rows[-1]['loss']:.2f}  {rows[-1]['tokens_per_second'] / 1000:.1f}k tokens/s"
        progress.update(bar, completed=rows[-1]["step"], note=note)
