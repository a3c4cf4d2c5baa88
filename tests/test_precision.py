"""Mixed precision: nothing silent on a CPU; with a loss scale, overflows are skipped and the scale adapts."""

import json
import types

import numpy as np
import paddle
import pytest
from paddle import nn

from ernie_from_scratch.training.precision import CPU_NOTE, Precision
from ernie_from_scratch.training.settings import PretrainSettings


def test_on_a_cpu_it_says_so_and_changes_nothing():
    if paddle.get_device() != "cpu":
        pytest.skip("for a CPU")
    messages, model = [], nn.Linear(2, 2)
    precision = Precision(PretrainSettings(use_amp=True), model, None, messages.append)
    assert messages == [CPU_NOTE] and not precision.enabled and not precision.scaling
    assert precision.scale(5.0) == 5.0 and precision.loss_scale == 1.0 and precision.state() is None
    Precision(PretrainSettings(), model, None, messages.append)
    assert len(messages) == 1


class Gpu:
    """A tracer that claims a GPU, so that Paddle's GradScaler works; its kernels run on the CPU as well."""

    _expected_place = types.SimpleNamespace(is_gpu_place=lambda: True)


@pytest.fixture
def scaled(monkeypatch):
    """Precision with a loss scale, the model and its optimizer, all on the CPU."""
    from paddle.amp import grad_scaler

    monkeypatch.setattr(grad_scaler, "_dygraph_tracer", lambda: Gpu)
    monkeypatch.setattr(grad_scaler.amp_global_state(), "amp_dtype", "float16")
    model = nn.Linear(3, 1)
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    precision = Precision(PretrainSettings(), model, optimizer)
    precision._scaler = paddle.amp.GradScaler(init_loss_scaling=1024.0)
    return precision, model, optimizer


def step(precision, model, optimizer, x):
    precision.scale(model(paddle.to_tensor([x], dtype="float32")).sum()).backward()
    precision.unscale(optimizer)
    gradient = model.weight.grad.numpy().ravel()
    precision.step(optimizer)
    optimizer.clear_grad()
    return gradient


def test_scaled_step(scaled):
    precision, model, _ = scaled
    before = model.weight.numpy().ravel()
    gradient = step(*scaled, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(gradient, [1, 2, 3], rtol=1e-6)  # unscaled before it is looked at
    np.testing.assert_allclose(model.weight.numpy().ravel(), before - 0.1 * gradient, rtol=1e-5)
    assert precision.loss_scale == 1024


def test_an_overflow_is_skipped_and_halves_the_scale(scaled):
    precision, model, _ = scaled
    before = model.weight.numpy()
    assert not np.isfinite(step(*scaled, [1.0, np.inf, 3.0])).all()
    assert np.array_equal(model.weight.numpy(), before) and precision.loss_scale == 512
    step(*scaled, [1.0, 2.0, 3.0])
    assert not np.array_equal(model.weight.numpy(), before)


def test_the_scale_survives_a_checkpoint(scaled):
    precision, *_ = scaled
    step(*scaled, [np.inf, 0.0, 0.0])
    state = json.loads(json.dumps(precision.state()))
    precision._scaler = paddle.amp.GradScaler(init_loss_scaling=4096.0)
    precision.load(state)
    assert precision.loss_scale == 512
