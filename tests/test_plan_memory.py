"""Memory of a GPU: sums over ranks, what sharding, recompute and offload save, and a published table."""

import dataclasses

import paddle
import pytest

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.parallel.pipeline import keep_stage
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.planner import counts
from ernie_from_scratch.planner.job import Job, Layout, find_config
from ernie_from_scratch.planner.memory import (
    GIB,
    fullest_stage,
    host_memory,
    stage_memory,
    stage_parameters,
)

LARGE = find_config("ernie_large")
JOB = Job(LARGE, 64, 512)


def memory(stage=0, **layout):
    return stage_memory(JOB, Layout(**layout), stage)


def test_sixteen_bytes_a_parameter():
    """Rajbhandari et al. 2020, section 3.1: 2 + 2 + 12."""
    one = memory()
    assert one.weights + one.gradients + one.optimizer == 16 * counts.total_parameters(LARGE)


@pytest.mark.parametrize("pp", [1, 2, 5, 24])
@pytest.mark.parametrize("mp", [1, 2, 4])
def test_all_ranks_together_hold_all_parameters(mp, pp):
    """Some are replicated on each tensor parallel rank, and the word embeddings are on the first and last stage."""
    held = mp * sum(stage_parameters(LARGE, mp, pp, stage) for stage in range(pp))
    twice = LARGE.vocab_size * LARGE.hidden_size if pp > 1 else 0
    assert held >= counts.total_parameters(LARGE) + twice
    assert held - counts.total_parameters(LARGE) - twice <= 0.03 * (mp - 1) * counts.total_parameters(LARGE)


@pytest.mark.parametrize("pp", [1, 2, 5])
def test_stage_parameters_are_those_of_the_pipeline(pp):
    """Against the parameters of each stage as pipeline parallel builds it, with layers that hold no data."""
    config = ErnieConfig.preset("ernie-3.0-nano-zh", num_hidden_layers=7)
    for rank in range(pp):
        with paddle.LazyGuard():
            model = ErnieForPretraining(config)
        keep_stage(model, Strategy(pp=pp, pp_rank=rank))
        assert sum(p.size for p in model.parameters()) == stage_parameters(config, 1, pp, rank)


def test_sharding_stages_divide_optimizer_gradients_and_weights():
    none = memory()
    for stage, parts in ((1, ["optimizer"]), (2, ["optimizer", "gradients"])):
        some = memory(sharding_degree=8, sharding_stage=stage)
        for field in dataclasses.fields(some):
            size = getattr(none, field.name)
            assert getattr(some, field.name) == (size / 8 if field.name in parts else size)
    assert none.weights / 8 < memory(sharding_degree=8, sharding_stage=3).weights < none.weights / 3


def test_recompute_and_offload():
    kept, again = memory(micro_batch_size=4), memory(micro_batch_size=4, recompute=True)
    assert again.activations < 0.15 * kept.activations
    assert again.activations > 24 * counts.layer_input(LARGE, 4, 512)
    offloaded = Layout(offload=True)
    assert stage_memory(JOB, offloaded, 0).optimizer == 0
    assert host_memory(JOB, offloaded) == memory().optimizer and host_memory(JOB, Layout()) == 0


def test_the_first_stage_is_the_fullest():
    layout = Layout(pp_degree=8, micro_batch_size=2)
    stages = [stage_memory(JOB, layout, n).total for n in range(8)]
    assert stages[:-1] == sorted(stages[:-1], reverse=True)
    number, most = fullest_stage(JOB, layout)
    assert most.total == max(stages) and number == stages.index(max(stages))


def test_the_activations_of_a_published_table():
    """Korthikanti et al. 2022, section 4 and table 3: GPT-3's 175 billion parameters, t = 8, p = 8, micro batch 1.

    In the first stage all activations are s b h l (10 + 24/t + 5 a s / (h t)) bytes, whatever p is.
    """
    config = ErnieConfig(
        vocab_size=51200, hidden_size=12288, num_hidden_layers=96, num_attention_heads=96,
        intermediate_size=4 * 12288, max_position_embeddings=2048, type_vocab_size=0,
    )  # fmt: skip
    layout = Layout(mp_degree=8, pp_degree=8, micro_batch_size=1)
    got = stage_memory(Job(config, 64, 2048), layout, 0).activations
    paper = 2048 * 12288 * 96 * (10 + 24 / 8 + 5 * 96 * 2048 / (12288 * 8))
    assert got == pytest.approx(paper, rel=0.02)
    assert got / GIB > 50, "more than half of an A100's 80 GiB: the reason for that paper"
