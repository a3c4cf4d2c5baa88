"""The counts behind every plan: parameters, FLOPs, activations, pipeline bubble, bytes of an all-reduce.

Plain arithmetic on the fields of a configuration; no network is built. Letters: b rows of a micro batch, s tokens of
a row, h hidden_size, i intermediate_size, a num_attention_heads, l num_hidden_layers, v vocab_size, t mp_degree,
p pp_degree, m micro batches of a step on one pipeline.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.parallel.layer_split import stage_chunks


@runtime_checkable
class TaskTypeConfig(Protocol):
    """Further fields of a family with task type embeddings (ERNIE 2.0 and 3.0)."""

    task_type_vocab_size: int
    use_task_id: bool


def layer_parameters(config: EncoderConfig) -> int:
    """Parameters of one encoder layer: four h x h matrices, h x i and i x h, their biases, two layer norms."""
    h, i = config.hidden_size, config.intermediate_size
    return 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h


def embedding_parameters(config: EncoderConfig) -> int:
    """Parameters of the word, position, token type and task type embeddings, and of the layer norm after them."""
    task_types = 0
    if isinstance(config, TaskTypeConfig) and config.use_task_id:
        task_types = config.task_type_vocab_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size + task_types
    return (rows + 2) * config.hidden_size


def head_parameters(config: EncoderConfig) -> int:
    """Parameters of pooler, LM head and sentence pair head; the LM decoder's weight is the word embeddings."""
    h = config.hidden_size
    return (h * h + h) + (h * h + h + 2 * h + config.vocab_size) + (2 * h + 2)


def total_parameters(config: EncoderConfig) -> int:
    """Parameters of the pretraining network, tied weights counted once."""
    layers = config.num_hidden_layers * layer_parameters(config)
    return embedding_parameters(config) + layers + head_parameters(config)


def layer_flops(config: EncoderConfig, tokens: float, query_key_pairs: float) -> float:
    """FLOPs of the forward pass of one layer; a product of [m, k] and [k, n] takes 2 m k n.

    2 for each weight and token, 4 h for each pair of a query and a key: their score, and the value's part in the
    weighted mean. Rows of s tokens have s pairs a token; with i = 4 h that is 24 h^2 + 4 s h a token (Narayanan et al.
    2021, appendix).
    """
    h, i = config.hidden_size, config.intermediate_size
    return 2 * (4 * h * h + 2 * h * i) * tokens + 4 * h * query_key_pairs


def lm_head_flops(config: EncoderConfig) -> int:
    """FLOPs of the LM head's forward pass for one masked position: h x h, then h x v."""
    return 2 * config.hidden_size * (config.hidden_size + config.vocab_size)


def pair_head_flops(config: EncoderConfig) -> int:
    """FLOPs of the forward pass of pooler and sentence pair head for one row: h x h, then h x 2."""
    return 2 * config.hidden_size * (config.hidden_size + 2)


def step_flops(config: EncoderConfig, row_lengths: np.ndarray, num_predictions: int) -> float:
    """FLOPs that the forward and backward pass of one micro batch need; backward costs twice the forward pass.

    What is computed on padding or recomputed does not count (Chowdhery et al. 2022, appendix B).

    Args:
        row_lengths: [B], tokens of each row without padding.
        num_predictions: masked positions of the micro batch.
    """
    tokens, pairs = row_lengths.sum(), (row_lengths.astype(float) ** 2).sum()
    layers = config.num_hidden_layers * layer_flops(config, tokens, pairs)
    heads = num_predictions * lm_head_flops(config) + len(row_lengths) * pair_head_flops(config)
    return 3 * float(layers + heads)


def full_batch_flops(
    config: EncoderConfig,
    num_rows: int,
    seq_len: int,
    masked_lm_prob: float = DataSettings.masked_lm_prob,
    recompute: bool = False,
) -> float:
    """FLOPs of a step on rows without padding, with recomputation included if `recompute`; without the pair head.

    With recompute, i = 4 h and predictions at all positions (`masked_lm_prob` 1) this is Narayanan et al. 2021, eq. 3,
    plus the h x h product of the LM head, which a GPT does not have.
    """
    layers = config.num_hidden_layers * layer_flops(config, 1, seq_len)
    head = 3 * masked_lm_prob * lm_head_flops(config)
    return num_rows * seq_len * ((4 if recompute else 3) * layers + head)


def layer_activations(config: EncoderConfig, rows: int, seq_len: int, mp_degree: int = 1) -> float:
    """Bytes that one layer keeps for backward on a GPU in half precision (Korthikanti et al. 2022, section 4).

    s b h (10 + 24 / t + 5 a s / (h t)) with gelu, i = 4 h and dropout: 2 bytes for each element of the inputs of
    matrix products, layer norms and gelu, 1 byte for each element of a dropout mask. Tensor parallel divides some of
    them by t. Without dropout, or with relu, which needs only its output, it is less.
    """
    h, i = config.hidden_size, config.intermediate_size
    dropout_mask = h if config.hidden_dropout_prob else 0
    replicated = (
        2 * h + 2 * h + 4 * h + 2 * dropout_mask
    )  # inputs of q, k, v, of linear1, of two norms; two masks
    feed_forward = (1 if config.hidden_act == "relu" else 2) * 2 * i  # inputs of gelu and of linear2
    attention = (5 if config.attention_probs_dropout_prob else 2) * config.num_attention_heads * seq_len
    divided = 3 * 2 * h + 2 * h + feed_forward + attention  # q, k, v and the input of out_proj
    return rows * seq_len * (replicated + divided / mp_degree)


def layer_input(config: EncoderConfig, rows: int, seq_len: int) -> int:
    """Bytes of a layer's input in half precision: all that recomputation keeps (Korthikanti et al. 2022, section 5)."""
    return 2 * rows * seq_len * config.hidden_size


def bubble(pp_degree: int, micro_batches: int) -> float:
    """Idle time of a 1F1B pipeline relative to its computing time, (p - 1) / m (Narayanan et al. 2021, section 2.2)."""
    return (pp_degree - 1) / micro_batches


def in_flight(pp_degree: int, micro_batches: int, stage: int) -> int:
    """Micro batches whose activations stage `stage` (from 0) keeps at once under 1F1B: p - stage, at most m."""
    return min(pp_degree - stage, micro_batches)


def layers_of_stage(config: EncoderConfig, pp_degree: int, stage: int) -> int:
    """Number of layers on stage `stage` (from 0). Raises UserError when there are fewer layers than stages."""
    return sum(len(chunk.layers) for chunk in stage_chunks(config.num_hidden_layers, pp_degree, stage))


def all_reduce_bytes(size: float, group: int) -> float:
    """Bytes that each of `group` GPUs sends in a ring all-reduce of `size` bytes: 2 (n - 1) / n of them.

    Reduce-scatter and all-gather send half of that each (Patarasuk and Yuan, 2009).
    """
    return 2 * (group - 1) / group * size
