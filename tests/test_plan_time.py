"""The time model: against Megatron-LM's published speeds, and how its parts depend on the layout."""

import dataclasses

import pytest

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.planner import counts
from ernie_from_scratch.planner import step_time as plan_time
from ernie_from_scratch.planner.hardware import GPUS, Cluster
from ernie_from_scratch.planner.job import Job, Layout, find_config
from ernie_from_scratch.planner.search import Plan

# Narayanan et al. 2021 (arXiv 2104.04473), table 1, weak scaling of GPT on A100 80GB: billion parameters, heads,
# hidden, layers, tensor parallel, pipeline parallel, GPUs, batch, achieved teraFLOP/s per GPU. Rows of 2,048 tokens,
# 51,200 words.
MEGATRON = [
    (1.7, 24, 2304, 24, 1, 1, 32, 512, 137),
    (3.6, 32, 3072, 30, 2, 1, 64, 512, 138),
    (7.5, 32, 4096, 36, 4, 1, 128, 512, 142),
    (18.4, 48, 6144, 40, 8, 1, 256, 1024, 135),
    (39.1, 64, 8192, 48, 8, 2, 512, 1536, 138),
    (76.1, 80, 10240, 60, 8, 4, 1024, 1792, 140),
    (145.6, 96, 12288, 80, 8, 8, 1536, 2304, 148),
    (310.1, 128, 16384, 96, 8, 16, 1920, 2160, 155),
    (529.6, 128, 20480, 105, 8, 35, 2520, 2520, 163),
    (1008.0, 160, 25600, 128, 8, 64, 3072, 3072, 163),
]


def megatron_flops(heads, hidden, layers, batch):
    """Eq. 3 of the paper, by which its speeds are counted."""
    return 96 * batch * 2048 * layers * hidden**2 * (1 + 2048 / (6 * hidden) + 51200 / (16 * layers * hidden))


@pytest.mark.parametrize(
    ("billions", "heads", "hidden", "layers", "mp", "pp", "gpus", "batch", "published"), MEGATRON,
    ids=lambda value: str(value),
)  # fmt: skip
def test_megatron_within_25_percent(billions, heads, hidden, layers, mp, pp, gpus, batch, published):
    """Their degrees, recompute, and the micro batch that the planner finds best (the table does not name theirs).

    All are predicted slower than published, the deep pipelines most: theirs is interleaved, which shortens the bubble.
    `ernie plan --explain` and its notebook say "0 to 17 % too slow".
    """
    config = ErnieConfig(
        vocab_size=51200, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, max_position_embeddings=2048, type_vocab_size=0,
    )  # fmt: skip
    assert counts.total_parameters(config) == pytest.approx(billions * 1e9, rel=0.03)
    job, cluster = Job(config, batch, 2048, masked_lm_prob=1.0), Cluster(GPUS["a100-80g"], gpus)
    layouts = [Layout(gpus // mp // pp, 1, mp, pp, rows, recompute=True) for rows in (1, 2, 4, 8, 16)]
    plans = [Plan(job, cluster, layout) for layout in layouts if not layout.invalid_reason(job)]
    fastest = min(plan.step_seconds for plan in plans if plan.feasible)
    predicted = megatron_flops(heads, hidden, layers, batch) / fastest / gpus / 1e12
    assert predicted == pytest.approx(published, rel=0.25)
    assert -0.175 < predicted / published - 1 < 0.0


BASE = find_config("ernie_base")
CLUSTER = Cluster(GPUS["a100-80g"], 64)


def time(**layout):
    return plan_time.step_time(Job(BASE, 512, 512), Layout(**layout), CLUSTER)


def test_the_parts_make_the_total():
    one = time(dp_degree=8, mp_degree=2, pp_degree=4, micro_batch_size=4, recompute=True, offload=True)
    parts = [getattr(one, field.name) for field in dataclasses.fields(one) if field.name != "messages"]
    assert min(parts) > 0 and one.total == pytest.approx(sum(parts))
    assert {message.dimension for message in one.messages} == {"mp", "pp", "dp", "tied embeddings", "offload"}


def test_one_gpu_sends_nothing():
    one = time(micro_batch_size=8)
    assert one.messages == () and one.bubble == one.tensor_parallel == one.pipeline == 0


def test_more_micro_batches_mean_less_bubble_but_slower_products():
    layouts = [time(dp_degree=8, pp_degree=8, micro_batch_size=rows) for rows in (1, 2, 4, 8)]
    assert [t.bubble for t in layouts] == sorted(t.bubble for t in layouts)
    assert [t.compute for t in layouts] == sorted((t.compute for t in layouts), reverse=True)


def test_recompute_costs_one_more_forward():
    """A third of a step's matrix products; 3 of 7 passes over memory."""
    one = time(dp_degree=64, micro_batch_size=8, recompute=True)
    assert one.recompute / one.compute == pytest.approx(1 / 3, rel=0.15)


def test_large_micro_batches_are_up_to_1_3_times_as_fast():
    """Narayanan et al. 2021, section 3.4."""
    slow, fast = (plan_time.matmul_speed(GPUS["a100-80g"], "fp16", rows * 2048) for rows in (1, 16))
    assert fast / slow == pytest.approx(1.3, abs=0.05)
    assert fast < 0.8 * 312e12


def test_groups_inside_a_machine_use_nvlink_and_others_share_the_network():
    gpu = GPUS["v100-32g"]
    cluster = Cluster(gpu, 256)
    assert cluster.link(1, 2) == ("nvlink", 50e9) and cluster.link(1, 8) == ("nvlink", 150e9)
    assert cluster.link(2, 4) == ("nvlink", 100e9), "mp 2 x sharding 4 fill one machine"
    assert cluster.link(8, 32) == ("network", 50e9 / 8), "eight groups share the machine's network"
    assert cluster.link(4, 4) == ("network", 50e9 / 4), "two members in each machine"
    assert cluster.link(1, 16) == ("network", 50e9), "one group has all GPUs of the machine"
    assert cluster.link(1, 6)[0] == "network", "ranks 6 to 11 are on two machines"
    assert Cluster(gpu, 6).link(1, 6)[0] == Cluster(gpu, 8).link(4, 2)[0] == "nvlink", (
        "there is only one machine"
    )


def test_tensor_parallelism_across_machines_is_slow():
    inside, across = time(mp_degree=4, dp_degree=16), time(mp_degree=12, dp_degree=4)
    assert across.tensor_parallel > 4 * inside.tensor_parallel
