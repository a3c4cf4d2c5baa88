"""The training loop behind `ernie pretrain`: forward, backward, average, clip, step, log, checkpoint, resume."""

import contextlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import paddle

from ernie_from_scratch.config import WAYS_OF_COMPUTING, ErnieConfig, UserError
from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.parallel.processes import Processes
from ernie_from_scratch.training.bad_steps import save_bad_step
from ernie_from_scratch.training.build import build_data, build_model, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    prune,
    save_checkpoint,
    weights_checksum,
    whole_steps,
)
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.evaluation import evaluate
from ernie_from_scratch.training.flops import best_rate, step_flops
from ernie_from_scratch.training.graph import static_network
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.metrics import MetricsLog
from ernie_from_scratch.training.objectives import pretraining_losses, to_tensors
from ernie_from_scratch.training.optimizer import build_optimizer, gradient_norm
from ernie_from_scratch.training.precision import Precision
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.run_folder import locked_run_folder, make_run_folder, open_run_folder
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
        self.settings, self.processes = settings, processes
        self.writes = processes.writes(settings.share_folder)
        self.progress = TrainingProgress(settings.max_steps, quiet or processes.local_rank > 0)
        prefixes = corpus_prefixes(settings.input_dir)
        self.vocabulary = load_vocabulary(settings, prefixes)
        self.data = build_data(settings, prefixes, self.vocabulary)
        paddle.seed(settings.seed)
        self.model = build_model(settings, self.vocabulary)
        self.schedule = WarmupDecay(
            settings.max_lr,
            settings.min_lr,
            settings.warmup_steps,
            settings.decay_steps,
            settings.lr_decay_style,
        )
        self.optimizer = build_optimizer(
            self.model, self.schedule, settings.weight_decay, settings.grad_clip, beta2=settings.adam_beta2
        )
        self.precision = Precision(settings, self.model, self.optimizer, say=self.progress.say)
        # what a training step calls; evaluation and checkpoints always use self.model, which has the same weights
        self.network = static_network(self.model) if settings.to_static else self.model
        self.folder = Path(settings.output_dir)
        self.skipped, self.bad_in_a_row = 0, 0  # steps without a finite loss and gradient, under loss scaling
        self.peak = best_rate(self.precision.product_type) * processes.size  # FLOP/s

    @contextlib.contextmanager
    def in_its_folder(self):
        """Holds the run folder, made where it isn't there, and goes on from its newest checkpoint."""
        with contextlib.ExitStack() as held:
            if self.writes:
                folder = make_run_folder(self.settings)
                held.enter_context(locked_run_folder(folder, self.progress.say))
                open_run_folder(self.settings, self.processes.size)
            self.processes.wait()  # until the folder is there
            self._start()
            yield

    def _start(self):
        self.step, self.tokens, self.metrics_offset = self._resume()
        processes, settings = self.processes, self.settings
        if processes.size > 1:
            facts = {
                "the step to continue from": self.step,
                "weights (SHA-256)": weights_checksum(self.model),
                "the corpus (SHA-256)": self.data.fingerprint,
            }
            processes.agree(settings.shared() | facts)

    def _resume(self):
        """Load the newest whole checkpoint; returns steps done, tokens read, and the metrics offset in bytes."""
        checkpoint = self._newest_common_checkpoint()
        if checkpoint is None:
            return 0, 0, 0
        self._check_network(checkpoint)
        state = load_checkpoint(checkpoint, self.model, self.optimizer)
        if state["corpus"] != self.data.fingerprint:
            raise UserError(
                f"{self.folder} was trained on another corpus than {self.settings.input_dir} now holds"
            )
        self.precision.load(state.get("scaler"))
        self.skipped, self.bad_in_a_row = state.get("skipped", (0, 0))
        self.progress.say(f"continuing {self.folder} from step {state['step']}")
        return state["step"], state["tokens"], state["metrics_offset"]

    def _newest_common_checkpoint(self):
        """The newest checkpoint that is whole for every process; UserError when they have none in common."""
        if self.processes.size == 1:
            return newest_checkpoint(self.folder, warn=self.progress.say)
        held = self.processes.gather(whole_steps(self.folder, warn=self.progress.say))
        common = set(held[0]).intersection(*held[1:])
        if not common and any(held):
            found = "; ".join(f"process {rank}: {steps or 'none'}" for rank, steps in enumerate(held))
            raise UserError(
                f"no checkpoint of {self.folder} is whole for every process (steps of {found}); copy the newest "
                "model_N folder to every machine, or share the folder"
            )
        return self.folder / f"model_{max(common)}" if common else None

    def _check_network(self, checkpoint):
        """UserError unless the checkpoint's network is this one, switches of speed and memory aside."""
        now = self.model.config.to_dict()
        for name, then in ErnieConfig.from_file(checkpoint).to_dict().items():
            if now[name] != then and name not in WAYS_OF_COMPUTING:
                raise UserError(
                    f"{self.folder} holds another network: {name} was {then!r} and is now {now[name]!r}; use "
                    "another --output_dir, or the same configuration to continue"
                )

    def micro_batch_number(self, number):
        """Number among the micro batches of all processes in a step of this process's micro batch `number`."""
        return number * self.processes.size + self.processes.rank

    def add_gradients(self, batches):
        """Forward and backward of this process's micro batches of one step.

        Returns:
            Mean losses [3] (total, masked LM, sentence pair) as a tensor, tokens read, and FLOPs that this takes.
        """
        sums, tokens, flops = None, 0, 0.0
        for number, batch in enumerate(batches):
            paddle.seed(micro_batch_seed(self.settings.seed, self.step, self.micro_batch_number(number)))
            with self.precision.autocast():
                losses = pretraining_losses(self.network, to_tensors(batch))
            self.precision.scale(losses.total / self.settings.accumulation).backward()
            pair = losses.sentence_pair if losses.sentence_pair is not None else paddle.zeros([])
            parts = paddle.stack([losses.total.detach(), losses.masked_lm.detach(), pair.detach()])
            sums = parts if sums is None else sums + parts
            tokens += real_tokens(batch)
            flops += step_flops(self.model.config, batch)
        return sums / self.settings.accumulation, tokens, flops

    def train(self):
        """Run until max_steps or a stop signal to any of the processes."""
        settings, start = self.settings, self.step
        loader = BatchLoader(
            self.data["train"],
            settings.micro_batch_size,
            start_sample=self.step * settings.global_batch_size,
            rank=self.processes.rank,
            world_size=self.processes.size,
            num_workers=settings.num_workers,
        )
        self.metrics = MetricsLog(self.folder, self.metrics_offset) if self.writes else None
        self.model.train()
        speed = Speed(self.step)
        with StopRequest() as stop, self.progress:
            try:
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
            finally:
                loader.close()
                if self.metrics:
                    self.metrics.close()
        finished = self.step >= settings.max_steps
        if finished and self.writes:
            self.write_final()
        return RunResult(self.folder, self.folder / "final", self.step, finished)

    def _step(self, loader, stop, speed):
        """One optimizer step; returns its metrics and whether any process was asked to stop."""
        batches = [next(loader) for _ in range(self.settings.accumulation)]
        losses, tokens, flops = self.add_gradients(batches)
        self.processes.mean_gradients(self.model.parameters())
        self.precision.unscale(self.optimizer)
        norm = gradient_norm(self.model)
        sums = self.processes.sum([*losses.tolist(), tokens, flops, float(stop.requested)])
        total, masked_lm, pair = (value / self.processes.size for value in sums[:3])
        self._check_finite(total, norm, batches)
        row = dict(step=self.step + 1, loss=total, lm_loss=masked_lm, sop_loss=pair)
        row |= dict(learning_rate=self.optimizer.get_lr(), grad_norm=norm)
        self.precision.step(self.optimizer)
        self.optimizer.clear_grad()
        self.schedule.step()
        self.step += 1
        self.tokens += int(sums[3])
        speed.add(sums[3], sums[4])
        return row, sums[5] > 0

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
                        self.model, self.data[name], self.settings.micro_batch_size, self.settings.eval_iters
                    )
                if self.metrics:
                    self.metrics.append(step=self.step, eval=name, **row)
                scores = ", ".join(f"{key}: {value:.4f}" for key, value in row.items())
                self.progress.say(f"{name} step {self.step}, {scores}")

    def save(self):
        """Checkpoint now, and drop the checkpoints that are no longer needed."""
        if self.writes and not (self.folder / f"model_{self.step}").exists():
            self._write_checkpoint()
        self.processes.wait()  # until it is written

    def _write_checkpoint(self):
        state = {
            "corpus": self.data.fingerprint,
            "tokens": self.tokens,
            "metrics_offset": self.metrics.offset,
            "skipped": (self.skipped, self.bad_in_a_row),
            "scaler": self.precision.state(),
        }
        save_checkpoint(self.folder, self.step, self.model, self.optimizer, state)
        prune(self.folder, self.settings.keep, self.settings.save_steps)

    def write_final(self):
        """`final/`: weights, config and vocabulary as a from_pretrained folder, by rename."""
        temporary, final = self.folder / ".writing_final", self.folder / "final"
        shutil.rmtree(temporary, ignore_errors=True)
        self.model.save_pretrained(temporary)
        self.vocabulary.save(temporary / "vocab.txt")
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)


def real_tokens(batch):
    """Tokens of a batch that are not padding."""
    mask = batch["attention_mask"]
    return int(batch["input_ids"].size if mask is None else mask.sum())


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
