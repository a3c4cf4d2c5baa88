"""The training loop behind `ernie pretrain`: forward, backward, clip, step, log, checkpoint, resume."""

import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import paddle

from ernie_from_scratch.config import WAYS_OF_COMPUTING, ErnieConfig, UserError
from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.training.bad_steps import save_bad_step
from ernie_from_scratch.training.build import build_data, build_model, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.checkpoint import load_checkpoint, newest_checkpoint, prune, save_checkpoint
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.evaluation import evaluate
from ernie_from_scratch.training.graph import static_network
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.metrics import MetricsLog
from ernie_from_scratch.training.objectives import pretraining_losses, to_tensors
from ernie_from_scratch.training.optimizer import build_optimizer, gradient_norm
from ernie_from_scratch.training.precision import Precision
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.run_folder import open_run_folder
from ernie_from_scratch.training.schedule import WarmupDecay
from ernie_from_scratch.training.seeds import step_seed


@dataclass
class RunResult:
    """How a call of `pretrain` ended: `finished` is False when a signal stopped it after `step` steps."""

    folder: Path
    final: Path
    step: int
    finished: bool


class PretrainingRun:
    """One pretraining run in one process: everything that a step needs, and the step itself."""

    def __init__(self, settings, quiet=False):
        self.settings = settings.check()
        self.progress = TrainingProgress(settings.max_steps, quiet)
        if settings.device:
            select_device(settings.device)
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
        self.folder = open_run_folder(settings)
        self.skipped, self.bad_in_a_row = 0, 0  # steps without a finite loss and gradient, under loss scaling
        self.step, self.tokens, offset = self._resume()
        self.metrics = MetricsLog(self.folder / "metrics.jsonl", offset)

    def _resume(self):
        """Load the newest whole checkpoint; returns steps done, tokens read, and the metrics offset in bytes."""
        checkpoint = newest_checkpoint(self.folder, warn=self.progress.say)
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

    def _check_network(self, checkpoint):
        """UserError unless the checkpoint's network is this one, switches of speed and memory aside."""
        now = self.model.config.to_dict()
        for name, then in ErnieConfig.from_file(checkpoint).to_dict().items():
            if now[name] != then and name not in WAYS_OF_COMPUTING:
                raise UserError(
                    f"{self.folder} holds another network: {name} was {then!r} and is now {now[name]!r}; use "
                    "another --output_dir, or the same configuration to continue"
                )

    def train_step(self, batches):
        """One optimizer step over the micro batches of `batches`; returns losses (0-d tensors) and tokens seen."""
        sums, tokens = None, 0
        for batch in batches:
            with self.precision.autocast():
                losses = pretraining_losses(self.network, to_tensors(batch))
            self.precision.scale(losses.total / self.settings.accumulation).backward()
            pair = losses.sentence_pair if losses.sentence_pair is not None else paddle.zeros([])
            parts = paddle.stack([losses.total.detach(), losses.masked_lm.detach(), pair.detach()])
            sums = parts if sums is None else sums + parts
            tokens += real_tokens(batch)
        return sums / self.settings.accumulation, tokens

    def train(self):
        """Run until max_steps or a stop signal."""
        settings, start = self.settings, self.step
        micro, per_step = settings.accumulation, settings.global_batch_size
        loader = BatchLoader(
            self.data["train"],
            settings.micro_batch_size,
            start_sample=self.step * per_step,
            num_workers=settings.num_workers,
        )
        batches = iter(loader)
        self.model.train()
        clock, tokens, logged = time.perf_counter(), self.tokens, self.step
        with StopRequest() as stop, self.progress:
            try:
                while self.step < settings.max_steps and not stop.requested:
                    paddle.seed(step_seed(settings.seed, self.step))
                    step_batches = [next(batches) for _ in range(micro)]
                    losses, step_tokens = self.train_step(step_batches)
                    self.precision.unscale(self.optimizer)
                    norm = gradient_norm(self.model)
                    total, masked_lm, pair = losses.tolist()
                    self._check_finite(total, norm, step_batches)
                    self.tokens += step_tokens
                    self.step += 1
                    rate = self.optimizer.get_lr()
                    self.precision.step(self.optimizer)
                    self.optimizer.clear_grad()
                    self.schedule.step()
                    self.progress.step(self.step)
                    last = self.step == settings.max_steps
                    if self.step % settings.logging_freq == 0 or last:
                        seconds = time.perf_counter() - clock
                        speed = (self.step - logged) / seconds
                        row = dict(
                            step=self.step, loss=total, lm_loss=masked_lm, sop_loss=pair, learning_rate=rate
                        )
                        row |= dict(grad_norm=norm, tokens=self.tokens, samples_per_second=speed * per_step)
                        row |= dict(tokens_per_second=(self.tokens - tokens) / seconds)
                        if self.precision.scaling:
                            row |= dict(loss_scale=self.precision.loss_scale, skipped_steps=self.skipped)
                        self.metrics.append(**row)
                        self.progress.log(row, speed)
                        clock, tokens, logged = time.perf_counter(), self.tokens, self.step
                    if settings.eval_freq and (self.step % settings.eval_freq == 0 or last):
                        began = time.perf_counter()
                        self._evaluate()
                        clock += time.perf_counter() - began  # the speed of a row is that of training
                    if self.step % settings.checkpoint_steps == 0 or self.step % settings.save_steps == 0:
                        self.save()
                if self.step > start:
                    self.save()
            finally:
                loader.close()
        finished = self.step >= settings.max_steps
        if finished:
            self.write_final()
        return RunResult(self.folder, self.folder / "final", self.step, finished)

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
                self.metrics.append(step=self.step, eval=name, **row)
                scores = ", ".join(f"{key}: {value:.4f}" for key, value in row.items())
                self.progress.say(f"{name} step {self.step}, {scores}")

    def save(self):
        """Checkpoint now, and drop the checkpoints that are no longer needed."""
        if (self.folder / f"model_{self.step}").exists():
            return
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
    result = PretrainingRun(settings, quiet).train()
    if not result.finished and not quiet:
        print(f"stopped at step {result.step}; the same command continues from there", file=sys.stderr)
    return result
