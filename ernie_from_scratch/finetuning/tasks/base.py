"""What every fine-tuning task has: it reads its files, builds features, names its head and owns its scores."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.dataset.batch import Batch

Features = list[dict[str, Any]]


class Scores(Protocol):
    """Counts predictions batch by batch."""

    def update(self, outputs: Sequence[np.ndarray], labels: dict[str, np.ndarray]) -> None: ...

    def compute(self) -> dict[str, float]: ...


class Task(ABC):
    """One kind of task over a fixed list of labels.

    Attributes:
        name: its key in TASKS.
        head: which head of a model family it trains; see models/registry.py.
        main_score: the score that chooses the best checkpoint; higher is better.
        labels: label names; their positions are the class numbers.
    """

    name: ClassVar[str]
    head: ClassVar[str]
    main_score: ClassVar[str]

    def __init__(self, labels: Sequence[str]):
        self.labels = list(labels)
        self.number_of = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    @abstractmethod
    def from_training_set(cls, path: str | os.PathLike) -> "tuple[Task, list]":
        """Read the training set and collect its labels: (task, examples)."""

    @abstractmethod
    def read(self, path: str | os.PathLike) -> list:
        """Examples of a file; UserError when one carries a label that the task doesn't know."""

    @abstractmethod
    def features(self, example: Any, tokenizer: Any, max_seq_len: int) -> Features:
        """Encode an example as rows of `input_ids`, `token_type_ids` and what `label_arrays` needs of it.

        One row in most tasks; a long text may give several windows.
        """

    @abstractmethod
    def label_arrays(self, rows: Features) -> dict[str, np.ndarray]:
        """The labels of a batch of rows, under the names by which the model's loss reads them."""

    @abstractmethod
    def new_scores(self) -> Scores:
        """A counter: `update(outputs, labels)` takes a batch of arrays, `compute()` gives name -> score."""

    def encode(self, examples: Sequence, tokenizer: Any, max_seq_len: int) -> Features:
        """All rows of all examples, in order; each row knows the number of its example."""
        return [
            {**row, "example": number}
            for number, example in enumerate(examples)
            for row in self.features(example, tokenizer, max_seq_len)
        ]

    def collate(self, rows: Features, tokenizer: Any) -> Batch:
        """A padded batch with its labels."""
        return {**tokenizer.pad(rows), **self.label_arrays(rows)}

    def config_fields(self) -> dict[str, Any]:
        """What the model's config must say so that a folder tells its labels."""
        return {"num_labels": len(self.labels), "id2label": dict(enumerate(self.labels))}

    @classmethod
    def from_config(cls, config: EncoderConfig) -> "Task":
        """The task as the config of a fine-tuned model describes it."""
        return cls(labels_of(config))


def labels_of(config: EncoderConfig) -> list[str]:
    """Label names of a config; "0", "1", ... when it names none."""
    names = config.id2label or {}
    return [str(names.get(number, number)) for number in range(config.num_labels)]
