"""AdamW against the equations of its paper, and its state under structured names."""

import numpy as np
import paddle
import pytest
from paddle import nn

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.training.optimizer import (
    build_optimizer,
    decays,
    gradient_norm,
    load_optimizer_state,
    optimizer_state,
)


class Small(nn.Layer):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(3, 4)
        self.norm1 = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm1(self.dense(x)) ** 3


def test_what_decays():
    config = ErnieConfig.preset("tiny", vocab_size=50)
    names = [name for name, _ in ErnieForPretraining(config).named_parameters()]
    kept = {name for name in names if not decays(name)}
    assert {"ernie.embeddings.layer_norm.weight", "ernie.encoder.layers.0.norm2.weight"} <= kept
    assert all(name.endswith("bias") for name in kept if "norm" not in name)
    assert decays("ernie.embeddings.word_embeddings.weight") and decays("ernie.pooler.dense.weight")


def test_equals_the_equations():
    """Three steps of Loshchilov and Hutter 2019, algorithm 2, in float64, after clipping by the global norm."""
    paddle.seed(1)
    model, lr, decay, clip = Small(), 0.01, 0.1, 0.5
    optimizer = build_optimizer(model, lr, weight_decay=decay, grad_clip=clip)
    slow = {name: p.numpy().astype("float64") for name, p in model.named_parameters()}
    moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in slow.items()}
    for step in range(1, 4):
        model(paddle.to_tensor(np.random.RandomState(step).randn(5, 3).astype("float32"))).sum().backward()
        gradients = {name: p.grad.numpy().astype("float64") for name, p in model.named_parameters()}
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        assert gradient_norm(model) == pytest.approx(norm, rel=1e-5)
        for name, g in gradients.items():
            g = g * min(1, clip / norm)
            first, second = moments[name]
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            moments[name] = first, second
            update = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            slow[name] -= lr * (update + (decay * slow[name] if decays(name) else 0))
        optimizer.step()
        optimizer.clear_grad()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.numpy(), slow[name], atol=2e-6)


def test_state_moves_to_a_model_with_other_tensor_names(tmp_path):
    """A second model in the same process has other automatic names; it must find its own moments all the same."""
    data = [paddle.to_tensor(np.random.RandomState(i).randn(5, 3).astype("float32")) for i in range(6)]

    def steps(model, optimizer, batches):
        for x in batches:
            model(x).sum().backward()
            optimizer.step()
            optimizer.clear_grad()

    paddle.seed(2)
    first = Small()
    first_optimizer = build_optimizer(first, 0.01)
    steps(first, first_optimizer, data[:3])
    second = Small()
    second_optimizer = build_optimizer(second, 0.01)
    second.set_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    paddle.save(optimizer_state(first, first_optimizer), str(tmp_path / "state"))
    load_optimizer_state(second, second_optimizer, paddle.load(str(tmp_path / "state")))
    assert [p.name for p in first.parameters()] != [p.name for p in second.parameters()]
    steps(first, first_optimizer, data[3:])
    steps(second, second_optimizer, data[3:])
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


def test_master_weights_move_too(monkeypatch):
    """The float32 weights of mixed precision O2, under structured names in between."""
    first, second = Small(), Small()
    optimizers = [build_optimizer(model, 0.01) for model in (first, second)]
    masters = {p.name: paddle.full(p.shape, i) for i, p in enumerate(first.parameters())}
    real, given = optimizers[0].state_dict(), {}
    monkeypatch.setattr(optimizers[0], "state_dict", lambda: {**real, "master_weights": masters})
    monkeypatch.setattr(optimizers[1], "set_state_dict", given.update)
    saved = optimizer_state(first, optimizers[0])
    assert set(saved["master"]) == {name for name, _ in first.named_parameters()}
    load_optimizer_state(second, optimizers[1], saved)
    for i, parameter in enumerate(second.parameters()):
        assert float(given["master_weights"][parameter.name].mean()) == i
