"""Time of one training step: products, passes over memory, messages, the pipeline's idle time, the optimizer.

Six constants, the same for every model, GPU and layout; tests hold them against Megatron-LM's published speeds.
Letters as in planning.py: b, s, h, i, l, v; t = mp_degree, p = pp_degree, m micro batches, n size of a group.
"""

from dataclasses import dataclass

from ernie_from_scratch.planner import counts as planning
from ernie_from_scratch.planner.memory import GRADIENT, OPTIMIZER, largest_stage_parameters

# Share of the data sheet's operations per second that a large matrix product reaches: clocks under load and the edges
# of tiles. Large ones on an A100 are commonly measured at 240 to 270 of 312 TFLOP/s.
PRODUCTS = 0.80
# A product of few rows is bound by reading its weights: it runs at rows / (rows + HALF_SPEED * operations per byte of
# memory) of that speed, where the GPU's operations per byte are its peak over its memory's bandwidth. 4 makes an A100
# 1.3 times as fast with 16 rows of 2,048 tokens as with one (Narayanan et al. 2021, section 3.4 and figure 7).
HALF_SPEED = 4.0
# Norms, softmax, gelu, dropout and additions read and write what they work on: each byte kept for backward passes the
# memory's bus about 3 times forward (written, read by the next, read by the one after) and 4 times backward.
FORWARD_PASSES, BACKWARD_PASSES = 3, 4
# Share of a bandwidth (memory or link) on a data sheet that large transfers reach; NCCL's ring tests give 0.75 to 0.9.
TRANSFERS = 0.8
# Seconds for one step of a ring to begin.
LATENCY = 10e-6
# Bytes per parameter that AdamW reads and writes: its state, and the gradient in, the weight out.
UPDATE = 2 * (OPTIMIZER + 2)


@dataclass(frozen=True)
class Message:
    """What one GPU sends in a step in one dimension: bytes, over "nvlink", "network" or "host", and the seconds."""

    dimension: str
    link: str
    bytes: float
    seconds: float


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step. The parts sum to `total`; `messages` go into detail about communication."""

    compute: float  # products and passes over memory, of the slowest stage
    recompute: float  # the same for the second forward
    tensor_parallel: float
    pipeline: float  # sending activations to the next stage and gradients back
    bubble: float
    synchronization: float  # gradients and weights among data parallel and sharding groups
    optimizer: float  # with its way to the machine's memory and back when offloaded
    messages: tuple[Message, ...]

    @property
    def total(self):
        return (
            self.compute + self.recompute + self.tensor_parallel + self.pipeline + self.bubble
            + self.synchronization + self.optimizer
        )  # fmt: skip


def product_speed(gpu, precision, tokens):
    """Operations per second of the layers' products on `tokens` rows."""
    peak = gpu.peak_flops(precision)
    rows_at_half = HALF_SPEED * peak / (gpu.memory_gb_s * 1e9)
    return PRODUCTS * peak * tokens / (tokens + rows_at_half)


def memory_speed(gpu):
    """Bytes per second."""
    return TRANSFERS * gpu.memory_gb_s * 1e9


def ring_seconds(cluster, stride, size, sent, steps):
    """(link, seconds) of `steps` ring steps in which each member of a group sends `sent` bytes in all."""
    link, speed = cluster.link(stride, size)
    return link, sent / (TRANSFERS * speed) + steps * LATENCY


def stage_seconds(job, layout, gpu, stage):
    """(forward, backward, forward again) seconds of one micro batch on stage `stage`, without messages."""
    config, t = job.config, layout.mp_degree
    tokens = layout.micro_batch_size * job.max_seq_len
    layers = planning.layers_of_stage(config, layout.pp_degree, stage)
    products = layers * tokens * planning.layer_flops(config, job.max_seq_len) / t
    products /= product_speed(gpu, job.precision, tokens)
    touched = layers * planning.layer_activations(config, layout.micro_batch_size, job.max_seq_len, t)
    touched /= memory_speed(gpu)
    forward, backward = products + FORWARD_PASSES * touched, 2 * products + BACKWARD_PASSES * touched
    again = forward if layout.recompute else 0
    if stage == layout.pp_degree - 1:
        asked = tokens * job.asked_share
        head = asked * planning.head_flops(config) / t / product_speed(gpu, job.precision, asked)
        forward, backward = forward + head, backward + 2 * head
    return forward, backward, again


def slowest_stage(job, layout, gpu):
    """(forward, backward, forward again) of the stage that the others wait for."""
    stages = {0, layout.pp_degree - 1}
    return max((stage_seconds(job, layout, gpu, n) for n in sorted(stages)), key=sum)


def tensor_parallel_message(job, layout, cluster):
    """Four all-reduces of states [b, s, h] a layer and micro batch, six with recompute (Shoeybi et al. 2019, 3)."""
    t = layout.mp_degree
    if t == 1:
        return None
    layers = planning.layers_of_stage(job.config, layout.pp_degree, 0)
    times = (6 if layout.recompute else 4) * layers * layout.micro_batches(job)
    states = planning.layer_input(job.config, layout.micro_batch_size, job.max_seq_len)
    sent = times * planning.all_reduce_bytes(states, t)
    link, seconds = ring_seconds(cluster, 1, t, sent, times * 2 * (t - 1))
    return Message("mp", link, sent, seconds)


def pipeline_message(job, layout, cluster):
    """States to the next stage, and their gradients back, for each micro batch.

    Each GPU of a tensor parallel group sends its part, and the receivers gather it (Narayanan et al. 2021, section 4.1;
    Fleet's enable_partial_send_recv).
    """
    p, t = layout.pp_degree, layout.mp_degree
    if p == 1:
        return None
    states = planning.layer_input(job.config, layout.micro_batch_size, job.max_seq_len)
    times, stride = 2 * layout.micro_batches(job), t * layout.sharding_degree
    sent = times * states / t
    # A stage may end where its machine ends: then all GPUs of the stage in that machine send at once.
    inside = layout.gpus <= cluster.gpus_per_node
    link, speed = "nvlink", cluster.gpu.nvlink(2) * 1e9
    if not inside:
        link, speed = "network", cluster.gpu.network_gb_s * 1e9 / min(stride, cluster.gpus_per_node)
    seconds = sent / (TRANSFERS * speed) + times * LATENCY
    if t > 1:  # gathering, inside the tensor parallel group
        gathered = times * (t - 1) / t * states
        seconds += ring_seconds(cluster, 1, t, gathered, times * (t - 1))[1]
    return Message("pp", link, sent, seconds)


def synchronization_messages(job, layout, cluster):
    """Gradients, and in sharding the weights, after the last micro batch; nothing is hidden behind computation.

    Sharding: reduce-scatter of the gradients and all-gather of the weights, once a step; in stage 2 the gradients go
    with each micro batch, in stage 3 the weights are gathered for each forward and backward too. Data parallelism: an
    all-reduce of what sharding left to a GPU. A pipeline's ends add the gradients of the tied word embeddings.
    """
    s, d, t, p = layout.sharding_degree, layout.dp_degree, layout.mp_degree, layout.pp_degree
    size = GRADIENT * largest_stage_parameters(job, layout)  # that of the weights too
    m = layout.micro_batches(job)
    if s > 1:
        halves = {1: 2, 2: m + 1, 3: 3 * m}[layout.sharding_stage]
        sent = halves * (s - 1) / s * size
        link, seconds = ring_seconds(cluster, t, s, sent, halves * (s - 1))
        yield Message("sharding", link, sent, seconds)
    if d > 1:
        sent = planning.all_reduce_bytes(size / s, d)
        link, seconds = ring_seconds(cluster, t * s * p, d, sent, 2 * (d - 1))
        yield Message("dp", link, sent, seconds)
    if p > 1:
        sent = planning.all_reduce_bytes(2 * job.config.vocab_size * job.config.hidden_size / t, 2)
        link, seconds = ring_seconds(cluster, t * s * (p - 1), 2, sent, 2)
        yield Message("tied words", link, sent, seconds)


def offload_message(job, layout, cluster):
    """The optimizer's state from the machine's memory to the GPU and back."""
    if not layout.offload:
        return None
    share = largest_stage_parameters(job, layout) / layout.sharding_degree
    sent = 2 * OPTIMIZER * share
    return Message("offload", "host", sent, sent / (TRANSFERS * cluster.gpu.host_gb_s * 1e9))


def step_time(job, layout, cluster):
    """`StepTime` of a layout: m micro batches on the slowest stage, p - 1 more while the pipeline fills and drains."""
    gpu, m, p = cluster.gpu, layout.micro_batches(job), layout.pp_degree
    forward, backward, again = slowest_stage(job, layout, gpu)
    mp, pp = tensor_parallel_message(job, layout, cluster), pipeline_message(job, layout, cluster)
    synchronization = list(synchronization_messages(job, layout, cluster))
    offload = offload_message(job, layout, cluster)
    share = largest_stage_parameters(job, layout) / layout.sharding_degree
    busy = m * (forward + backward + again) + (mp.seconds if mp else 0) + (pp.seconds if pp else 0)
    return StepTime(
        compute=m * (forward + backward),
        recompute=m * again,
        tensor_parallel=mp.seconds if mp else 0.0,
        pipeline=pp.seconds if pp else 0.0,
        bubble=planning.bubble(p, m) * busy,
        synchronization=sum(message.seconds for message in synchronization),
        optimizer=UPDATE * share / memory_speed(gpu) + (offload.seconds if offload else 0),
        messages=tuple(message for message in (mp, pp, *synchronization, offload) if message),
    )
