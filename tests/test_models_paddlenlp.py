"""Each class gives what PaddleNLP's of the same name gives with the same weights; gradients too."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_helpers import EVERY_CASE, NO_DROPOUT, configs, ids, largest_difference, paddlenlp_twin

import ernie_from_scratch as efs

pytest.importorskip("paddlenlp", reason="PaddleNLP is the reference here")
CLOSE = 1e-5
MASKS = ["none", "2d-int", "2d-bool", "2d-float", "3d-int", "4d-int", "4d-bool", "4d-float", "4d-heads"]


def masks(rng, kind, heads, rows, length, keys=None):
    """A mask of `kind`, and how PaddleNLP has to be given it: its 3-D masks fail for several rows."""
    keys = keys or length
    if kind == "none":
        return None, None
    if kind[0] == "2":
        seen = np.arange(keys) < rng.integers(1, keys + 1, (rows, 1))
        return (
            paddle.to_tensor(seen.astype({"int": "int64", "bool": "bool", "float": "float32"}[kind[3:]])),
        ) * 2
    seen = rng.random((rows, heads if kind == "4d-heads" else 1, length, keys)) < 0.6
    seen[..., 0] = True
    if kind == "4d-float":
        mask = paddle.to_tensor(np.where(seen, rng.normal(0, 1, seen.shape), -1e4).astype("float32"))
    else:
        mask = paddle.to_tensor(seen.astype("bool" if kind == "4d-bool" else "int64"))
    return (mask.squeeze(1) if kind == "3d-int" else mask), mask


@EVERY_CASE
@given(configs(), st.data())
def test_model_with_every_argument(config, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    rows, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    model = efs.ErnieModel(config)
    twin = paddlenlp_twin(model, rng)
    model.eval(), twin.eval()
    for kind in MASKS:
        mask, twin_mask = masks(rng, kind, config.num_attention_heads, rows, length)
        inputs = {"input_ids": ids(rng, config, rows, length, padded=data.draw(st.booleans()))}
        if mask is not None and data.draw(st.booleans()):
            inputs = {
                "inputs_embeds": paddle.to_tensor(
                    rng.normal(0, 1, (rows, length, config.hidden_size)), "float32"
                )
            }
        if config.type_vocab_size and data.draw(st.booleans()):
            inputs["token_type_ids"] = paddle.to_tensor(
                rng.integers(0, config.type_vocab_size, (rows, length))
            )
        if data.draw(st.booleans()):
            inputs["position_ids"] = paddle.to_tensor(
                rng.integers(0, config.max_position_embeddings, (rows, length))
            )
        if config.use_task_id and data.draw(st.booleans()):
            inputs["task_type_ids"] = paddle.to_tensor(rng.integers(0, 3, (rows, length)))
        for name in ("use_cache", "output_hidden_states", "output_attentions"):
            inputs[name] = data.draw(st.booleans())
        ours, theirs = model(attention_mask=mask, **inputs), twin(attention_mask=twin_mask, **inputs)
        assert largest_difference(ours, theirs) <= CLOSE

        named = model(attention_mask=mask, return_dict=True, **inputs)
        their_named = twin(attention_mask=twin_mask, return_dict=True, **inputs)
        assert list(named) == list(their_named)
        assert largest_difference(named.to_tuple(), ours) == 0


@EVERY_CASE
@given(configs(), st.sampled_from(["none", "2d-int", "4d-int"]), st.integers(0, 1000))
def test_cached_keys_and_values(config, kind, seed):
    rng = np.random.default_rng(seed)
    rows, past, length = rng.integers(1, 4), rng.integers(1, 7), rng.integers(1, 6)
    model = efs.ErnieModel(config)
    twin = paddlenlp_twin(model, rng)
    model.eval(), twin.eval()
    first, then = ids(rng, config, rows, past), ids(rng, config, rows, length, padded=True)
    mask, _ = masks(rng, kind, config.num_attention_heads, rows, length, keys=past + length)
    caches = [m(first, use_cache=True)[2] for m in (model, twin)]
    for use_cache in (False, True):
        outputs = [
            m(then, attention_mask=mask, past_key_values=cache, use_cache=use_cache)
            for m, cache in zip((model, twin), caches, strict=True)
        ]
        assert largest_difference(*outputs) <= CLOSE


def pretraining_inputs(rng, config, padded=True):
    rows, length = int(rng.integers(1, 5)), int(rng.integers(2, 12))
    positions = np.sort(rng.choice(rows * length, rng.integers(1, rows * length), replace=False))
    inputs = {"input_ids": ids(rng, config, rows, length, padded=padded)}
    if config.type_vocab_size:
        inputs["token_type_ids"] = paddle.to_tensor(rng.integers(0, config.type_vocab_size, (rows, length)))
    return inputs, paddle.to_tensor(positions), rows, length


@EVERY_CASE
@given(configs(), st.integers(0, 1000))
def test_pretraining_heads_and_loss(config, seed):
    rng = np.random.default_rng(seed)
    inputs, positions, rows, length = pretraining_inputs(rng, config)
    order = paddle.to_tensor(rng.integers(0, 2, rows))
    for cls, extra in ((efs.ErnieForPretraining, {"next_sentence_label": order}), (efs.ErnieForMaskedLM, {})):
        model = cls(config)
        twin = paddlenlp_twin(model, rng)
        model.eval(), twin.eval()
        for at in (None, positions):
            labels = paddle.to_tensor(
                rng.integers(0, config.vocab_size, (rows, length) if at is None else len(at))
            )
            for more in (
                {},
                {"labels": labels, **extra},
                {"output_hidden_states": True, "output_attentions": True},
            ):
                ours, theirs = (m(**inputs, **more, masked_positions=at) for m in (model, twin))
                assert largest_difference(ours, theirs) <= CLOSE
                named, their_named = (
                    m(**inputs, **more, masked_positions=at, return_dict=True) for m in (model, twin)
                )
                assert list(named) == list(their_named)


@EVERY_CASE
@given(configs(), st.integers(0, 1000))
def test_task_heads_and_losses(config, seed):
    rng = np.random.default_rng(seed)
    rows, length, choices = int(rng.integers(2, 5)), int(rng.integers(2, 12)), int(rng.integers(2, 4))
    config.num_choices = choices
    one = {"input_ids": ids(rng, config, rows, length, padded=True)}
    many = {"input_ids": ids(rng, config, rows, choices, length, padded=True)}
    many["attention_mask"] = (many["input_ids"] != config.pad_token_id).astype("int64")

    def numbers(high, *shape):
        return paddle.to_tensor(rng.integers(0, high, shape))

    several = numbers(2, rows, config.num_labels).astype("float32")
    cases = [
        (efs.ErnieForSequenceClassification, one, {"labels": numbers(config.num_labels, rows)}),
        (efs.ErnieForSequenceClassification, one, {"labels": several}),
        (efs.ErnieForTokenClassification, one, {"labels": numbers(config.num_labels, rows, length)}),
        (efs.ErnieForQuestionAnswering, one,
         {"start_positions": numbers(length, rows), "end_positions": numbers(length, rows)}),
        (efs.ErnieForMultipleChoice, many, {"labels": numbers(choices, rows)}),
    ]  # fmt: skip
    for cls, inputs, labels in cases:
        model = cls(config)
        twin = paddlenlp_twin(model, rng)
        model.eval(), twin.eval()
        for more in ({}, labels, {"output_hidden_states": True}, {**labels, "output_attentions": True}):
            ours, theirs = model(**inputs, **more), twin(**inputs, **more)
            assert isinstance(ours, tuple) == isinstance(theirs, tuple)
            assert largest_difference(ours, theirs) <= CLOSE
            named, their_named = (
                model(**inputs, **more, return_dict=True),
                twin(**inputs, **more, return_dict=True),
            )
            assert list(named) == list(their_named)


def test_regression_loss(rng=None):
    rng = np.random.default_rng(3)
    config = efs.ErnieConfig.preset("tiny", vocab_size=30, num_labels=1)
    model = efs.ErnieForSequenceClassification(config)
    twin = paddlenlp_twin(model, rng)
    model.eval(), twin.eval()
    inputs = {
        "input_ids": ids(rng, config, 4, 6),
        "labels": paddle.to_tensor(rng.normal(0, 1, 4).astype("float32")),
    }
    assert largest_difference(model(**inputs), twin(**inputs)) <= CLOSE


@EVERY_CASE
@given(configs(**NO_DROPOUT), st.booleans(), st.integers(0, 1000))
def test_gradients_of_pretraining(config, padded, seed):
    rng = np.random.default_rng(seed)
    inputs, positions, rows, _ = pretraining_inputs(rng, config, padded)
    labels = paddle.to_tensor(rng.integers(0, config.vocab_size, len(positions)))
    order = paddle.to_tensor(rng.integers(0, 2, rows))
    model = efs.ErnieForPretraining(config)
    twin = paddlenlp_twin(model, rng)
    for m in (model, twin):
        m.train()
        m(**inputs, masked_positions=positions, labels=labels, next_sentence_label=order)[0].backward()
    theirs = dict(twin.named_parameters())
    largest = max(float(parameter.grad.abs().max()) for parameter in theirs.values())
    assert set(dict(model.named_parameters())) == set(theirs)
    for name, parameter in model.named_parameters():
        # A bias of keys has no effect on attention: its gradient is rounding noise, hence the second bound.
        bound = 1e-4 * max(float(theirs[name].grad.abs().max()), 1e-2 * largest)
        assert float((parameter.grad - theirs[name].grad).abs().max()) <= bound, name
