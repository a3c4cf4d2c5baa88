"""What the networks promise by themselves: start, losses, masks, recomputation, static graph, mistakes."""

import math

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_helpers import EVERY_CASE, NO_DROPOUT, configs, ids, largest_difference, randomize

import ernie_from_scratch as efs
from ernie_from_scratch.models.heads import mean_cross_entropy
from ernie_from_scratch.models.masks import add_mask, additive_mask

SMALL = {
    "vocab_size": 200,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    **NO_DROPOUT,
}


def small(cls, **overrides):
    return cls(efs.ErnieConfig.preset("tiny", **{**SMALL, **overrides}))


def test_weights_start_as_a_normal_distribution_cut_at_two_deviations():
    paddle.seed(0)
    std = 0.03
    model = efs.ErnieForPretraining(efs.ErnieConfig.preset("tiny", vocab_size=3000, initializer_range=std))
    cut = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(
        math.sqrt(2)
    )  # its variance, in std squared
    seen = 0
    for name, parameter in model.named_parameters():
        values = parameter.numpy()
        if name.endswith("weight") and "norm" not in name:
            deviation = std * math.sqrt(cut)
            rows = values[1:] if name.endswith("word_embeddings.weight") else values  # row 0 is padding
            assert abs(rows).max() <= 2 * std * 1.0001, name
            assert abs(rows.mean()) < 5 * deviation / rows.size**0.5, name
            assert abs(rows.std() / deviation - 1) < 5 * 0.8 / (2 * rows.size) ** 0.5 + 1e-3, name
            seen += 1
        else:
            assert (
                values == (1 if name.endswith("norm.weight") or "norm1.w" in name or "norm2.w" in name else 0)
            ).all()
    assert (
        seen == 3 + 2 * 6 + 1 + 2
    )  # embeddings, layers, pooler, transform and sentence order; the decoder is tied


@pytest.mark.parametrize("vocab_size", [500, 18000])
def test_untrained_losses_are_those_of_guessing(vocab_size):
    paddle.seed(1)
    rng = np.random.default_rng(0)
    config = efs.ErnieConfig.preset("tiny", vocab_size=vocab_size)
    model = efs.ErnieForPretraining(config)
    tokens, order = ids(rng, config, 16, 64), paddle.to_tensor(rng.integers(0, 2, 16))
    positions = paddle.arange(0, 16 * 64, 5)
    labels = paddle.to_tensor(rng.integers(0, vocab_size, len(positions)))
    both, words, _ = model(tokens, masked_positions=positions, labels=labels, next_sentence_label=order)
    lm = float(mean_cross_entropy(words, labels))
    assert abs(lm / math.log(vocab_size) - 1) < 0.03
    assert abs(float(both) - lm - math.log(2)) < 0.05


def test_labels_below_zero_are_left_out_of_the_mean():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(0, 1, (6, 9)).astype("float32"), np.array([3, -100, 0, -1, 8, -100])
    by_hand = [
        np.log(np.exp(row).sum()) - row[label]
        for row, label in zip(scores, labels, strict=True)
        if label >= 0
    ]
    assert float(mean_cross_entropy(paddle.to_tensor(scores), paddle.to_tensor(labels))) == pytest.approx(
        np.mean(by_hand)
    )
    nothing = paddle.full([6], -100, "int64")
    assert float(mean_cross_entropy(paddle.to_tensor(scores), nothing)) == 0


def test_losses_skip_what_is_not_asked():
    rng = np.random.default_rng(0)
    model = small(efs.ErnieForPretraining)
    tokens = ids(rng, model.config, 3, 8)
    labels = rng.integers(0, 200, (3, 8))
    selected = rng.random((3, 8)) < 0.4
    for hole in (-1, -100):
        marked = paddle.to_tensor(np.where(selected, labels, hole))
        everywhere = model(tokens, labels=marked)[0]
        positions = paddle.to_tensor(np.flatnonzero(selected))
        gathered = model(tokens, masked_positions=positions, labels=paddle.to_tensor(labels[selected]))[0]
        assert float(everywhere) == pytest.approx(float(gathered), abs=1e-6)
    tagger = small(efs.ErnieForTokenClassification)
    tags = paddle.to_tensor(np.where(selected, labels % 2, -100))
    assert float(tagger(tokens, labels=tags)[0]) == pytest.approx(
        float(
            mean_cross_entropy(
                tagger(tokens).numpy()[selected] @ paddle.eye(2), paddle.to_tensor(labels[selected] % 2)
            )
        ),
        abs=1e-6,
    )


def test_answers_beyond_the_sequence_are_left_out():
    model = small(efs.ErnieForQuestionAnswering)
    tokens = ids(np.random.default_rng(0), model.config, 3, 8)
    starts, ends = paddle.to_tensor([2, 30, 5]), paddle.to_tensor([4, 3, 8])
    loss, start, end = model(tokens, start_positions=starts, end_positions=ends)
    expected = (
        mean_cross_entropy(start[0::2], paddle.to_tensor([2, 5]))
        + mean_cross_entropy(end[:2], paddle.to_tensor([4, 3]))
    ) / 2
    assert float(loss) == pytest.approx(float(expected), abs=1e-6)


@EVERY_CASE
@given(configs(), st.integers(0, 1000))
def test_padding_changes_nothing(config, seed):
    """A row alone and the same row padded in a batch give the same states, whichever form the mask has."""
    rng = np.random.default_rng(seed)
    model = efs.ErnieModel(config)
    randomize(model, rng)
    model.eval()
    lengths = rng.integers(1, 9, 3)
    batch = np.full((3, 8), config.pad_token_id)
    rows = [ids(rng, config, 1, int(length)) for length in lengths]
    for row, tokens in enumerate(rows):
        batch[row, : lengths[row]] = tokens.numpy()[0]
    seen = paddle.to_tensor((np.arange(8) < lengths[:, None]).astype("int64"))
    batch = paddle.to_tensor(batch)
    for mask in (
        None,
        seen,
        seen.astype("bool"),
        seen.astype("float32"),
        seen.unsqueeze(1),
        seen.unsqueeze([1, 2]),
    ):
        states, pooled = model(batch, attention_mask=mask)
        for row, tokens in enumerate(rows):
            alone, alone_pooled = model(tokens)
            assert (
                largest_difference([states[row, : lengths[row]], pooled[row]], [alone[0], alone_pooled[0]])
                <= 1e-5
            )


@pytest.mark.parametrize("shape", [[1, 1, 1, 5], [2, 1, 1, 5], [2, 1, 4, 5], [2, 3, 4, 5]])
def test_a_mask_is_repeated_over_the_axes_that_it_lacks(shape):
    scores, mask = paddle.rand([2, 3, 4, 5]), paddle.rand(shape)
    assert (add_mask(scores, mask) == scores + mask).all()


def test_mask_of_nothing_is_no_mask():
    ones = paddle.ones([2, 5], "int64")
    assert additive_mask(ones, paddle.float32) is None
    assert additive_mask(ones - paddle.eye(2, 5).astype("int64"), paddle.float32).shape == [2, 1, 1, 5]
    lowest = additive_mask(paddle.zeros([1, 1, 2, 2], "bool"), paddle.float16)
    assert np.isfinite(lowest.numpy()).all()


@EVERY_CASE
@given(configs(), st.integers(0, 1000))
def test_a_sequence_read_in_two_parts(config, seed):
    """With a causal mask, reading on from cached keys and values equals reading at once."""
    rng = np.random.default_rng(seed)
    model = efs.ErnieModel(config)
    randomize(model, rng)
    model.eval()
    tokens, cut = ids(rng, config, 2, 9), int(rng.integers(1, 9))
    causal = paddle.tril(paddle.ones([1, 1, 9, 9], "int64"))
    at_once = model(tokens, attention_mask=causal)[0]
    _, _, cache = model(tokens[:, :cut], attention_mask=causal[:, :, :cut, :cut], use_cache=True)
    rest = model(tokens[:, cut:], attention_mask=causal[:, :, cut:, :], past_key_values=cache)[0]
    assert largest_difference(rest, at_once[:, cut:]) <= 1e-5


def test_gpu_kernel_equals_plain_attention():
    """The kernel for GPUs also has a CPU version: same context, in evaluation and training without dropout."""
    rng = np.random.default_rng(0)
    attention = small(efs.ErnieModel).encoder.layers[0].self_attn
    query, key, value = (paddle.to_tensor(rng.normal(0, 1, (2, 3, 5, 8)).astype("float32")) for _ in range(3))
    context, weights = attention.attend(query, key, value)
    assert largest_difference(attention.attend_in_gpu_kernel(query, key, value), context) <= 1e-6
    assert np.allclose(weights.sum(-1).numpy(), 1, atol=1e-6)
    assert not attention.has_gpu_kernel(query)  # this is a CPU test, in float32


def test_recomputation_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        paddle.seed(5)
        model = small(
            efs.ErnieForPretraining,
            enable_recompute=recompute,
            hidden_dropout_prob=0.2,
            attention_probs_dropout_prob=0.2,
        )
        model.train()
        randomize(model, np.random.default_rng(7))
        tokens = ids(np.random.default_rng(8), model.config, 2, 10, padded=True)
        paddle.seed(6)  # the dropout masks are drawn again in the second forward pass
        model(tokens, labels=tokens)[0].backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 20
    assert largest_difference(*gradients) <= 1e-6


def test_static_graph_gives_the_same_for_any_size(tmp_path):
    model = small(efs.ErnieForPretraining, use_task_id=True)
    model.eval()
    spec = paddle.static.InputSpec([None, None], "int64")
    paddle.jit.save(paddle.jit.to_static(model, input_spec=[spec], full_graph=True), str(tmp_path / "graph"))
    graph = paddle.jit.load(str(tmp_path / "graph"))
    for shape in ((1, 3), (4, 17)):
        tokens = ids(np.random.default_rng(0), model.config, *shape, padded=True)
        assert largest_difference(graph(tokens), model(tokens)) <= 1e-5


def test_tied_weights_are_one_parameter_and_both_uses_train_it():
    model = small(efs.ErnieForPretraining)
    words = model.ernie.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.weight is words
    assert sum(parameter is words for parameter in model.parameters()) == 1
    tokens = paddle.to_tensor([[1, 2, 3]])
    model(tokens, masked_positions=paddle.to_tensor([1]), labels=paddle.to_tensor([9]))[0].backward()
    rows = words.grad.abs().sum(-1).numpy()
    assert (rows[[1, 3, 9, 150]] > 0).all()  # seen as input or scored as output: the softmax reaches all rows
    assert (
        model.ernie.embeddings.word_embeddings(paddle.to_tensor([0])).abs().sum() == 0
    )  # padding looks up zeros


def test_a_small_model_learns():
    paddle.seed(0)
    model = small(efs.ErnieForPretraining)
    tokens = ids(np.random.default_rng(0), model.config, 4, 10)
    optimizer = paddle.optimizer.AdamW(5e-3, parameters=model.parameters())
    losses = []
    for _ in range(40):
        loss, *_ = model(tokens, labels=tokens, next_sentence_label=paddle.to_tensor([0, 1, 0, 1]))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    "inputs", [{}, {"input_ids": paddle.ones([1, 2], "int64"), "inputs_embeds": paddle.ones([1, 2, 24])}]
)
def test_two_inputs_or_none(inputs):
    with pytest.raises(efs.UserError, match="either input_ids or inputs_embeds"):
        small(efs.ErnieModel)(**inputs)


def test_outputs_read_three_ways():
    output = small(efs.ErnieModel)(paddle.ones([1, 4], "int64"), return_dict=True, output_hidden_states=True)
    assert output.last_hidden_state is output["last_hidden_state"] is output[0]
    assert output.attentions is None and len(output.hidden_states) == 3 and len(output) == 3
    with pytest.raises(AttributeError, match="has no field logits"):
        _ = output.logits
