"""Stage "pretrain": the same network on the same tokens, once per masking, side by side on the machine's cores."""

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.settings import PretrainSettings


class Arm:
    """One `ernie pretrain` process: started from a settings file, watched through its metrics.jsonl."""

    def __init__(self, label, settings, threads):
        self.label, self.settings = label, settings
        self.folder = Path(settings.output_dir)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.folder.with_suffix(".yaml")
        self._file.write_text(
            yaml.safe_dump(settings.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf8"
        )
        self._log = self.folder.with_suffix(".log")
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "ernie_from_scratch", "pretrain", "--config", str(self._file)]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def rows(self):
        """Training rows of metrics.jsonl so far."""
        file = self.folder / "metrics.jsonl"
        return [row for row in read_metrics(file) if "eval" not in row] if file.exists() else []

    def check(self):
        """True while the process runs; UserError with its last line when it failed."""
        code = self.process.poll()
        if code:
            last = self._log.read_text(encoding="utf8", errors="replace").strip().splitlines()[-1:]
            raise UserError(
                f"pretraining {self.label} ended with code {code}: {''.join(last)}; whole log: {self._log}"
            )
        return code is None

    def stop(self):
        """Ask the process to checkpoint and leave, and wait for it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def pretrain_side_by_side(arms, console, at_once):
    """Run the arms to their end, `at_once` of them at a time, with one live bar each.

    Stopped by Ctrl-C or SIGTERM, every arm writes a checkpoint first; the next call continues from there.
    """
    columns = (
        TextColumn("    {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    waiting, running = list(arms), []
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        tasks = {
            arm.label: progress.add_task(arm.label, total=arm.settings.max_steps, note="") for arm in arms
        }
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(waiting.pop(0))
                    running[-1].start()
                time.sleep(0.5)
                still = [arm for arm in running if arm.check()]
                for arm in running:
                    show(progress, tasks[arm.label], arm)
                running = still
        finally:
            for arm in running:
                arm.stop()


def cores():
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def show(progress, task, arm):
    """Move an arm's bar to its newest metrics row."""
    rows = arm.rows()
    if rows:
        row = rows[-1]
        note = f"loss {row['loss']:.2f}  {row['tokens_per_second'] / 1000:.1f}k tokens/s"
        progress.update(task, completed=row["step"], note=note)


def arm_settings(demo, corpus_prefix, config_file, arm, schedule):
    """Settings of one pretraining; the two arms of the facts demo differ in their masking only."""
    return PretrainSettings(
        input_dir=str(corpus_prefix),
        output_dir=str(Path(demo.output_dir) / f"pretrain_{arm}"),
        ernie_config_file=str(config_file),
        **ARM_MASKING[arm],
        max_steps=demo.steps,
        seed=demo.seed,
        **schedule,
    )


# Like ERNIE 1.0, which has stages of both, the entity arm also hides single characters, in every third row. A network
# that has never seen a name half hidden can fill one in all at once, but not character by character.
ARM_MASKING = {
    "entity": {"masking": "knowledge", "mask_schedule": "char 1, entity 2"},
    "char": {"masking": "char"},
    "word": {"masking": "word"},
}
# ERNIE's own post-layer-norm network learns facts in minutes under these: RESULTS.md says what was tried.
FACTS_NETWORK = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.05)
FACTS_SCHEDULE = dict(
    split="98,1,1",
    max_seq_len=40,  # one sentence, or two short ones: a name's own sentence is easily found in such rows
    short_seq_prob=0.0,
    micro_batch_size=48,
    max_ngrams=1,
    max_lr=2e-3,
    min_lr=0.0,
    warmup_rate=0.05,
    pack_rows=True,  # faster on a CPU
    adam_beta2=0.95,  # a short run can't wait for the 1,000 steps that 0.999 remembers
    checkpoint_steps=200,
    save_steps=1_000_000,
    logging_freq=20,
    eval_freq=0,
)
TEXT_NETWORK = dict(initializer_range=0.05)
TEXT_SCHEDULE = {
    **FACTS_SCHEDULE,
    "max_seq_len": 128,
    "short_seq_prob": 0.1,
    "micro_batch_size": 16,
    "max_lr": 1e-3,
}
