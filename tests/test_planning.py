"""The counts of a plan: against the networks themselves, the papers' formulas, and a pipeline played through."""

import paddle
import pytest

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.planner import counts as planning
from ernie_from_scratch.planner.job import PRESETS, find_config

GPT3 = ErnieConfig(
    vocab_size=51200, hidden_size=12288, num_hidden_layers=96, num_attention_heads=96, intermediate_size=4 * 12288,
    max_position_embeddings=2048, type_vocab_size=0,
)  # fmt: skip


@pytest.mark.parametrize("name", [*PRESETS, *ErnieConfig.preset_names()])
def test_parameters_are_those_of_the_network(name):
    config = find_config(name)
    with paddle.LazyGuard():  # the layers with their shapes, without numbers: 230 billion fit
        network = ErnieForPretraining(config)
    assert planning.total_parameters(config) == sum(p.size for p in network.parameters())


def test_ernie_230b_has_about_230_billion():
    config = find_config("ernie_230b")
    assert config.num_hidden_layers == 128
    assert planning.total_parameters(config) == pytest.approx(230e9, rel=0.02)


@pytest.mark.parametrize("config", [GPT3, find_config("ernie_230b")])
def test_flops_against_the_paper(config):
    """Narayanan et al. 2021, eq. 3: 96 B s l h^2 (1 + s / 6h + V / 16 l h); the head's h x h product is ours alone."""
    b, s, h = 1536, config.max_position_embeddings, config.hidden_size
    layers, v = config.num_hidden_layers, config.vocab_size
    paper = 96 * b * s * layers * h**2 * (1 + s / (6 * h) + v / (16 * layers * h))
    ours = planning.step_flops(config, b, s, asked_share=1.0, recompute=True)
    assert ours - paper == pytest.approx(3 * b * s * 2 * h * h)
    assert ours == pytest.approx(paper, rel=0.005)


@pytest.mark.parametrize("mp", [1, 2, 8])
def test_activations_against_the_paper(mp):
    """Korthikanti et al. 2022, eq. 2: s b h (10 + 24 / t + 5 a s / (h t)) bytes a layer."""
    b, s, h, a = 1, 2048, GPT3.hidden_size, GPT3.num_attention_heads
    assert planning.layer_activations(GPT3, b, s, mp) == s * b * h * (10 + 24 / mp + 5 * a * s / (h * mp))
    assert planning.layer_input(GPT3, b, s) == 2 * s * b * h


def test_without_dropout_no_marks():
    still = ErnieConfig.preset("tiny", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    h, a, s = 128, 2, 512
    saved = planning.layer_activations(ErnieConfig.preset("tiny"), 3, s) - planning.layer_activations(
        still, 3, s
    )
    assert saved == 3 * s * (2 * h + 3 * a * s), (
        "two marks a state; a mark and a copy of each attention weight"
    )


def play_1f1b(stages, micro_batches, forward=1.0, backward=2.0):
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
def test_bubble_and_micro_batches_in_flight_as_played(stages, micro_batches):
    seconds, most = play_1f1b(stages, micro_batches)
    useful = 3.0 * micro_batches
    assert planning.bubble(stages, micro_batches) == pytest.approx(seconds / useful - 1)
    assert [planning.in_flight(stages, micro_batches, stage) for stage in range(stages)] == most


@pytest.mark.parametrize(("layers", "stages"), [(12, 4), (12, 5), (7, 7), (128, 32)])
def test_every_layer_has_one_stage(layers, stages):
    config = ErnieConfig.preset("tiny", num_hidden_layers=layers)
    dealt = [planning.layers_of_stage(config, stages, stage) for stage in range(stages)]
    assert sum(dealt) == layers and max(dealt) - min(dealt) <= 1


def test_ring_all_reduce_as_played():
    """Reduce-scatter and all-gather, each n - 1 rounds in which every member passes on a slice of 1 / n."""
    for n in (1, 2, 3, 8):
        sent = sum(1000 / n for _ in range(2 * (n - 1)))
        assert planning.all_reduce_bytes(1000, n) == pytest.approx(sent)
