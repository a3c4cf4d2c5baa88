"""Batches without their padding give what padded ones give."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_helpers import EVERY_CASE, NO_DROPOUT, configs, ids, largest_difference, randomize

import ernie_from_scratch as efs
from ernie_from_scratch.models.cpu.packing import Packing


@EVERY_CASE
@given(configs(**NO_DROPOUT), st.integers(0, 1000))
def test_packed_rows_give_the_same_losses_states_and_gradients(config, seed):
    rng = np.random.default_rng(seed)
    rows, length = int(rng.integers(1, 40)), int(rng.integers(2, 24))
    tokens = ids(rng, config, rows, length, padded=True)
    seen = (tokens != config.pad_token_id).astype("int64")
    positions = paddle.nonzero(seen.flatten() * paddle.to_tensor(rng.integers(0, 2, rows * length))).flatten()
    if len(positions) == 0:
        return
    labels = paddle.to_tensor(rng.integers(0, config.vocab_size, len(positions)))
    order = paddle.to_tensor(rng.integers(0, 2, rows))
    model = efs.ErnieForPretraining(config)
    randomize(model, rng)
    states, losses, gradients = [], [], []
    for pack, recompute in ((False, False), (True, False), (True, True)):
        config.pack_rows, model.ernie.encoder.enable_recompute = pack, recompute
        states.append(model.ernie(tokens)[0] * seen.unsqueeze(-1).astype("float32"))
        loss = model(tokens, masked_positions=positions, labels=labels, next_sentence_label=order)[0]
        loss.backward()
        losses.append(float(loss))
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.clear_gradients()
    largest = max(float(g.abs().max()) for g in gradients[0])
    for number in (1, 2):
        assert largest_difference(states[0], states[number]) <= 1e-5
        assert losses[0] == pytest.approx(losses[number], abs=1e-5)
        assert largest_difference(gradients[0], gradients[number]) <= 1e-5 * max(1.0, largest)


def test_packing_fills_rows_and_keeps_them_apart():
    lengths = [3, 8, 5, 1, 7, 2, 6]
    mask = paddle.to_tensor((np.arange(8) < np.array(lengths)[:, None]).astype("int64"))
    packing = Packing(mask, paddle.float32, capacity=8)
    places = paddle.arange(7 * 8, dtype="float32").reshape([7, 8, 1]) + 1
    tokens = packing.pack(places)
    assert sorted(tokens.flatten().tolist()) == places[mask == 1].flatten().tolist()
    assert (packing.unpack(tokens) == places * mask.unsqueeze(-1).astype("float32")).all()
    rows = packing.to_rows(tokens)
    assert rows.shape == [4, 8, 1]  # 8, 7 + 1, 6 + 2, 5 + 3: every place is filled here
    assert (packing.from_rows(rows) == tokens).all()
    rows_of = ((rows - 1) // 8).squeeze(-1)
    together = rows_of.unsqueeze(1) == rows_of.unsqueeze(2)
    assert ((packing.mask.squeeze(1) == 0) == together).all()
    wide = Packing(mask, paddle.float32)
    assert wide.to_rows(wide.pack(places)).shape == [2, 16, 1]  # short rows share rows twice as long


def test_an_empty_place_of_a_packed_row_is_seen_by_no_token():
    packing = Packing(paddle.to_tensor([[1, 1, 1], [1, 1, 0]]), paddle.float32, capacity=3)
    assert packing.to_rows(packing.pack(paddle.ones([2, 3, 1]))).shape == [2, 3, 1]
    assert (packing.mask[1, 0, :2, 2] <= -1e9).all()
    states = paddle.ones([1, 5, 1])
    states.stop_gradient = False
    packing.from_rows(packing.to_rows(states)).sum().backward()
    assert states.grad.flatten().tolist() == [1.0] * 5  # nothing comes back through it either
