"""What differs from task to task; the loop, the batches and the checkpoints are the same for all.

A task reads its files, turns an example into rows of token ids, says what the targets of a batch are, and
scores predictions; its model gives the loss. `TASKS` maps the names of `--task` to their classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.finetuning.examples import Example, label_names, read_examples
from ernie_from_scratch.finetuning.scores import ClassificationScores
from ernie_from_scratch.models import ErnieForSequenceClassification

# B rows of a batch, L sequence, C labels


class Task(ABC):
    """One kind of task over a fixed list of labels.

    Attributes:
        model_class: the network with this task's head.
        main_score: the score that chooses the best epoch; higher is better.
        labels: label names; their places are the class numbers.
    """

    name: ClassVar[str]
    model_class: ClassVar[type]
    main_score: ClassVar[str]

    def __init__(self, labels: Sequence[str]):
        self.labels = list(labels)
        self.number_of = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    @abstractmethod
    def from_training_set(cls, path) -> "tuple[Task, list]":
        """Read the training set and learn the labels from it: (task, examples)."""

    @abstractmethod
    def read(self, path) -> list:
        """Examples of a file; UserError when one carries a label that the task doesn't know."""

    @abstractmethod
    def rows(self, example, tokenizer, max_seq_len: int) -> list[dict]:
        """Encode an example as rows of `input_ids`, `token_type_ids` and what `targets` needs of it.

        One row in most tasks; a long text may give several windows.
        """

    @abstractmethod
    def targets(self, rows: Sequence[dict]) -> dict[str, np.ndarray]:
        """The right answers of a batch of rows, under the names that the model's forward takes them by."""

    @abstractmethod
    def new_scores(self):
        """A counter: `update(outputs, targets)` takes a batch of arrays, `compute()` gives name -> score."""

    def config_fields(self) -> dict:
        """What the model's config must say so that a folder tells its labels."""
        return {"num_labels": len(self.labels), "id2label": dict(enumerate(self.labels))}

    @classmethod
    def from_config(cls, config) -> "Task":
        """The task as the config of a fine-tuned model remembers it."""
        return cls(labels_of(config))


def labels_of(config) -> list[str]:
    """Label names of a config; "0", "1", ... when it names none."""
    names = config.id2label or {}
    return [str(names.get(number, number)) for number in range(config.num_labels)]


class SequenceClassification(Task):
    """One label for a text or a pair of texts, from the pooled [CLS] state (BERT, section 4.1)."""

    name = "seq_cls"
    model_class = ErnieForSequenceClassification
    main_score = "accuracy"

    @classmethod
    def from_training_set(cls, path):
        examples = read_examples(path)
        labels = label_names(examples)
        if len(labels) < 2:
            raise UserError(
                f"only one label: every line of {path} says {labels[0]!r}; there is nothing to learn"
            )
        return cls(labels), examples

    def read(self, path) -> list[Example]:
        examples = read_examples(path)
        for example in examples:
            if example.label not in self.number_of:
                known = ", ".join(self.labels[:8])[:80]
                raise UserError(f"unknown label {example.label!r}: {example.where}; the model knows {known}")
        return examples

    def rows(self, example, tokenizer, max_seq_len):
        encoded = tokenizer.encode(example.text_a, text_pair=example.text_b, max_seq_len=max_seq_len)
        return [{**encoded, "label": self.number_of[example.label]}]

    def targets(self, rows):
        return {"labels": np.array([row["label"] for row in rows], dtype=np.int64)}  # [B]

    def new_scores(self):
        return _LabelScores(len(self.labels))


class _LabelScores(ClassificationScores):
    def update(self, outputs, targets):
        super().update(outputs[0], targets["labels"])


TASKS = {task.name: task for task in (SequenceClassification,)}


def find_task(name: str) -> type[Task]:
    """The class of a `--task` name; UserError when there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task: {name}; choose one of {', '.join(TASKS)}")
    return TASKS[name]
