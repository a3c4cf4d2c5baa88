"""The only training loop: forward, backward, average, clip, step, log, evaluate, checkpoint, resume.

Pretraining and fine-tuning differ in the source, the objective and the evaluator that they hand it.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.batch import Batch, row_lengths
from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.dataset.source import Source
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import Objective
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.processes import Processes, reporting_lost_processes
from ernie_from_scratch.parallel.sharding import parallel_optimizer, parallel_scaler
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.planner.counts import step_flops
from ernie_from_scratch.training.bad_steps import save_bad_step
from ernie_from_scratch.training.checkpoint import Checkpoints, weights_checksum
from ernie_from_scratch.training.graph import static_network
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.metrics import MetricsLog
from ernie_from_scratch.training.optimizer import build_optimizer
from ernie_from_scratch.training.peak_flops import measure_peak_flops
from ernie_from_scratch.training.precision import Precision
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.run_folder import locked_run_folder, make_run_folder, open_run_folder
from ernie_from_scratch.training.schedule import build_schedule
from ernie_from_scratch.training.seeds import micro_batch_seed
from ernie_from_scratch.training.settings import TrainSettings
from ernie_from_scratch.training.speed import Speed


class Evaluator(Protocol):
    """Scores the network during a run."""

    def due(self, step: int, last: bool) -> bool:
        """Whether to evaluate after this many steps; `last`: the run ends here."""
        ...

    def evaluate(self, trainer: "Trainer") -> Iterator[tuple[str, dict[str, Any]]]:
        """(name of a split, its scores); every process calls it."""
        ...

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, JSON-able; goes into each checkpoint. Not empty: checkpoint after evaluating."""
        ...

    def load(self, state: dict[str, Any]) -> None: ...


@dataclass
class TrainResult:
    """How a call of `Trainer.train` ended: `finished` is False when a signal stopped it after `step` steps."""

    folder: Path
    step: int
    finished: bool


class Trainer:
    """One process of a run.

    Args:
        settings: checked `TrainSettings`.
        model: the complete network, identical on every process.
        source: its "train" split is what the run reads.
        evaluator: None: no evaluation.
        checkpoint_folder: default: `settings.output_dir`.
        progress: shows bar and log lines; default: a `TrainingProgress`.
        given_settings: what config.yaml shows and a resumed run is compared with, where values in `settings` have
            been derived from the data; default: `settings`.
        steps_per_epoch: also log the epoch.
        upgrade_state: from the state that an earlier version saved with a checkpoint to that of this version.
    """

    def __init__(
        self,
        settings: TrainSettings,
        processes: Processes,
        strategy: Strategy,
        model: TaskModel,
        source: Source,
        objective: Objective,
        evaluator: Evaluator | None = None,
        checkpoint_folder: Path | None = None,
        progress: TrainingProgress | None = None,
        given_settings: TrainSettings | None = None,
        upgrade_state: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        steps_per_epoch: int | None = None,
    ):
        self.settings, self.processes, self.strategy = settings, processes, strategy
        self._given_settings = given_settings or settings
        self.source, self.objective, self.evaluator = source, objective, evaluator
        self.folder, self._upgrade_state = Path(settings.output_dir), upgrade_state
        self._steps_per_epoch = steps_per_epoch
        self.progress = progress or TrainingProgress(settings.max_steps)
        self._must_agree = settings.shared() | {"the training data (SHA-256)": source.fingerprint}
        if processes.size > 1:
            self._must_agree["weights (SHA-256)"] = weights_checksum(model)
        forward = static_network(model, objective) if settings.to_static else None
        self.network = ParallelNetwork(model, strategy, objective, settings.sharding_stage, forward)
        self.schedule = build_schedule(settings)
        optimizer = build_optimizer(
            model, self.schedule, settings.weight_decay, settings.grad_clip, beta2=settings.adam_beta2
        )
        self.precision = Precision(settings, model, optimizer, log=self.progress.log_line)
        self.optimizer: Any = parallel_optimizer(
            self.network, optimizer, settings.sharding_stage, settings.offload
        )
        self.precision.wrap_scaler(
            lambda scaler: parallel_scaler(scaler, self.strategy, settings.sharding_stage)
        )
        self.checkpoints = Checkpoints(
            checkpoint_folder or self.folder,
            self.network,
            self.optimizer,
            processes,
            settings.share_folder,
            self.progress.log_line,
        )
        self.step, self.tokens = 0, 0
        self.skipped, self.bad_in_a_row = 0, 0  # steps without a finite loss and gradient, under loss scaling
        self.metrics: MetricsLog | None = None
        self.peak = measure_peak_flops(self.precision.product_type) * processes.size  # FLOP/s

    @contextlib.contextmanager
    def hold_folder(self) -> Iterator[None]:
        """Lock the run folder, created if necessary, and compare the settings with those of the run in it."""
        with contextlib.ExitStack() as held:
            if self.checkpoints.writes:
                folder = make_run_folder(self.settings)
                held.enter_context(locked_run_folder(folder, self.progress.log_line))
                open_run_folder(self._given_settings, self.processes.size)
            self.processes.wait()  # until the folder is there
            yield

    @contextlib.contextmanager
    def open_run(self) -> Iterator[None]:
        """Resume from the newest checkpoint of the folder that is held, or begin; metrics.jsonl is open."""
        with contextlib.ExitStack() as held:
            offset = self._resume()
            if self.checkpoints.writes:
                self.metrics = held.enter_context(MetricsLog(self.folder, offset))
            yield

    def _resume(self) -> int:
        """Load the newest undamaged checkpoint; returns the metrics offset in bytes."""
        checkpoint = self.checkpoints.newest()
        self.processes.agree(self._must_agree | {"the checkpoint": checkpoint and checkpoint.name})
        if checkpoint is None:
            return 0
        state = self._upgrade_state(self.checkpoints.load(checkpoint))
        if self.evaluator and state.get("evaluator"):
            self.evaluator.load(state["evaluator"])
        if state.get("source", state.get("corpus")) != self.source.fingerprint:  # "corpus": before 0.2
            raise UserError(
                f"{self.folder} was trained on other data than it is given now; use another --output_dir"
            )
        self.precision.load(state.get("scaler"))
        self.skipped, self.bad_in_a_row = state.get("skipped", (0, 0))
        self.step, self.tokens = state["step"], state["tokens"]
        self.progress.log_line(f"resuming {self.folder} from step {self.step}")
        return state["metrics_offset"]

    def train(self) -> TrainResult:
        """Run until max_steps or a stop signal to any of the processes."""
        settings, start = self.settings, self.step
        loader = BatchLoader(
            self.source["train"],
            settings.micro_batch_size,
            start_sample=self.step * settings.rows_per_step,
            rank=self.strategy.data_rank,
            world_size=self.strategy.data_world,
            num_workers=settings.num_workers,
        )
        self.network.train()
        speed = Speed(self.step)
        with StopRequest() as stop, self.progress, loader:
            stopping = False
            while self.step < settings.max_steps and not stopping:
                row, stopping = self._step(loader, stop, speed)
                self.progress.step(self.step)
                last = self.step == settings.max_steps
                if self.step % settings.logging_freq == 0 or last:
                    self._log(row, speed)
                evaluated = self.evaluator is not None and self.evaluator.due(self.step, last)
                if evaluated:
                    with speed.paused():
                        self._evaluate()
                due = self.step % settings.checkpoint_steps == 0 or self.step % settings.save_steps == 0
                if due or (evaluated and self.evaluator and self.evaluator.state()):
                    self.save()
            if self.step > start:
                self.save()
        return TrainResult(self.folder, self.step, self.step >= settings.max_steps)

    def add_gradients(self, batches: list[Batch]) -> tuple[list[float], int]:
        """Forward and backward of this process's micro batches of one step; gradients are those of the whole step.

        Returns:
            Mean losses of the step (total, then the objective's metrics), and tokens that all processes have read.
        """
        with reporting_lost_processes():
            losses, tokens = self.network.train_step(batches, self.seeds(len(batches)), self.precision)
        return [float(loss) for loss in losses], tokens

    def micro_batch_numbers(self, count: int) -> list[int]:
        """Numbers of this process's `count` micro batches among those that all processes read in a step."""
        return [k * self.strategy.data_world + self.strategy.data_rank for k in range(count)]

    def seeds(self, count: int) -> list[int]:
        """Seeds of the dropout in each of this process's micro batches of the coming step."""
        numbers = self.micro_batch_numbers(count)
        return [micro_batch_seed(self.settings.seed, self.step, number) for number in numbers]

    def _flops(self, batch: Batch) -> float:
        predictions = self.objective.num_predictions(batch)
        return step_flops(self.network.model.config, row_lengths(batch), predictions)

    def _step(self, loader: BatchLoader, stop: StopRequest, speed: Speed) -> tuple[dict[str, Any], bool]:
        """One optimizer step; returns its metrics and whether any process was asked to stop."""
        batches = [next(loader) for _ in range(self.settings.accumulation)]
        (total, *metrics), tokens = self.add_gradients(batches)
        flops, stopping = self.processes.sum([sum(map(self._flops, batches)), float(stop.requested)])
        self.precision.unscale(self.optimizer)
        with reporting_lost_processes():
            norm = self.network.gradient_norm()
        self._check_finite(total, norm, batches)
        row = dict(step=self.step + 1, loss=total) | dict(
            zip(self.objective.metric_names, metrics, strict=True)
        )
        row |= dict(learning_rate=self.optimizer.get_lr(), grad_norm=norm)
        with reporting_lost_processes():
            self.precision.step(self.optimizer)
        self.optimizer.clear_grad()
        self.schedule.step()
        self.step += 1
        self.tokens += tokens
        speed.add(tokens, flops / (self.strategy.mp * self.strategy.pp))
        return row, stopping > 0

    def _log(self, row: dict[str, Any], speed: Speed) -> None:
        """A metrics row and a log line about the newest step, with the speed since the last ones."""
        steps, tokens, flops = speed.since_last(self.step)
        row |= dict(tokens=self.tokens, samples_per_second=steps * self.settings.rows_per_step)
        row |= dict(tokens_per_second=tokens, mfu=flops / self.peak)
        if self._steps_per_epoch:
            row["epoch"] = self.step / self._steps_per_epoch
        if self.precision.scaling:
            row |= dict(loss_scale=self.precision.loss_scale, skipped_steps=self.skipped)
        if self.metrics:
            self.metrics.append(**row)
        self.progress.log(row, self.objective.metric_names, steps)

    def _check_finite(self, loss: float, norm: float, batches: list[Batch]) -> None:
        """Count a step without a finite loss and gradient under loss scaling; otherwise stop before it is taken.

        Raises:
            UserError: naming the folder that `ernie replay` reads.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            self.bad_in_a_row = 0
            return
        self.bad_in_a_row += 1
        self.skipped += 1
        if self.precision.scaling and self.bad_in_a_row < self.settings.max_bad_steps:
            return  # the scaler skips the step and lowers its scale
        saved = save_bad_step(self, batches, loss, norm)
        times = f", number {self.bad_in_a_row} in a row" if self.bad_in_a_row > 1 else ""
        raise UserError(
            f"loss or gradient is not finite at step {self.step + 1}{times} (loss {loss}, gradient norm {norm}); "
            f"`ernie replay {saved}` shows where it began; then start in another --output_dir with a lower --max_lr"
        )

    def _evaluate(self) -> None:
        for name, row in self.evaluator.evaluate(self) if self.evaluator else ():
            if self.metrics:
                self.metrics.append(step=self.step, eval=name, **row)
            scores = ", ".join(f"{key}: {value:.4f}" for key, value in row.items())
            self.progress.log_line(f"{name} step {self.step}, {scores}")

    def save(self) -> None:
        """Checkpoint now, and drop the checkpoints that are no longer needed."""
        state = {
            "source": self.source.fingerprint,
            "tokens": self.tokens,
            "metrics_offset": self.metrics.offset if self.metrics else 0,
            "skipped": (self.skipped, self.bad_in_a_row),
            "scaler": self.precision.state(),
            "evaluator": self.evaluator.state() if self.evaluator else {},
        }
        self.checkpoints.save(self.step, state, self.settings.keep, self.settings.save_steps)
