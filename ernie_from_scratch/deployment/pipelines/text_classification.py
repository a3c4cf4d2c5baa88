"""Give texts, or pairs of texts, a label.

B rows, L sequence length, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ernie_from_scratch.dataset.labelled import by_length
from ernie_from_scratch.deployment.pipelines.base import Pipeline, check_count, check_text
from ernie_from_scratch.finetuning.evaluation import softmax
from ernie_from_scratch.finetuning.tasks import labels_of


class TextClassificationPipeline(Pipeline):
    """Gives texts, or pairs of texts, a label."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.labels = labels_of(self.config)

    def predict(self, inputs: Sequence[Any], top_k: int | None = 1) -> list:
        """For each input its most probable label as {"label", "score"}; with `top_k` other than 1 a list of the
        best ones, with `top_k=None` of all.

        Inputs are texts, (text, text_pair) tuples, or dicts with `text` and `text_pair`. Scores are probabilities
        and sum to 1 over all labels.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        rows = [
            self.tokenizer.encode(*text_and_pair(entry), max_seq_len=self.max_seq_len) for entry in inputs
        ]
        answers: list[Any] = [None] * len(rows)
        for numbers in by_length([len(row["input_ids"]) for row in rows], self.batch_size):
            batch = self.tokenizer.pad([rows[number] for number in numbers])  # [B, L] each
            names = self.backend.task.input_names
            logits = self.backend.run(**{name: batch[name] for name in names})["logits"]  # [B, C]
            for number, probabilities in zip(numbers, softmax(logits), strict=True):
                order = np.argsort(-probabilities, kind="stable")[:top_k]
                best = [{"label": self.labels[i], "score": float(probabilities[i])} for i in order]
                answers[number] = best[0] if top_k == 1 else best
        return answers


def text_and_pair(entry: Any) -> tuple[str, str | None]:
    """One input of a classifier as (text, text_pair or None); UserError unless these are texts."""
    if isinstance(entry, dict):
        entry = (entry.get("text"), entry.get("text_pair"))
    if not isinstance(entry, str) and isinstance(entry, Sequence) and len(entry) == 2:
        text, pair = entry
        return check_text(text), None if pair is None else check_text(pair)
    return check_text(entry), None
