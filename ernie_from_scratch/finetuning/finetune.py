"""Fine-tuning: train, keep the epoch that is best on the development set, score it on the test set.

The training loop is training/trainer.py; here are the labelled source, the evaluator that keeps the best model, and
what is written when the run is finished.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.labelled import LabelledExamples, LabelledSplit
from ernie_from_scratch.finetuning.evaluation import check_length, score_rows
from ernie_from_scratch.finetuning.settings import FinetuneSettings
from ernie_from_scratch.finetuning.tasks import Task, find_task
from ernie_from_scratch.finetuning.tasks.base import Features
from ernie_from_scratch.models.registry import family_of_folder
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import SupervisedObjective
from ernie_from_scratch.text.tokenizers.auto import load_tokenizer
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.start import start_processes
from ernie_from_scratch.training.trainer import Trainer
from ernie_from_scratch.utils.files import atomic_write, sha256_file

RESULTS = "results.json"
CHECKPOINTS = "checkpoints"


def finetune(settings: FinetuneSettings | None = None, quiet: bool = False, **values: Any) -> dict[str, Any]:
    """Run or resume a fine-tuning: `finetune(model_name_or_path=DIR, train=FILE, dev=FILE, output_dir=DIR, ...)`.

    Args:
        settings: or give its fields, or their aliases, as keyword arguments.

    Returns:
        What `output_dir/results.json` holds: task, labels, best_epoch, and `dev`, `test` (None without a
        test set) and `epochs` with loss (nats), accuracy and macro_f1.

    Raises:
        UserError: settings, files or an output folder that can't work; the message says what to do.
        KeyboardInterrupt: SIGINT or SIGTERM came; the state is saved, and the same call resumes from there.
    """
    settings = (settings or FinetuneSettings.from_mapping(values)).check()
    if Path(settings.output_dir).resolve() == Path(settings.model_name_or_path).resolve():
        raise UserError(
            f"--output_dir {settings.output_dir} is the pretrained model itself; choose another folder"
        )
    processes, strategy = start_processes(settings)
    tokenizer = load_tokenizer(settings.model_name_or_path)
    task, train = find_task(settings.task).from_training_set(settings.train)
    development = task.read(settings.dev)
    test = task.read(settings.test) if settings.test else []
    paddle.seed(settings.seed)
    model = build_model(settings, task)
    check_length(settings.max_seq_len, model.config)
    split = LabelledSplit(
        task.encode(train, tokenizer, settings.max_seq_len),
        lambda rows: task.collate(list(rows), tokenizer),
        settings.rows_per_step,
        settings.seed,
    )
    checksums = {name: sha256_file(getattr(settings, name)) for name in ("train", "dev")}
    source = LabelledExamples(split, {"max_seq_len": settings.max_seq_len})
    given, settings = settings, replace(settings)
    settings.max_steps = settings.max_steps or split.steps * settings.num_train_epochs
    settings.decay_steps = settings.decay_steps or settings.max_steps
    objective = SupervisedObjective()
    rows = task.encode(development, tokenizer, settings.max_seq_len)
    evaluator = BestModelEvaluator(settings, task, tokenizer, rows, split.steps, checksums)
    progress = TrainingProgress(settings.max_steps, quiet or processes.local_rank > 0, title="fine-tuning")
    trainer = Trainer(
        settings, processes, strategy, model, source, objective, evaluator,
        checkpoint_folder=Path(settings.output_dir) / CHECKPOINTS,
        progress=progress,
        given_settings=given,
        steps_per_epoch=split.steps,
        upgrade_state=lambda state: _upgrade_state(state, source.fingerprint, split.steps),
    )  # fmt: skip
    with trainer.hold_folder():
        results = read_results(trainer.folder)
        finished = all(processes.gather(results is not None))
        if finished and results is not None:
            progress.log_line(f"{settings.output_dir} is finished: {summary(results)}")
            if results["test_file"] == settings.test:
                return results
        else:
            with trainer.open_run():
                result = trainer.train()
            if not result.finished:
                progress.log_line(
                    f"stopped at step {result.step} of {settings.max_steps}; the same command resumes from there"
                )
                raise KeyboardInterrupt
            results = evaluator.results(len(train))
        results |= {"test": None, "test_file": settings.test}
        if test:
            best = type(model).from_pretrained(settings.output_dir)
            rows = task.encode(test, tokenizer, settings.max_seq_len)
            results["test"], _ = score_rows(task, best, objective, tokenizer, rows)
        if trainer.checkpoints.writes:
            write_results(trainer.folder, results)
        processes.wait()
    return results


def build_model(settings: FinetuneSettings, task: Task) -> TaskModel:
    """The network with the task's head: the folder's weights, or random ones with --from_scratch."""
    model_class = family_of_folder(settings.model_name_or_path).head(task.head)
    fields = task.config_fields() | settings.execution_fields
    if settings.from_scratch:
        config = model_class.config_class.from_file(settings.model_name_or_path)
        return model_class(config.replace(**fields))
    return model_class.from_pretrained(settings.model_name_or_path, **fields)


class BestModelEvaluator:
    """Scores the development set at the end of every epoch, and keeps the best model in `output_dir`.

    Attributes:
        history: the scores of each evaluation.
        steps: after how many optimizer steps each of them was.
    """

    def __init__(
        self,
        settings: FinetuneSettings,
        task: Task,
        tokenizer,
        rows: Features,
        steps_per_epoch: int,
        checksums: dict[str, str],
    ):
        self.checksums = checksums  # of the training and development files
        self.settings, self.task, self.tokenizer, self.rows = settings, task, tokenizer, rows
        self.steps_per_epoch = steps_per_epoch
        self.history: list[dict[str, float]] = []
        self.steps: list[int] = []

    def due(self, step: int, last: bool) -> bool:
        extra = self.settings.eval_freq
        return step % self.steps_per_epoch == 0 or last or (extra > 0 and step % extra == 0)

    def evaluate(self, trainer: Trainer) -> Iterator[tuple[str, dict[str, float]]]:
        scores, _ = score_rows(self.task, trainer.network, trainer.objective, self.tokenizer, self.rows)
        self.history.append(scores)
        self.steps.append(trainer.step)
        if self.best == len(self.history) - 1:
            self._write_model(trainer)
        yield "dev", {"epoch": self._epoch(trainer.step), **scores}

    @property
    def best(self) -> int:
        """Number of the evaluation with the highest main score; the earliest of equals."""
        return max(range(len(self.history)), key=lambda i: self.history[i][self.task.main_score])

    def _epoch(self, step: int) -> float:
        epochs = step / self.steps_per_epoch
        return int(epochs) if epochs.is_integer() else epochs

    def _write_model(self, trainer: Trainer) -> None:
        """Put the model into the output folder, file by file through temporary names. Every process calls it."""
        weights = trainer.checkpoints.gather_weights()
        if trainer.checkpoints.writes:
            temporary = trainer.folder / ".writing_model"
            shutil.rmtree(temporary, ignore_errors=True)
            trainer.network.model.save_pretrained(temporary, weights=weights)
            self.tokenizer.save_pretrained(temporary)
            for file in sorted(temporary.iterdir()):
                file.replace(trainer.folder / file.name)
            temporary.rmdir()
        trainer.processes.wait()

    def state(self) -> dict[str, Any]:
        return {"history": self.history, "steps": self.steps, "inputs": self.checksums}

    def load(self, state: dict[str, Any]) -> None:
        for name, checksum in state["inputs"].items():
            if checksum != self.checksums[name]:
                raise UserError(
                    f"{getattr(self.settings, name)} has changed since {self.settings.output_dir} was begun; "
                    "use another --output_dir"
                )
        self.history, self.steps = state["history"], state["steps"]

    def results(self, train_examples: int) -> dict[str, Any]:
        return {
            "task": self.settings.task,
            "model": self.settings.output_dir,
            "labels": self.task.labels,
            "train_examples": train_examples,
            "best_epoch": self._epoch(self.steps[self.best]),
            "dev": self.history[self.best],
            "epochs": self.history,
        }


def _upgrade_state(state: dict[str, Any], fingerprint: str, steps_per_epoch: int) -> dict[str, Any]:
    """The state of a checkpoint as this version writes it; before 0.2 it had `inputs` and `epochs`."""
    if "inputs" not in state:
        return state
    history = state["epochs"]
    steps = [steps_per_epoch * (number + 1) for number in range(len(history))]
    evaluator = {"history": history, "steps": steps, "inputs": state["inputs"]}
    return state | {"source": fingerprint, "tokens": 0, "evaluator": evaluator}


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """results.json, which says that the run is finished; the checkpoints go."""
    with atomic_write(folder / RESULTS) as temporary:
        text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
        Path(temporary).write_text(text, encoding="utf-8")
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def read_results(folder: Path) -> dict[str, Any] | None:
    """results.json of a finished run, or None."""
    path = folder / RESULTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def summary(results: dict[str, Any]) -> str:
    """One line: best epoch, its dev scores, the test scores."""
    line = f"best epoch {results['best_epoch']}, dev {_in_words(results['dev'])}"
    return line + (f"; test {_in_words(results['test'])}" if results["test"] else "")


def _in_words(scores: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
