"""The training loop behind `ernie pretrain`: forward, backward, average, clip, step, log, checkpoint, resume."""

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.collate import row_lengths
from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.objectives.mlm_pair import pretraining_losses
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.processes import Processes, contact
from ernie_from_scratch.parallel.sharding import check_sharding, parallel_optimizer, parallel_scaler
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.planner.counts import step_flops
from ernie_from_scratch.training.bad_steps import save_bad_step
from ernie_from_scratch.training.build import build_data, build_model, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.checkpoint import weights_checksum
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.evaluation import evaluate
from ernie_from_scratch.training.graph import static_network
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.metrics import MetricsLog
from ernie_from_scratch.training.optimizer import build_optimizer
from ernie_from_scratch.training.peak_flops import measure_peak_flops
from ernie_from_scratch.training.precision import Precision
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.run_folder import locked_run_folder, make_run_folder, open_run_folder
from ernie_from_scratch.training.saver import Saver
from ernie_from_scratch.training.schedule import WarmupDecay
from ernie_from_scratch.training.seeds import micro_batch_seed
from ernie_from_scratch.training.speed import Speed


@dataclass
class RunResult:
    """How a call of `pretrain` ended: `finished` is False when a signal stopped it after `step` steps."""

    folder: Path
    final: Path
    step: int
    finished: bool


class PretrainingRun:
    """One process of a pretraining run: everything that a step needs, and the step itself."""

    def __init__(self, settings, processes, quiet=False):
        self.settings, self.processes, self.folder = settings, processes, Path(settings.output_dir)
        self.progress = TrainingProgress(settings.max_steps, quiet or processes.local_rank > 0)
        self.strategy = Strategy.start(
            settings.dp_degree,
            settings.sharding_degree,
            settings.mp_degree,
            settings.pp_degree,
            settings.virtual_pp_degree,
        )
        check_sharding(self.strategy, settings.sharding_stage, settings.offload)
        prefixes = corpus_prefixes(settings.input_dir)
        self.vocabulary = load_vocabulary(settings, prefixes)
        self.data = build_data(settings, prefixes, self.vocabulary)
        paddle.seed(settings.seed)
        model = build_model(settings, self.vocabulary)
        self._must_agree = settings.shared() | {"the corpus (SHA-256)": self.data.fingerprint}
        if processes.size > 1:
            self._must_agree["weights (SHA-256)"] = weights_checksum(model)
        self.network = ParallelNetwork(
            model, self.strategy, objective(settings, model), settings.sharding_stage
        )
        self.schedule = WarmupDecay(
            settings.max_lr,
            settings.min_lr,
            settings.warmup_steps,
            settings.decay_steps,
            settings.lr_decay_style,
        )
        optimizer = build_optimizer(
            model, self.schedule, settings.weight_decay, settings.grad_clip, beta2=settings.adam_beta2
        )
        self.precision = Precision(settings, model, optimizer, say=self.progress.say)
        self.optimizer = parallel_optimizer(
            self.network, optimizer, settings.sharding_stage, settings.offload
        )
        self.precision.spread(lambda scaler: parallel_scaler(scaler, self.strategy, settings.sharding_stage))
        self.saver = Saver(
            self.folder, self.network, self.optimizer, processes, settings.share_folder, self.progress.say
        )
        self.step, self.tokens = 0, 0
        self.skipped, self.bad_in_a_row = 0, 0  # steps without a finite loss and gradient, under loss scaling
        self.metrics = None
        self.peak = measure_peak_flops(self.precision.product_type) * processes.size  # FLOP/s

    @contextlib.contextmanager
    def in_its_folder(self):
        """Holds the run folder, made where it isn't there, and goes on from its newest checkpoint."""
        with contextlib.ExitStack() as held:
            if self.saver.writes:
                folder = make_run_folder(self.settings)
                held.enter_context(locked_run_folder(folder, self.progress.say))
                open_run_folder(self.settings, self.processes.size)
            self.processes.wait()  # until the folder is there
            offset = self._resume()
            if self.saver.writes:
                self.metrics = held.enter_context(MetricsLog(self.folder, offset))
            yield

    def _resume(self):
        """Go on from the newest whole checkpoint; returns the metrics offset in bytes."""
        checkpoint = self.saver.newest()
        self.processes.agree(self._must_agree | {"the checkpoint": checkpoint and checkpoint.name})
        if checkpoint is None:
            return 0
        state = self.saver.load(checkpoint)
        if state["corpus"] != self.data.fingerprint:
            raise UserError(
                f"{self.folder} was trained on another corpus than {self.settings.input_dir} now holds"
            )
        self.precision.load(state.get("scaler"))
        self.skipped, self.bad_in_a_row = state.get("skipped", (0, 0))
        self.step, self.tokens = state["step"], state["tokens"]
        self.progress.say(f"continuing {self.folder} from step {self.step}")
        return state["metrics_offset"]

    def train(self):
        """Run until max_steps or a stop signal to any of the processes."""
        settings, start = self.settings, self.step
        loader = BatchLoader(
            self.data["train"],
            settings.micro_batch_size,
            start_sample=self.step * settings.global_batch_size,
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
                if settings.eval_freq and (self.step % settings.eval_freq == 0 or last):
                    with speed.paused():
                        self._evaluate()
                if self.step % settings.checkpoint_steps == 0 or self.step % settings.save_steps == 0:
                    self.save()
            if self.step > start:
                self.save()
        finished = self.step >= settings.max_steps
        if finished:
            self.saver.write_final(self.vocabulary)
        return RunResult(self.folder, self.folder / "final", self.step, finished)

    def add_gradients(self, batches):
        """Forward and backward of this process's micro batches of one step; gradients are those of the whole step.

        Returns:
            Mean losses of the step (total, masked LM, sentence pair), and tokens that all processes have read.
        """
        with contact():
            losses, tokens = self.network.train_step(batches, self.seeds(len(batches)), self.precision)
        return losses.tolist(), tokens

    def numbers(self, count):
        """Numbers of this process's `count` micro batches among those that all processes read in a step."""
        return [k * self.strategy.data_world + self.strategy.data_rank for k in range(count)]

    def seeds(self, count):
        """Seeds of the dropout in each of this process's micro batches of the coming step."""
        return [micro_batch_seed(self.settings.seed, self.step, number) for number in self.numbers(count)]

    def _step(self, loader, stop, speed):
        """One optimizer step; returns its metrics and whether any process was asked to stop."""
        batches = [next(loader) for _ in range(self.settings.accumulation)]
        (total, masked_lm, pair), tokens = self.add_gradients(batches)
        config = self.network.model.config
        flops = sum(step_flops(config, row_lengths(b), len(b["masked_positions"])) for b in batches)
        flops, stopping = self.processes.sum([flops, float(stop.requested)])
        self.precision.unscale(self.optimizer)
        with contact():
            norm = self.network.gradient_norm()
        self._check_finite(total, norm, batches)
        row = dict(step=self.step + 1, loss=total, lm_loss=masked_lm, sop_loss=pair)
        row |= dict(learning_rate=self.optimizer.get_lr(), grad_norm=norm)
        with contact():
            self.precision.step(self.optimizer)
        self.optimizer.clear_grad()
        self.schedule.step()
        self.step += 1
        self.tokens += tokens
        speed.add(tokens, flops / (self.strategy.mp * self.strategy.pp))
        return row, stopping > 0

    def _log(self, row, speed):
        """A metrics row and a log line about the newest step, with the speed since the last ones."""
        steps, tokens, flops = speed.since_last(self.step)
        row |= dict(tokens=self.tokens, samples_per_second=steps * self.settings.global_batch_size)
        row |= dict(tokens_per_second=tokens, mfu=flops / self.peak)
        if self.precision.scaling:
            row |= dict(loss_scale=self.precision.loss_scale, skipped_steps=self.skipped)
        if self.metrics:
            self.metrics.append(**row)
        self.progress.log(row, steps)

    def _check_finite(self, loss, norm, batches):
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
            return  # the scaler leaves the step out and lowers its scale
        saved = save_bad_step(self, batches, loss, norm)
        times = f", number {self.bad_in_a_row} in a row" if self.bad_in_a_row > 1 else ""
        raise UserError(
            f"loss or gradient is not finite at step {self.step + 1}{times} (loss {loss}, gradient norm {norm}); "
            f"`ernie replay {saved}` shows where it began; then start in another --output_dir with a lower --max_lr"
        )

    def _evaluate(self):
        for name in ("valid", "test"):
            if len(self.data[name]):
                with self.precision.autocast():
                    row = evaluate(
                        self.network,
                        self.data[name],
                        self.settings.micro_batch_size,
                        self.settings.eval_iters,
                    )
                if self.metrics:
                    self.metrics.append(step=self.step, eval=name, **row)
                scores = ", ".join(f"{key}: {value:.4f}" for key, value in row.items())
                self.progress.say(f"{name} step {self.step}, {scores}")

    def save(self):
        """Checkpoint now, and drop the checkpoints that are no longer needed."""
        state = {
            "corpus": self.data.fingerprint,
            "tokens": self.tokens,
            "metrics_offset": self.metrics.offset if self.metrics else 0,
            "skipped": (self.skipped, self.bad_in_a_row),
            "scaler": self.precision.state(),
        }
        self.saver.save(self.step, state, self.settings.keep, self.settings.save_steps)


def objective(settings, model):
    """What a step computes losses with: the network that it is given, or the static graph of `model`."""
    if not settings.to_static:
        return pretraining_losses
    network = static_network(model)
    return lambda _, batch: pretraining_losses(network, batch)


def pretrain(settings, quiet=False):
    """Run or continue the pretraining that `settings` describes.

    Args:
        settings: a `PretrainSettings`.
        quiet: print nothing.

    Returns:
        `RunResult`.

    Raises:
        UserError: settings, corpus or run folder that can't work; the message says what to do.
    """
    settings.check()
    if settings.device:
        select_device(settings.device)
    processes = Processes.connect()
    run = PretrainingRun(settings, processes, quiet)
    with run.in_its_folder():
        result = run.train()
    if not result.finished:
        run.progress.say(f"stopped at step {result.step}; the same command continues from there")
    return result
