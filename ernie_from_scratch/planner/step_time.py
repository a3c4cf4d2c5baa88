"""Time of one training step: matrix products, memory-bound kernels, communication, pipeline bubble, optimizer.

Six constants, the same for every model, GPU and layout; tests compare the result with Megatron-LM's published speeds.
Letters as in counts.py: b, s, h, i, l, v; t = mp_degree, p = pp_degree, m micro batches, n GPUs of a group.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ernie_from_scratch.planner import counts
from ernie_from_scratch.planner.hardware import Cluster, Gpu
from ernie_from_scratch.planner.job import Job, Layout
from ernie_from_scratch.planner.memory import GRADIENT, OPTIMIZER, largest_stage_parameters

# Fraction of the data sheet's peak FLOP/s that a large matrix product reaches, because of clocks under load and partly
# filled tiles. Large products on an A100 are commonly measured at 240 to 270 of 312 TFLOP/s.
MATMUL_EFFICIENCY = 0.80
# A product of few rows is bound by reading its weights: it reaches rows / (rows + HALF_SPEED * intensity) of that
# speed, where the GPU's intensity is its peak FLOP/s over its memory bandwidth. With 4, an A100 is 1.3 times as fast
# with 16 rows of 2,048 tokens as with one (Narayanan et al. 2021, section 3.4 and figure 7).
HALF_SPEED = 4.0
# Layer norm, softmax, gelu, dropout and additions are bound by memory: each byte kept for backward is transferred about
# 3 times in forward (written, read by the next operation, read by the one after that) and 4 times in backward.
FORWARD_PASSES, BACKWARD_PASSES = 3, 4
# Fraction of a data sheet's bandwidth (memory or link) that large transfers reach; NCCL's tests give 0.75 to 0.9.
BANDWIDTH_EFFICIENCY = 0.8
# Seconds to start one step of a ring.
LATENCY = 10e-6
# Bytes a parameter that AdamW reads and writes: the optimizer state, the gradient (read) and the weight (written).
ADAMW_TRAFFIC = 2 * (OPTIMIZER + 2)


@dataclass(frozen=True)
class Message:
    """What one GPU sends in a step along one dimension: bytes, over "nvlink", "network" or "host", and the seconds."""

    dimension: str
    link: str
    bytes: float
    seconds: float


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step. The parts sum to `total`; `messages` lists the communication in them."""

    compute: float  # matrix products and memory-bound kernels of the slowest stage
    recompute: float  # the second forward pass
    tensor_parallel: float
    pipeline: float  # sending activations to the next stage and gradients back
    bubble: float
    synchronization: float  # of gradients and weights in data parallel and sharding groups
    optimizer: float  # with the transfers to host memory and back when offloaded
    messages: tuple[Message, ...]

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by the name of the part."""
        return {name: value for name, value in vars(self).items() if name != "messages"}

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def matmul_speed(gpu: Gpu, precision: str, tokens: float) -> float:
    """FLOP/s of the layers' matrix products on `tokens` rows."""
    peak = gpu.peak_flops(precision)
    rows_at_half_speed = HALF_SPEED * peak / (gpu.memory_gb_s * 1e9)
    return MATMUL_EFFICIENCY * peak * tokens / (tokens + rows_at_half_speed)


def memory_speed(gpu: Gpu) -> float:
    """Bytes per second."""
    return BANDWIDTH_EFFICIENCY * gpu.memory_gb_s * 1e9


def ring_seconds(cluster: Cluster, stride: int, size: int, sent: float, steps: int) -> tuple[str, float]:
    """(link, seconds) of `steps` ring steps in which each member of a group sends `sent` bytes in total."""
    link, speed = cluster.link(stride, size)
    return link, sent / (BANDWIDTH_EFFICIENCY * speed) + steps * LATENCY


def stage_seconds(job: Job, layout: Layout, gpu: Gpu, stage: int) -> tuple[float, float, float]:
    """Seconds of (forward, backward, recomputation) of one micro batch on stage `stage`, without communication."""
    config, t, length = job.config, layout.mp_degree, job.max_seq_len
    tokens = layout.micro_batch_size * length
    layers = counts.layers_of_stage(config, layout.pp_degree, stage)
    products = layers * counts.layer_flops(config, tokens, tokens * length) / t
    products /= matmul_speed(gpu, job.precision, tokens)
    passes = layers * counts.layer_activations(config, layout.micro_batch_size, length, t) / memory_speed(gpu)
    forward, backward = products + FORWARD_PASSES * passes, 2 * products + BACKWARD_PASSES * passes
    again = forward if layout.recompute else 0
    if stage == layout.pp_degree - 1:
        masked = tokens * job.masked_lm_prob
        head = masked * counts.lm_head_flops(config) / t / matmul_speed(gpu, job.precision, masked)
        forward, backward = forward + head, backward + 2 * head
    return forward, backward, again


def slowest_stage(job: Job, layout: Layout, gpu: Gpu) -> tuple[float, float, float]:
    """`stage_seconds` of the stage that the others wait for."""
    stages = {0, layout.pp_degree - 1}
    return max((stage_seconds(job, layout, gpu, n) for n in sorted(stages)), key=sum)


def tensor_parallel_message(job: Job, layout: Layout, cluster: Cluster) -> Message | None:
    """Four all-reduces of states [b, s, h] a layer and micro batch, six with recompute (Shoeybi et al. 2019, 3)."""
    t = layout.mp_degree
    if t == 1:
        return None
    layers = counts.layers_of_stage(job.config, layout.pp_degree, 0)
    times = (6 if layout.recompute else 4) * layers * layout.micro_batches(job)
    states = counts.layer_input(job.config, layout.micro_batch_size, job.max_seq_len)
    sent = times * counts.all_reduce_bytes(states, t)
    link, seconds = ring_seconds(cluster, 1, t, sent, times * 2 * (t - 1))
    return Message("mp", link, sent, seconds)


def pipeline_message(job: Job, layout: Layout, cluster: Cluster) -> Message | None:
    """States to the next stage and their gradients back, for each micro batch.

    Each GPU of a tensor parallel group sends a slice, and the receivers all-gather the slices (Narayanan et al. 2021,
    section 4.1; Fleet's enable_partial_send_recv).
    """
    p, t = layout.pp_degree, layout.mp_degree
    if p == 1:
        return None
    states = counts.layer_input(job.config, layout.micro_batch_size, job.max_seq_len)
    times, stride = 2 * layout.micro_batches(job), t * layout.sharding_degree
    sent = times * states / t
    link, speed = "nvlink", cluster.gpu.nvlink(2) * 1e9
    if layout.gpus > cluster.gpus_per_node:
        # the boundary of two stages may be that of two machines: then all GPUs of a stage in a machine send at once
        link, speed = "network", cluster.gpu.network_gb_s * 1e9 / min(stride, cluster.gpus_per_node)
    seconds = sent / (BANDWIDTH_EFFICIENCY * speed) + times * LATENCY
    if t > 1:  # all-gather inside the tensor parallel group
        gathered = times * (t - 1) / t * states
        seconds += ring_seconds(cluster, 1, t, gathered, times * (t - 1))[1]
    return Message("pp", link, sent, seconds)


def synchronization_messages(job: Job, layout: Layout, cluster: Cluster) -> Iterator[Message]:
    """Gradients, and with sharding the weights, after the last micro batch; nothing overlaps with computation.

    Sharding: reduce-scatter of the gradients and all-gather of the weights once a step; under stage 2 gradients are
    sent for each micro batch, under stage 3 weights are also gathered for each forward and backward. Data parallel: an
    all-reduce of the gradients that a GPU holds after sharding. The first and the last stage of a pipeline add up the
    gradients of the tied word embeddings.
    """
    s, d, t, p = layout.sharding_degree, layout.dp_degree, layout.mp_degree, layout.pp_degree
    size = GRADIENT * largest_stage_parameters(job, layout)  # the weights have the same size
    m = layout.micro_batches(job)
    if s > 1:
        times = {1: 2, 2: m + 1, 3: 3 * m}[layout.sharding_stage]
        sent = times * (s - 1) / s * size
        link, seconds = ring_seconds(cluster, t, s, sent, times * (s - 1))
        yield Message("sharding", link, sent, seconds)
    if d > 1:
        sent = counts.all_reduce_bytes(size / s, d)
        link, seconds = ring_seconds(cluster, t * s * p, d, sent, 2 * (d - 1))
        yield Message("dp", link, sent, seconds)
    if p > 1:
        sent = counts.all_reduce_bytes(2 * job.config.vocab_size * job.config.hidden_size / t, 2)
        link, seconds = ring_seconds(cluster, t * s * (p - 1), 2, sent, 2)
        yield Message("tied embeddings", link, sent, seconds)


def offload_message(job: Job, layout: Layout, cluster: Cluster) -> Message | None:
    """The optimizer state from host memory to the GPU and back."""
    if not layout.offload:
        return None
    sent = 2 * OPTIMIZER * (largest_stage_parameters(job, layout) / layout.sharding_degree)
    return Message("offload", "host", sent, sent / (BANDWIDTH_EFFICIENCY * cluster.gpu.host_gb_s * 1e9))


def step_time(job: Job, layout: Layout, cluster: Cluster) -> StepTime:
    """`StepTime` of a layout: m micro batches on the slowest stage, p - 1 more while the pipeline fills and drains."""
    gpu, m, p = cluster.gpu, layout.micro_batches(job), layout.pp_degree
    forward, backward, again = slowest_stage(job, layout, gpu)
    mp, pp = tensor_parallel_message(job, layout, cluster), pipeline_message(job, layout, cluster)
    synchronization = list(synchronization_messages(job, layout, cluster))
    offload = offload_message(job, layout, cluster)
    updated = largest_stage_parameters(job, layout) / layout.sharding_degree
    busy = m * (forward + backward + again) + (mp.seconds if mp else 0) + (pp.seconds if pp else 0)
    return StepTime(
        compute=m * (forward + backward),
        recompute=m * again,
        tensor_parallel=mp.seconds if mp else 0.0,
        pipeline=pp.seconds if pp else 0.0,
        bubble=counts.bubble(p, m) * busy,
        synchronization=sum(message.seconds for message in synchronization),
        optimizer=ADAMW_TRAFFIC * updated / memory_speed(gpu) + (offload.seconds if offload else 0),
        messages=tuple(message for message in (mp, pp, *synchronization, offload) if message),
    )
