"""Memory of one GPU in mixed precision, for each stage of the pipeline. Letters as in counts.py."""

import math
from dataclasses import dataclass

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.planner import counts
from ernie_from_scratch.planner.job import Job, Layout

GIB = 2**30
# Bytes that plans leave free: CUDA context, cuBLAS and NCCL buffers, fragmentation of the allocator.
RESERVED = 2 * GIB
# Bytes a parameter: half precision, half precision, float32 master weight with the two moments of AdamW.
WEIGHT, GRADIENT, OPTIMIZER = 2, 2, 12


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at the peak of a training step."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


def stage_parameters(config: EncoderConfig, mp_degree: int = 1, pp_degree: int = 1, stage: int = 0) -> float:
    """Parameters of one process of stage `stage` (from 0), before sharding.

    Tensor parallel divides the matrices of the layers, the word embeddings and the bias of the LM decoder; layer norms,
    biases added after an all-reduce, and the small matrices of the heads are replicated. With a pipeline the first and
    the last stage both hold the word embeddings.
    """
    h, i = config.hidden_size, config.intermediate_size
    divided = 4 * h * h + 3 * h + 2 * h * i + i
    layer = divided / mp_degree + counts.layer_parameters(config) - divided
    count = counts.layers_of_stage(config, pp_degree, stage) * layer
    vocab = math.ceil(config.vocab_size / mp_degree)  # padded to a multiple of mp_degree
    if stage == 0:
        count += vocab * h + counts.embedding_parameters(config) - config.vocab_size * h
    if stage == pp_degree - 1:
        count += vocab + counts.head_parameters(config) - config.vocab_size
        if pp_degree > 1:
            count += vocab * h
    return count


def largest_stage_parameters(job: Job, layout: Layout) -> float:
    """Parameters of the stage with most of them: the first (embeddings) or the last (heads)."""
    stages = {0, layout.pp_degree - 1}
    return max(stage_parameters(job.config, layout.mp_degree, layout.pp_degree, n) for n in stages)


def stage_activations(job: Job, layout: Layout, stage: int) -> float:
    """Bytes of activations and their gradients on stage `stage` at the peak, in half precision.

    The activations of all layers for each micro batch in flight, or with recompute the layers' inputs and all
    activations of one layer; the gradients inside one layer; on the last stage the logits at the masked positions in
    half and their softmax in single precision (Korthikanti et al. 2022, sections 4 and 5, where all positions count).
    """
    config, rows, length, t = job.config, layout.micro_batch_size, job.max_seq_len, layout.mp_degree
    layers = counts.layers_of_stage(config, layout.pp_degree, stage)
    micro_batches = counts.in_flight(layout.pp_degree, layout.micro_batches(job), stage)
    one = counts.layer_activations(config, rows, length, t)
    entry = counts.layer_input(config, rows, length)
    kept = micro_batches * layers * entry + one - entry if layout.recompute else micro_batches * layers * one
    if stage == 0 and config.hidden_dropout_prob:
        kept += micro_batches * rows * length * config.hidden_size  # dropout mask of the embeddings
    if layout.pp_degree > 1:
        kept += 2 * entry  # one received, one to be sent
    gradients = 2 * rows * length * (2 * config.intermediate_size / t + 2 * config.hidden_size)
    logits = 0
    if stage == layout.pp_degree - 1:
        logits = (2 + 4) * rows * length * job.masked_lm_prob * config.vocab_size / t
    return kept + gradients + logits


def zero3_parameters(config: EncoderConfig, sharding_degree: int) -> float:
    """Parameters that one process stores under sharding stage 3, which shards the encoder layers only.

    The layer that is computing is gathered in addition (parallel/sharded_layers.py).
    """
    layers = counts.layer_parameters(config) * config.num_hidden_layers
    return counts.total_parameters(config) - layers + layers / sharding_degree


def stage_memory(job: Job, layout: Layout, stage: int) -> Memory:
    """`Memory` of one GPU of stage `stage` (from 0)."""
    degree, activations = layout.sharding_degree, stage_activations(job, layout, stage)
    if layout.sharding_stage == 3 and degree > 1:
        stored, layer = zero3_parameters(job.config, degree), counts.layer_parameters(job.config)
        return Memory(WEIGHT * (stored + layer), GRADIENT * (stored + layer), OPTIMIZER * stored, activations)
    count = stage_parameters(job.config, layout.mp_degree, layout.pp_degree, stage)
    gradients = GRADIENT * count / (degree if layout.sharding_stage == 2 else 1)
    optimizer = 0 if layout.offload else OPTIMIZER * count / degree
    return Memory(WEIGHT * count, gradients, optimizer, activations)


def fullest_stage(job: Job, layout: Layout) -> tuple[int, Memory]:
    """(stage, its `Memory`) where most memory is needed: the first stage, or the last one if its logits are large.

    From the first to the last but one, neither layers nor micro batches in flight increase.
    """
    stages = sorted({0, layout.pp_degree - 1})
    return max(((n, stage_memory(job, layout, n)) for n in stages), key=lambda pair: pair[1].total)


def host_memory(job: Job, layout: Layout) -> float:
    """Bytes of host memory for each GPU: the optimizer state, if it is offloaded."""
    if not layout.offload:
        return 0
    return OPTIMIZER * largest_stage_parameters(job, layout) / layout.sharding_degree
