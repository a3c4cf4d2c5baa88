"""Memory of one GPU in mixed precision, stage by stage of the pipeline.

Letters as in planning.py: b, s, h, i, l, v; t = mp_degree, p = pp_degree.
"""

import math
from dataclasses import dataclass

from ernie_from_scratch.planner import counts as planning

GIB = 2**30
# Beside what is counted: CUDA context, cuBLAS and NCCL buffers, blocks that the allocator cannot fill.
RESERVED = 2 * GIB
# Bytes a parameter: in half precision, in half precision, and a float32 weight with the two moments of AdamW.
WEIGHT, GRADIENT, OPTIMIZER = 2, 2, 12


@dataclass(frozen=True)
class Memory:
    """Bytes at the moment when most is held."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self):
        return self.weights + self.gradients + self.optimizer + self.activations


def stage_parameters(config, mp_degree=1, pp_degree=1, stage=0):
    """Parameters that one process of stage `stage` holds, before sharding.

    Tensor parallelism divides the products of the layers, the word embeddings and the biases of their scores; norms,
    the biases added after a sum over the group, and the small products of the heads are in each process. In a pipeline
    the first and the last stage both hold the word embeddings.
    """
    h, i = config.hidden_size, config.intermediate_size
    divided = 4 * h * h + 3 * h + 2 * h * i + i
    layer = divided / mp_degree + planning.layer_parameters(config) - divided
    count = planning.layers_of_stage(config, pp_degree, stage) * layer
    all_words = config.vocab_size
    words = math.ceil(all_words / mp_degree)  # filled up where they cannot be shared out evenly
    if stage == 0:
        count += words * h + planning.embedding_parameters(config) - all_words * h
    if stage == pp_degree - 1:
        count += words + planning.head_parameters(config) - all_words
        if pp_degree > 1:
            count += words * h
    return count


def largest_stage_parameters(job, layout):
    """Parameters of the stage that has most: the first or the last, which hold words or heads too."""
    stages = {0, layout.pp_degree - 1}
    return max(stage_parameters(job.config, layout.mp_degree, layout.pp_degree, n) for n in stages)


def activations(job, layout, stage):
    """Bytes kept for backward by stage `stage`, at the peak, in half precision.

    Of every micro batch in flight, each layer's activations, or with recompute its input only, and then one layer's
    activations in full; the gradients inside one layer; on the last stage the word scores in half and their softmax in
    single precision, of the asked tokens (Korthikanti et al. 2022, sections 4 and 5, but for the share asked).
    """
    config, rows, length, t = job.config, layout.micro_batch_size, job.max_seq_len, layout.mp_degree
    layers = planning.layers_of_stage(config, layout.pp_degree, stage)
    waiting = planning.in_flight(layout.pp_degree, layout.micro_batches(job), stage)
    one = planning.layer_activations(config, rows, length, t)
    entry = planning.layer_input(config, rows, length)
    kept = waiting * layers * entry + one - entry if layout.recompute else waiting * layers * one
    if stage == 0 and config.hidden_dropout_prob:
        kept += waiting * rows * length * config.hidden_size  # marks of the embeddings' dropout
    if layout.pp_degree > 1:
        kept += 2 * entry  # one on its way in, one on its way out
    inside = 2 * rows * length * (2 * config.intermediate_size / t + 2 * config.hidden_size)
    scores = 0
    if stage == layout.pp_degree - 1:
        scores = (2 + 4) * rows * length * job.asked_share * config.vocab_size / t
    return kept + inside + scores


def held_parameters(config, shares):
    """Parameters that one process holds under sharding stage 3: a share of the layers, and all else (whole_layers.py).

    The layer at work is whole beside them.
    """
    layers = planning.layer_parameters(config) * config.num_hidden_layers
    return planning.total_parameters(config) - layers + layers / shares


def stage_memory(job, layout, stage):
    """`Memory` of one GPU of stage `stage` (from 0)."""
    count = stage_parameters(job.config, layout.mp_degree, layout.pp_degree, stage)
    share = layout.sharding_degree
    if layout.sharding_stage == 3 and share > 1:
        held, layer = held_parameters(job.config, share), planning.layer_parameters(job.config)
        weights, gradients, optimizer = WEIGHT * (held + layer), GRADIENT * (held + layer), OPTIMIZER * held
        return Memory(weights, gradients, optimizer, activations(job, layout, stage))
    weights = WEIGHT * count
    gradients = GRADIENT * count / (share if layout.sharding_stage == 2 else 1)
    optimizer = 0 if layout.offload else OPTIMIZER * count / share
    return Memory(weights, gradients, optimizer, activations(job, layout, stage))


def fullest_stage(job, layout):
    """(number, `Memory`) of the stage that needs most: the first, or the last if its scores are large.

    From the first to the last but one, layers and micro batches in flight do not grow.
    """
    stages = sorted({0, layout.pp_degree - 1})
    return max(((n, stage_memory(job, layout, n)) for n in stages), key=lambda pair: pair[1].total)


def host_memory(job, layout):
    """Bytes in the machine's own memory for each GPU, when the optimizer's state is offloaded."""
    if not layout.offload:
        return 0
    return OPTIMIZER * largest_stage_parameters(job, layout) / layout.sharding_degree
