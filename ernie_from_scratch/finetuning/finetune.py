"""Fine-tuning: train keep the epoch that is best on the dev set, score it on the test set."""

import json
import math
import shutil
import sys
import time
from pathlib import Path

import paddle
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.finetuning.batches import shuffled_batches
from ernie_from_scratch.finetuning.evaluation import check_length, encode_examples, forward, score_rows
from ernie_from_scratch.finetuning.settings import FinetuneSettings
from ernie_from_scratch.finetuning.tasks import find_task
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer
from ernie_from_scratch.training.checkpoint import load_checkpoint, newest_checkpoint, prune, save_checkpoint
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.metrics import MetricsLog
from ernie_from_scratch.training.optimizer import build_optimizer, gradient_norm, optimizer_state
from ernie_from_scratch.training.run_folder import open_run_folder
from ernie_from_scratch.training.schedule import WarmupDecay
from ernie_from_scratch.training.seeds import step_seed
from ernie_from_scratch.utils.files import atomic_write, sha256_file

RESULTS = "results.json"
CHECKPOINTS = "checkpoints"


class FinetuningRun:
    """One run: `output_dir` holds the best model so far, and `output_dir/checkpoints` what a resume needs."""

    def __init__(self, settings: FinetuneSettings, quiet: bool = False):
        self.settings, self.quiet = settings.check(), quiet
        if Path(settings.output_dir).resolve() == Path(settings.model_name_or_path).resolve():
            raise UserError(
                f"--output_dir {settings.output_dir} is the pretrained model itself; choose another folder"
            )
        if settings.device:
            select_device(settings.device)
        self.tokenizer = ErnieTokenizer.from_pretrained(settings.model_name_or_path)
        self.task, train = find_task(settings.task).from_training_set(settings.train)
        self.dev_examples = self.task.read(settings.dev)
        self.test_examples = self.task.read(settings.test) if settings.test else []
        paddle.seed(settings.seed)
        self.model = self._build_model()
        check_length(settings.max_seq_len, self.model.config)
        self.rows = self._encode(train)
        self.lengths = [len(row["input_ids"]) for row in self.rows]
        self.epoch_steps = math.ceil(len(self.rows) / settings.micro_batch_size)
        self.total_steps = self.epoch_steps * settings.num_train_epochs
        self.folder = open_run_folder(settings)

    def _build_model(self):
        settings, kind, fields = self.settings, self.task.model_class, self.task.config_fields()
        if settings.from_scratch:
            config = ErnieConfig.from_file(settings.model_name_or_path)
            return kind(ErnieConfig.from_dict({**config.to_dict(), **fields}))
        return kind.from_pretrained(settings.model_name_or_path, **fields)

    def _encode(self, examples):
        return encode_examples(self.task, examples, self.tokenizer, self.settings.max_seq_len)

    def run(self) -> dict:
        """Train where something is left to train, then score the best model; see `finetune`."""
        results = self.folder / RESULTS
        if results.exists():
            found = json.loads(results.read_text(encoding="utf-8"))
            self.say(f"{self.folder} is finished: {summary(found)}")
            if found["test_file"] == self.settings.test:
                return found
            history = found["epochs"]
        else:
            history = self._train()
        return self._finish(history)

    def _train(self):
        settings = self.settings
        warmup = round(settings.warmup_rate * self.total_steps)
        schedule = WarmupDecay(
            settings.max_lr, settings.min_lr, warmup, self.total_steps, settings.lr_decay_style
        )
        optimizer = build_optimizer(self.model, schedule, settings.weight_decay, settings.grad_clip)
        inputs = {name: sha256_file(getattr(settings, name)) for name in ("train", "dev")}
        state = {"step": 0, "metrics_offset": 0, "epochs": [], "inputs": inputs}
        checkpoints = self.folder / CHECKPOINTS
        newest = newest_checkpoint(checkpoints, warn=self.say)
        if newest is not None:
            state = load_checkpoint(newest, self.model, optimizer)
            for name, checksum in state["inputs"].items():
                if checksum != inputs[name]:
                    path = getattr(settings, name)
                    raise UserError(
                        f"{path} has changed since {self.folder} was begun; use another --output_dir"
                    )
            self.say(f"continuing {self.folder} from step {state['step']} of {self.total_steps}")
        step, history = state["step"], state["epochs"]
        dev_rows = self._encode(self.dev_examples)
        metrics = MetricsLog(self.folder, state["metrics_offset"])

        def save():
            now = {"metrics_offset": metrics.offset, "epochs": history, "inputs": inputs}
            save_checkpoint(checkpoints, step, self.model, optimizer_state(self.model, optimizer), now)
            prune(checkpoints, 1, 0)

        self.model.train()
        clock = _Clock()
        with StopRequest() as stop, progress_bar(self.quiet) as bar:
            shown = bar.add_task("fine-tuning", total=self.total_steps, note="")
            while step < self.total_steps:
                epoch, position = divmod(step, self.epoch_steps)
                batches = shuffled_batches(self.lengths, settings.micro_batch_size, settings.seed, epoch)
                for numbers in batches[position:]:
                    row = self._train_step(step, [self.rows[n] for n in numbers], optimizer, schedule, clock)
                    step += 1
                    if step % settings.logging_freq == 0 or step == self.total_steps:
                        metrics.append(step=step, epoch=step / self.epoch_steps, **row, **clock.speeds())
                    bar.update(shown, completed=step, note=f"loss {row['loss']:.3f}")
                    if stop.requested:
                        break
                if step % self.epoch_steps == 0:
                    scores, _ = score_rows(self.task, self.model, self.tokenizer, dev_rows)
                    metrics.append(step=step, epoch=step // self.epoch_steps, eval="dev", **scores)
                    history.append(scores)
                    if best_epoch(history, self.task.main_score) == len(history) - 1:
                        self._write_model()
                    self.say(f"epoch {len(history)} of {settings.num_train_epochs}, dev {_words(scores)}")
                save()
                if stop.requested and step < self.total_steps:
                    self.say(
                        f"stopped at step {step} of {self.total_steps}; the same command continues from there"
                    )
                    raise KeyboardInterrupt
        metrics.close()
        return history

    def _train_step(self, step, rows, optimizer, schedule, clock):
        paddle.seed(step_seed(self.settings.seed, step))  # so that a resumed run draws the same dropout masks
        loss, *_ = forward(self.model, self.tokenizer.pad(rows), self.task.targets(rows))
        loss.backward()
        log_now = (step + 1) % self.settings.logging_freq == 0 or step + 1 == self.total_steps
        row = {"loss": float(loss), "learning_rate": optimizer.get_lr()}
        if log_now:
            row["grad_norm"] = gradient_norm(self.model)
        if not math.isfinite(row["loss"]):
            raise UserError(f"the loss is not finite at step {step + 1}; lower --learning_rate")
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
        clock.count(rows)
        return row

    def _write_model(self):
        """Put the model as it is now into the output folder, file by file through temporary names."""
        temporary = self.folder / ".writing_model"
        shutil.rmtree(temporary, ignore_errors=True)
        self.model.save_pretrained(temporary)
        self.tokenizer.save_pretrained(temporary)
        for file in sorted(temporary.iterdir()):
            file.replace(self.folder / file.name)
        temporary.rmdir()

    def _finish(self, history):
        best = best_epoch(history, self.task.main_score)
        results = {
            "task": self.settings.task,
            "model": str(self.folder),
            "labels": self.task.labels,
            "train_examples": len(self.rows),
            "best_epoch": best + 1,
            "dev": history[best],
            "test": None,
            "test_file": self.settings.test,
            "epochs": history,
        }
        if self.test_examples:
            model = self.task.model_class.from_pretrained(self.folder)
            rows = self._encode(self.test_examples)
            results["test"], _ = score_rows(self.task, model, self.tokenizer, rows)
        with atomic_write(self.folder / RESULTS) as temporary:
            Path(temporary).write_text(
                json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
            )
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return results

    def say(self, text):
        """One line on stderr, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


class _Clock:
    """Rows and tokens per second since the last time it was asked."""

    def __init__(self):
        self.start, self.samples, self.tokens = time.perf_counter(), 0, 0

    def count(self, rows):
        self.samples += len(rows)
        self.tokens += sum(len(row["input_ids"]) for row in rows)

    def speeds(self):
        seconds = time.perf_counter() - self.start
        speeds = {"tokens": self.tokens, "tokens_per_second": self.tokens / seconds}
        speeds["samples_per_second"] = self.samples / seconds
        self.__init__()
        return speeds


def progress_bar(quiet: bool) -> Progress:
    """A rich progress bar on stderr; shows nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(
        *columns, TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal
    )


def best_epoch(history: list[dict], main_score: str) -> int:
    """Place of the epoch with the highest score; the earliest of equals."""
    return max(range(len(history)), key=lambda epoch: history[epoch][main_score])


def _words(scores):
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())


def summary(results: dict) -> str:
    """One line: best epoch, its dev scores, the test scores."""
    line = f"best epoch {results['best_epoch']}, dev {_words(results['dev'])}"
    return line + (f"; test {_words(results['test'])}" if results["test"] else "")


def finetune(settings: FinetuneSettings | None = None, quiet: bool = False, **values) -> dict:
    """Run or continue a fine-tuning: `finetune(model_name_or_path=DIR, train=FILE, dev=FILE, output_dir=DIR,
    ...)`.

    Args:
        settings: a FinetuneSettings; or give its fields as keyword arguments.

    Returns:
        What `output_dir/results.json` holds: task, labels, best_epoch, and `dev`, `test` (None without a
        test set) and `epochs` with loss (nats), accuracy and macro_f1.

    Raises:
        UserError: settings, files or an output folder that can't work; the message says what to do.
        KeyboardInterrupt: SIGINT or SIGTERM came; what was reached is saved, and the same call continues
            from there.
    """
    return FinetuningRun(settings or FinetuneSettings.from_mapping(values), quiet).run()
