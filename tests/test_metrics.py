"""Scores against a count by hand and a slow version that follows the definitions."""

import numpy as np
import pytest

from ernie_from_scratch.finetuning.scores import ClassificationScores


def plain_scores(right, predicted):
    """Accuracy and macro F1 by their definitions, one class at a time."""
    pairs = list(zip(right, predicted, strict=True))
    f1 = []
    for name in sorted(set(right) | set(predicted)):
        true_positives = sum(r == name and p == name for r, p in pairs)
        precision = true_positives / max(1, sum(p == name for _, p in pairs))
        recall = true_positives / max(1, sum(r == name for r, _ in pairs))
        f1.append(2 * precision * recall / (precision + recall) if true_positives else 0.0)
    return {"accuracy": sum(r == p for r, p in pairs) / len(pairs), "macro_f1": sum(f1) / len(f1)}


def test_by_hand():
    scores = ClassificationScores(2)
    scores.update(np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1]))  # predicts 0, 1, 0
    # class 0: precision 1/2, recall 1, F1 2/3; class 1: precision 1, recall 1/2, F1 2/3
    assert scores.compute() == pytest.approx({"accuracy": 2 / 3, "macro_f1": 2 / 3})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 5, 40])
def test_equal_to_the_definitions(seed, classes):
    rng = np.random.default_rng(seed)
    right, logits = rng.integers(0, classes, 97), rng.normal(size=(97, classes))
    logits[np.arange(97), right] += rng.uniform(0, 2)
    scores = ClassificationScores(classes)
    for start in range(0, 97, 13):  # in uneven batches
        scores.update(logits[start : start + 13], right[start : start + 13])
    assert scores.compute() == pytest.approx(plain_scores(right.tolist(), logits.argmax(-1).tolist()))


def test_a_class_that_nobody_mentions_does_not_count():
    scores = ClassificationScores(7)
    scores.update(np.eye(7)[[0, 3]], np.array([0, 3]))
    assert scores.compute() == {"accuracy": 1.0, "macro_f1": 1.0}


def test_a_class_never_predicted_rightly_counts_zero():
    scores = ClassificationScores(3)
    scores.update(np.eye(3)[[0, 0, 0]], np.array([0, 0, 2]))  # class 2 is right once and never predicted
    assert scores.compute()["macro_f1"] == pytest.approx((0.8 + 0.0) / 2)


def test_nothing_counted_gives_no_score():
    assert ClassificationScores(2).compute() == {}
