"""Objectives: a loss with the metrics that it names, which are those that a run logs."""

import numpy as np
import paddle
import pytest
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.dataset.batch import IGNORE_INDEX
from ernie_from_scratch.models import (
    ErnieForPretraining,
    ErnieForQuestionAnswering,
    ErnieForSequenceClassification,
    ErnieForTokenClassification,
)
from ernie_from_scratch.objectives import MaskedLMWithPair, SupervisedObjective, build_objective
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import pretrain

PAIR_METRICS = {"sop": ["lm_loss", "sop_loss"], "nsp": ["lm_loss", "nsp_loss"], "none": ["lm_loss"]}


def small(cls):
    paddle.seed(2)
    config = ErnieConfig.preset(
        "tiny", vocab_size=40, hidden_size=16, num_hidden_layers=1, intermediate_size=32, num_labels=3
    )
    model = cls(config)
    model.eval()
    return model


def tensors(**arrays):
    return {name: paddle.to_tensor(np.array(array)) for name, array in arrays.items()}


IDS = [[1, 5, 9, 7, 2], [1, 8, 6, 2, 0]]
MASKED = dict(masked_positions=[2, 6], masked_lm_labels=[11, 12])


@pytest.mark.parametrize("pairs", PAIR_METRICS)
def test_metrics_are_those_that_are_named(pairs):
    objective, model = MaskedLMWithPair(pairs), small(ErnieForPretraining)
    labels = {} if pairs == "none" else dict(next_sentence_label=[0, 1])
    loss = objective(model, tensors(input_ids=IDS, **MASKED, **labels))
    assert list(loss.metrics) == list(objective.metric_names) == PAIR_METRICS[pairs]
    assert float(loss.total) == pytest.approx(sum(float(value) for value in loss.metrics.values()))
    masked_logits, pair_logits = model(paddle.to_tensor(IDS), masked_positions=paddle.to_tensor([2, 6]))
    expected = [paddle.nn.functional.cross_entropy(masked_logits, paddle.to_tensor([11, 12]))]
    if labels:
        expected.append(paddle.nn.functional.cross_entropy(pair_logits, paddle.to_tensor([0, 1])))
    assert [float(value) for value in loss.metrics.values()] == pytest.approx(list(map(float, expected)))


def test_rows_without_a_pair_label_are_left_out():
    objective, model = MaskedLMWithPair("nsp"), small(ErnieForPretraining)
    both = objective(model, tensors(input_ids=IDS, **MASKED, next_sentence_label=[0, IGNORE_INDEX]))
    first = objective(
        model,
        tensors(input_ids=IDS[:1], masked_positions=[2], masked_lm_labels=[11], next_sentence_label=[0]),
    )
    assert float(both.metrics["nsp_loss"]) == pytest.approx(float(first.metrics["nsp_loss"]))


@pytest.mark.parametrize(
    "cls, labels",
    [
        (ErnieForSequenceClassification, dict(labels=[0, 2])),
        (ErnieForTokenClassification, dict(labels=[[-100, 0, 1, 2, -100], [-100, 2, 2, -100, -100]])),
        (ErnieForQuestionAnswering, dict(start_positions=[1, 2], end_positions=[2, 3])),
    ],
)
def test_the_loss_of_labelled_examples_is_that_of_the_model(cls, labels):
    objective, model = SupervisedObjective(), small(cls)
    loss = objective(model, tensors(input_ids=IDS, **labels))
    assert list(loss.metrics) == list(objective.metric_names) == []
    assert float(loss.total) == float(model(paddle.to_tensor(IDS), **tensors(**labels))[0])


def test_what_a_batch_counts_for():
    batch = tensors(input_ids=IDS, **MASKED, next_sentence_label=[0, 1])
    assert MaskedLMWithPair().num_predictions(batch) == 2 and MaskedLMWithPair().weight(batch) is None
    assert SupervisedObjective().num_predictions(batch) == 0
    assert SupervisedObjective().weight({**batch, "loss_weight": 0.5}) == 0.5
    assert set(MaskedLMWithPair().network_inputs(batch)) == set(MaskedLMWithPair.input_keys)


@pytest.mark.parametrize(
    "objective",
    [MaskedLMWithPair("nsp"), MaskedLMWithPair("none"), SupervisedObjective(["input_ids", "attention_mask"])],
    ids=["nsp", "none", "supervised"],
)
def test_an_objective_is_built_again_from_its_description(objective):
    again = build_objective(objective.describe())
    assert type(again) is type(objective) and vars(again) == vars(objective)


def test_an_unknown_objective_is_named():
    with pytest.raises(UserError, match="unknown objective: mlm; known: mlm_pair, supervised"):
        build_objective({"name": "mlm"})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("pairs", ["nsp", "none"])
def test_a_run_logs_the_pair_loss_under_its_own_name(corpus, tmp_path, capfd, pairs):
    names = ["loss", *PAIR_METRICS[pairs]]
    pretrain(run_settings(corpus, tmp_path / "run", sentence_pairs=pairs, max_steps=2, logging_freq=1))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row.get("eval") for row in rows] == [None, None, "valid", "test"]
    for row in rows:
        assert [name for name in row if name.endswith("loss")] == names
        assert row["loss"] == pytest.approx(sum(row[name] for name in names[1:]), rel=1e-6)
    lines = capfd.readouterr().err.splitlines()
    first = next(line for line in lines if line.startswith("global step 1, "))
    values = ", ".join(f"{name}: {rows[0][name]:.6f}" for name in names)
    assert first.startswith(f"global step 1, {values}, speed: ")
    evaluated = next(line for line in lines if line.startswith("valid step 2, "))
    assert [word[:-1] for word in evaluated.split() if word.endswith("loss:")] == names
