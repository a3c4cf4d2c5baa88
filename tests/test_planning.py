"""The counts of a plan: against the networks themselves, the papers' formulas, and a simulated pipeline."""

from dataclasses import make_dataclass

import numpy as np
import paddle
import pytest

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.planner import counts
from ernie_from_scratch.planner.job import PRESETS, find_config

GPT3 = ErnieConfig(
    vocab_size=51200, hidden_size=12288, num_hidden_layers=96, num_attention_heads=96, intermediate_size=4 * 12288,
    max_position_embeddings=2048, type_vocab_size=0,
)  # fmt: skip


@pytest.mark.parametrize("name", [*PRESETS, *ErnieConfig.preset_names()])
def test_parameters_are_those_of_the_network(name):
    config = find_config(name)
    with paddle.LazyGuard():  # layers with shapes but without data: 230 billion parameters fit
        network = ErnieForPretraining(config)
    assert counts.total_parameters(config) == sum(p.size for p in network.parameters())


def test_ernie_230b_has_about_230_billion():
    config = find_config("ernie_230b")
    assert config.num_hidden_layers == 128
    assert counts.total_parameters(config) == pytest.approx(230e9, rel=0.02)


@pytest.mark.parametrize("config", [GPT3, find_config("ernie_230b")])
def test_flops_against_the_paper(config):
    """Narayanan et al. 2021, eq. 3: 96 B s l h^2 (1 + s / 6h + V / 16 l h); a GPT's LM head has no h x h product."""
    b, s, h = 1536, config.max_position_embeddings, config.hidden_size
    layers, v = config.num_hidden_layers, config.vocab_size
    paper = 96 * b * s * layers * h**2 * (1 + s / (6 * h) + v / (16 * layers * h))
    ours = counts.full_batch_flops(config, b, s, masked_lm_prob=1.0, recompute=True)
    assert ours - paper == pytest.approx(3 * b * s * 2 * h * h)
    assert ours == pytest.approx(paper, rel=0.005)


def test_flops_of_a_batch_by_counting_its_products():
    """Each matrix product of the network on its own, for rows of 5 and 9 tokens with 3 masked positions."""
    config = ErnieConfig.preset("tiny")
    h, i, v = config.hidden_size, config.intermediate_size, config.vocab_size
    heads, size = config.num_attention_heads, h // config.num_attention_heads

    def product(m, k, n):
        return 2 * m * k * n

    forward = 3 * (product(1, h, h) + product(1, h, v))
    for n in (5, 9):
        attention = heads * (product(n, size, n) + product(n, n, size))
        layer = 4 * product(n, h, h) + attention + product(n, h, i) + product(n, i, h)
        forward += config.num_hidden_layers * layer + product(1, h, h) + product(1, h, 2)
    assert counts.step_flops(config, np.array([5, 9]), 3) == 3 * forward


def test_both_counts_of_a_step_agree():
    """The count of a batch and that of a plan, but for the sentence pair head."""
    config = find_config("ernie_base")
    rows, s, masked = 64, 512, 5120
    batch = counts.step_flops(config, np.full(rows, s), masked)
    plan = counts.full_batch_flops(config, rows, s, masked / (rows * s))
    assert batch - plan == pytest.approx(3 * rows * counts.pair_head_flops(config), rel=1e-3)


def test_a_configuration_without_task_types():
    """The fields of `EncoderConfig` are enough, as for a family that has no task type embeddings."""
    ernie = ErnieConfig.preset("ernie-3.0-base-zh", type_vocab_size=0)
    names = list(counts.EncoderConfig.__annotations__)
    config = make_dataclass("Config", names)(*(getattr(ernie, name) for name in names))
    task_types = ernie.task_type_vocab_size * ernie.hidden_size
    assert (
        ernie.use_task_id and counts.total_parameters(config) == counts.total_parameters(ernie) - task_types
    )


@pytest.mark.parametrize("mp", [1, 2, 8])
def test_activations_against_the_paper(mp):
    """Korthikanti et al. 2022, eq. 2: s b h (10 + 24 / t + 5 a s / (h t)) bytes a layer."""
    b, s, h, a = 1, 2048, GPT3.hidden_size, GPT3.num_attention_heads
    assert counts.layer_activations(GPT3, b, s, mp) == s * b * h * (10 + 24 / mp + 5 * a * s / (h * mp))
    assert counts.layer_input(GPT3, b, s) == 2 * s * b * h


def test_without_dropout_no_masks_are_kept():
    no_dropout = ErnieConfig.preset("tiny", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    h, a, s = 128, 2, 512
    saved = counts.layer_activations(ErnieConfig.preset("tiny"), 3, s) - counts.layer_activations(
        no_dropout, 3, s
    )
    assert saved == 3 * s * (2 * h + 3 * a * s), (
        "two masks of the states; a mask and a copy of the attention weights"
    )


def simulate_1f1b(stages, micro_batches, forward=1.0, backward=2.0):
    """(time of a step, most micro batches held by each stage) of a 1F1B pipeline, event by event."""
    orders = []
    for stage in range(stages):
        warm = min(stages - stage - 1, micro_batches)
        order = [("f", n) for n in range(warm)]
        for n in range(micro_batches - warm):
            order += [("f", warm + n), ("b", n)]
        orders.append(order + [("b", n) for n in range(micro_batches - warm, micro_batches)])
    done, clock, place = {}, [0.0] * stages, [0] * stages
    held, most = [0] * stages, [0] * stages
    while any(place[k] < len(orders[k]) for k in range(stages)):
        for k in range(stages):
            while place[k] < len(orders[k]):
                kind, n = orders[k][place[k]]
                before = ("f", n, k - 1) if kind == "f" else ("b", n, k + 1)
                if 0 <= before[2] < stages and before not in done:
                    break
                start = max(clock[k], done.get(before, 0.0))
                clock[k] = done[kind, n, k] = start + (forward if kind == "f" else backward)
                held[k] += 1 if kind == "f" else -1
                most[k] = max(most[k], held[k])
                place[k] += 1
    return max(clock), most


@pytest.mark.parametrize(
    ("stages", "micro_batches"), [(1, 4), (2, 2), (2, 8), (4, 4), (4, 16), (4, 2), (8, 32)]
)
def test_bubble_and_micro_batches_in_flight_as_simulated(stages, micro_batches):
    seconds, most = simulate_1f1b(stages, micro_batches)
    useful = 3.0 * micro_batches
    assert counts.bubble(stages, micro_batches) == pytest.approx(seconds / useful - 1)
    assert [counts.in_flight(stages, micro_batches, stage) for stage in range(stages)] == most


@pytest.mark.parametrize(("layers", "stages"), [(12, 4), (12, 5), (7, 7), (128, 32)])
def test_every_layer_is_on_one_stage(layers, stages):
    config = ErnieConfig.preset("tiny", num_hidden_layers=layers)
    split = [counts.layers_of_stage(config, stages, stage) for stage in range(stages)]
    assert sum(split) == layers and max(split) - min(split) <= 1


def test_ring_all_reduce():
    """Reduce-scatter and all-gather, each n - 1 rounds in which every GPU sends a slice of 1 / n."""
    for n in (1, 2, 3, 8):
        sent = sum(1000 / n for _ in range(2 * (n - 1)))
        assert counts.all_reduce_bytes(1000, n) == pytest.approx(sent)
