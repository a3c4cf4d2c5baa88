"""The layers that replace Paddle's kernels on a CPU give the same numbers; dropout has its rate and independence."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import layers
from ernie_from_scratch.models.attention import MultiHeadAttention
from ernie_from_scratch.models.cpu import layers as cpu_layers

SHAPES = [(5, 7), (2, 3, 16), (64, 33), (2, 2, 8, 8)]


def results(layer, x, grad):
    """Output, and gradients of the input and of all parameters."""
    x = paddle.to_tensor(x, stop_gradient=False)
    y = layer(x)
    inputs = [x, *(layer.parameters() if isinstance(layer, nn.Layer) else [])]
    return [y, *paddle.grad(y, inputs, paddle.to_tensor(grad))]


def assert_equal_results(ours, theirs, shape, features):
    rng = np.random.default_rng(sum(shape))
    for parameter in theirs.parameters():
        parameter.set_value(rng.normal(0, 1, parameter.shape).astype("float32"))
    ours.set_state_dict(theirs.state_dict())
    x, grad = rng.normal(0, 2, shape), rng.normal(0, 1, (*shape[:-1], features))
    x, grad = x.astype("float32"), grad.astype("float32")
    names = []
    for a, b in zip(results(ours, x, grad), results(theirs, x, grad), strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= 2e-6 * max(1.0, float(b.abs().max()))
        names.append(a)
    return names


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_and_its_gradients_equal_paddles(shape):
    assert_equal_results(layers.Linear(shape[-1], 11), nn.Linear(shape[-1], 11), shape, 11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon", [1e-12, 1e-5])
def test_layer_norm_and_its_gradients_equal_paddles(shape, epsilon):
    ours, theirs = (cls(shape[-1], epsilon=epsilon) for cls in (layers.LayerNorm, nn.LayerNorm))
    assert_equal_results(ours, theirs, shape, shape[-1])


def test_layer_norm_far_from_zero():
    """Rows of mean 1000 and deviation 1: the variance must not be a difference of large numbers."""
    x = (1000 + np.random.default_rng(0).normal(0, 1, (50, 64))).astype("float32")
    grad = np.random.default_rng(1).normal(0, 1, (50, 64)).astype("float32")
    exact = paddle.to_tensor(x.astype("float64"), stop_gradient=False)
    y = F.layer_norm(exact, 64, epsilon=1e-12)
    expected = paddle.grad(y, [exact], paddle.to_tensor(grad.astype("float64")))[0]
    found = results(layers.LayerNorm(64, epsilon=1e-12), x, grad)[1]
    assert float((found.astype("float64") - expected).abs().max()) < 2e-3


def test_decoder_with_transposed_weight():
    rng = np.random.default_rng(0)
    x, weight, bias = (
        paddle.to_tensor(rng.normal(0, 1, s).astype("float32")) for s in ((2, 3, 5), (9, 5), (9,))
    )
    grad = paddle.to_tensor(rng.normal(0, 1, (2, 3, 9)).astype("float32"))
    for tensor in (x, weight, bias):
        tensor.stop_gradient = False
    ours = layers.transposed_linear(x, weight, bias)
    plain = paddle.matmul(x, weight, transpose_y=True) + bias
    pairs = [
        (ours, plain),
        *zip(*(paddle.grad(y, [x, weight, bias], grad) for y in (ours, plain)), strict=True),
    ]
    assert all(float((a - b).abs().max()) < 1e-5 for a, b in pairs)


def test_hand_written_backward_runs_where_it_should_and_only_there(monkeypatch):
    called = []
    apply = cpu_layers._Linear.apply
    monkeypatch.setattr(cpu_layers._Linear, "apply", lambda *args: called.append(1) or apply(*args))
    layer, x = layers.Linear(4, 3), paddle.ones([2, 4])
    layer(x)
    with paddle.no_grad():
        layer(paddle.to_tensor(x, stop_gradient=False))
    layer.to(dtype="float64")(paddle.ones([2, 4], "float64").detach())
    assert not called
    layer.to(dtype="float32")
    x.stop_gradient = False
    layer(x)
    assert called


def test_frozen_parameters_get_no_gradient():
    for layer in (layers.Linear(4, 4), layers.LayerNorm(4)):
        x = paddle.randn([3, 4])
        x.stop_gradient = False
        layer.weight.stop_gradient = True
        layer(x).square().sum().backward()
        assert layer.weight.grad is None and layer.bias.grad is not None and x.grad is not None


def drop(x, p, seed=0):
    paddle.seed(seed)
    x = paddle.to_tensor(x, stop_gradient=False)
    y = layers.Dropout(p)(x)
    return x, y


@pytest.mark.parametrize("p", [0.1, 0.5, 0.013])
def test_dropout_rate_and_scale(p):
    count = 400_000
    _, y = drop(np.ones(count, "float32"), p)
    values = y.numpy()
    kept = values != 0
    deviation = (p * (1 - p) / count) ** 0.5
    assert abs(1 - kept.mean() - p) < 5 * deviation
    assert np.allclose(values[kept], 1 / (1 - p), rtol=1e-4)
    assert abs(values.mean() - 1) < 5 * deviation / (1 - p)


def test_dropout_is_independent_between_places_rows_and_calls():
    """Correlations of 400 x 1000 mask elements at many distances, and between calls, stay within chance."""
    paddle.seed(3)
    ones = paddle.ones([400, 1000])
    ones.stop_gradient = False
    layer = layers.Dropout(0.3)
    kept = [(layer(ones).numpy() != 0).astype("float64").ravel() - 0.7 for _ in range(3)]
    variance, count = 0.3 * 0.7, kept[0].size
    limit = 5 / count**0.5
    for distance in (1, 2, 3, 4, 5, 8, 16, 31, 32, 64, 128, 999, 1000, 1001, 4096):
        assert abs((kept[0][distance:] * kept[0][:-distance]).mean() / variance) < limit, distance
    assert abs((kept[0] * kept[1]).mean() / variance) < limit
    assert abs((kept[1] * kept[2]).mean() / variance) < limit
    # The number of kept kept per row scatters as a binomial does: chi-square with 399 degrees of freedom.
    rows = (kept[0] + 0.7).reshape(400, 1000).sum(1)
    assert 290 < ((rows - 700) ** 2 / (1000 * variance)).sum() < 520
    columns = (kept[0] + 0.7).reshape(400, 1000).sum(0)
    assert 800 < ((columns - 280) ** 2 / (400 * variance)).sum() < 1210


def test_dropout_gradient_uses_the_same_mask():
    x, y = drop(np.random.default_rng(0).normal(0, 1, (3, 5, 7)).astype("float32") + 10, 0.4)
    grad = paddle.grad(y.sum(), [x])[0]
    assert np.allclose(grad.numpy(), y.numpy() / x.numpy(), rtol=1e-6)


def test_dropout_follows_paddles_seed_and_state():
    x = np.ones((50, 50), "float32")
    first, again, other = drop(x, 0.5, 1)[1], drop(x, 0.5, 1)[1], drop(x, 0.5, 2)[1]
    assert (first == again).all() and not (first == other).all()
    state = paddle.get_rng_state()
    layer, ones = layers.Dropout(0.5), paddle.to_tensor(x, stop_gradient=False)
    before = layer(ones)
    paddle.set_rng_state(state)
    assert (layer(ones) == before).all()


def test_dropout_is_nothing_in_evaluation_and_at_zero():
    x = paddle.to_tensor([1.0, 2.0], stop_gradient=False)
    quiet = layers.Dropout(0.9)
    quiet.eval()
    assert quiet(x) is x and layers.Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_cpu_attention_equals_plain_attention(p, masked):
    """Output, gradients of queries, keys and values, and the dropout mask, with and without a mask."""
    config = ErnieConfig.preset("tiny", attention_probs_dropout_prob=p)
    attention = MultiHeadAttention(config)
    rng = np.random.default_rng(1)
    tensors = [
        paddle.to_tensor(
            rng.normal(0, 1, (2, attention.num_heads, size, attention.head_dim)).astype("float32"),
            stop_gradient=False,
        )
        for size in (5, 7, 7)
    ]
    mask = paddle.to_tensor(np.where(rng.random((2, 1, 5, 7)) < 0.3, -1e4, 0.0).astype("float32"))
    mask = mask if masked else None
    grad = paddle.to_tensor(rng.normal(0, 1, (2, 5, config.hidden_size)).astype("float32"))
    found = []
    for way in (attention.fast_attend, lambda *inputs: attention.attend(*inputs)[0]):
        paddle.seed(5)
        context = way(*tensors, mask)
        found.append([context, *paddle.grad(context, tensors, grad)])
    for fast, plain in zip(*found, strict=True):
        assert fast.shape == plain.shape
        assert float((fast - plain).abs().max()) <= 2e-6
