"""One label for a text or a pair of texts, from the pooled [CLS] state (BERT, section 4.1). B rows."""

import os
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.finetuning.examples import Example, label_names, read_examples
from ernie_from_scratch.finetuning.scores import ClassificationScores
from ernie_from_scratch.finetuning.tasks.base import Features, Task


class SequenceClassification(Task):
    """`--task seq_cls`."""

    name = "seq_cls"
    head = "sequence-classification"
    main_score = "accuracy"

    @classmethod
    def from_training_set(cls, path: str | os.PathLike) -> "tuple[SequenceClassification, list[Example]]":
        examples = read_examples(path)
        labels = label_names(examples)
        if len(labels) < 2:
            raise UserError(
                f"only one label: every line of {path} says {labels[0]!r}; there is nothing to learn"
            )
        return cls(labels), examples

    def read(self, path: str | os.PathLike) -> list[Example]:
        examples = read_examples(path)
        for example in examples:
            if example.label not in self.number_of:
                known = ", ".join(self.labels[:8])[:80]
                raise UserError(f"unknown label {example.label!r}: {example.where}; the model knows {known}")
        return examples

    def features(self, example: Example, tokenizer: Any, max_seq_len: int) -> Features:
        encoded = tokenizer.encode(example.text_a, text_pair=example.text_b, max_seq_len=max_seq_len)
        return [{**encoded, "label": self.number_of[str(example.label)]}]

    def label_arrays(self, rows: Features) -> dict[str, np.ndarray]:
        return {"labels": np.array([row["label"] for row in rows], dtype=np.int64)}  # [B]

    def new_scores(self) -> "_LabelScores":
        return _LabelScores(len(self.labels))


class _LabelScores(ClassificationScores):
    def update(self, outputs, labels):
        super().update(outputs[0], labels["labels"])
