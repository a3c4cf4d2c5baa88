"""Evaluation against a slow count with numpy, and the rows that a run writes."""

import numpy as np
import paddle
import pytest
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES
from ernie_from_scratch.training.evaluation import evaluate
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import (
    build_model,
    build_source,
    corpus_prefixes,
    load_vocabulary,
    pretrain,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def model_and_data(corpus, **changes):
    settings = run_settings(corpus, "unused", **changes).check()
    prefixes = corpus_prefixes(settings.input_dir)
    vocabulary = load_vocabulary(settings, prefixes)
    paddle.seed(3)
    return build_model(settings, vocabulary), build_source(settings, prefixes, vocabulary)


def by_hand(model, split, batch_size, iterations):
    """One masked token at a time, in float64, from scores of each batch."""
    model.eval()
    nats, kinds, hits = [], [], 0
    for i in range(iterations):
        batch = split.batch(np.arange(i * batch_size, (i + 1) * batch_size))
        mask = batch["attention_mask"]
        scores, _ = model(
            paddle.to_tensor(batch["input_ids"]),
            token_type_ids=paddle.to_tensor(batch["token_type_ids"]),
            attention_mask=None if mask is None else paddle.to_tensor(mask),
        )
        scores = scores.numpy().astype("float64").reshape(-1, scores.shape[-1])  # [B * L, V]
        for position, label, kind in zip(
            batch["masked_positions"], batch["masked_lm_labels"], batch["masked_span_kinds"], strict=True
        ):
            row = scores[position]
            nats.append(np.log(np.exp(row - row.max()).sum()) + row.max() - row[label])
            kinds.append(int(kind))
            hits += row.argmax() == label
    return np.array(nats), np.array(kinds), hits


@pytest.mark.parametrize("masking", ["entity", "char"])
def test_equal_to_a_slow_count(corpus, masking):
    model, data = model_and_data(corpus, masking=masking)
    objective = MaskedLMWithPair()
    words = model.ernie.embeddings.word_embeddings.weight
    words.set_value(words * 5)  # scores that differ much
    found = evaluate(model, objective, data["valid"], 4, 5)
    nats, kinds, hits = by_hand(model, data["valid"], 4, 5)
    assert found["perplexity"] == pytest.approx(np.exp(nats.mean()), rel=1e-4)
    assert found["masked_accuracy"] == pytest.approx(hits / len(nats))
    names = {f"perplexity_{ENTITY_TYPES[k] or 'outside'}": k for k in set(kinds.tolist())}
    assert {name for name in found if name.startswith("perplexity_")} == set(names) and len(names) > 2
    for name, kind in names.items():
        assert found[name] == pytest.approx(np.exp(nats[kinds == kind].mean()), rel=1e-4), name


def test_it_leaves_the_model_as_it_was(corpus):
    model, data = model_and_data(corpus)
    model.train()
    before = {name: p.numpy() for name, p in model.state_dict().items()}
    objective = MaskedLMWithPair()
    assert evaluate(model, objective, data["test"], 2, 2) == evaluate(model, objective, data["test"], 2, 2)
    assert model.training and all(np.array_equal(before[n], p.numpy()) for n, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("frequency", "steps"), [(0, []), (3, [3, 5]), (5, [5]), (100, [5])])
def test_during_the_run_and_at_its_end(corpus, tmp_path, frequency, steps):
    pretrain(run_settings(corpus, tmp_path / "run", max_steps=5, eval_freq=frequency), quiet=True)
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "eval" in row]
    assert [(row["step"], row["eval"]) for row in rows] == [(s, e) for s in steps for e in ("valid", "test")]
    assert all(row["perplexity"] > 1 and 0 <= row["masked_accuracy"] <= 1 for row in rows)


def test_without_sentence_pairs(corpus):
    model, data = model_and_data(corpus, sentence_pairs="none")
    found = evaluate(model, MaskedLMWithPair("none"), data["valid"], 4, 2)
    assert found["loss"] == found["lm_loss"] > 0 and not {"sop_loss", "nsp_loss"} & set(found)
