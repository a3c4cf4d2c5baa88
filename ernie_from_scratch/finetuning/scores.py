"""Scores of predictions against the right answers. C classes, B rows of a batch."""

import numpy as np


class ClassificationScores:
    """Accuracy and macro F1, counted batch by batch in a confusion matrix."""

    def __init__(self, num_labels: int):
        self.confusion = np.zeros((num_labels, num_labels), dtype=np.int64)  # [C right, C predicted]

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch: logits [B, C] of any float type, labels [B] integers in [0, C)."""
        np.add.at(self.confusion, (np.asarray(labels), np.asarray(logits).argmax(-1)), 1)

    def compute(self) -> dict[str, float]:
        """`accuracy` and `macro_f1`, each in [0, 1].

        Macro F1 is the plain mean of the F1 of every class that was right or predicted at least once, where
        a class that was never predicted rightly counts as 0 (scikit-learn's `f1_score(average="macro",
        zero_division=0)`).
        """
        hits = np.diag(self.confusion).astype(float)  # [C]
        either = self.confusion.sum(0) + self.confusion.sum(1)  # [C], times right + times predicted
        seen = either > 0
        f1 = 2 * hits[seen] / either[seen]
        total = self.confusion.sum()
        return {"accuracy": float(hits.sum() / total), "macro_f1": float(f1.mean())} if total else {}
