"""Memory of one process that trains on a CPU in float32: what the hand-written backward passes of this package keep.

A GPU in half precision keeps other tensors (memory.py). T = rows x tokens, H hidden_size, I intermediate_size,
N num_attention_heads, V vocab_size, L tokens of a row, M masked positions.
"""

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.planner import counts
from ernie_from_scratch.planner.memory import Memory, stage_parameters, zero3_parameters

FLOAT32 = 4  # bytes
OUTPUT_ONLY = ("relu", "tanh")  # backward needs their output only; gelu and silu keep their input too


def cpu_memory(
    config: EncoderConfig,
    rows: int,
    seq_len: int,
    num_predictions: int,
    mp_degree: int = 1,
    pp_degree: int = 1,
    stage: int = 0,
    micro_batches: int = 1,
    recompute: bool | None = None,
    sharding_degree: int = 1,
) -> Memory:
    """`Memory` at the peak of an optimizer step (the second or a later one), as Paddle's allocator counts it.

    Numpy's dropout masks are included; libraries, their buffers and memory that malloc does not return are not: with
    the width of ERNIE base the whole process grew by 1.2 to 1.3 times as much. Tests measure it for one process, and
    for two under mp 2, pp 2 and sharding stage 3.

    Args:
        rows: of a micro batch.
        num_predictions: masked positions M of a micro batch; the logits of the previous one are assumed to be freed.
        recompute: None: `config.enable_recompute`.
        sharding_degree: above 1: sharding stage 3, which recomputes.
    """
    sharded = sharding_degree > 1
    recompute = sharded or (config.enable_recompute if recompute is None else recompute)
    count = stage_parameters(config, mp_degree, pp_degree, stage)
    gathered = 0
    if sharded:
        count = zero3_parameters(config, sharding_degree)
        gathered = FLOAT32 * counts.layer_parameters(config)  # the layer that is computing
    tokens, hidden = rows * seq_len, config.hidden_size
    last = stage == pp_degree - 1
    word_gradient = FLOAT32 * config.vocab_size * hidden / mp_degree
    logits = FLOAT32 * num_predictions * config.vocab_size / mp_degree if last else 0
    heads = FLOAT32 * num_predictions * 4 * hidden if last else 0
    norm_input = tokens * hidden * (FLOAT32 + (1 if config.hidden_dropout_prob else 0)) if stage == 0 else 0

    in_flight = counts.in_flight(pp_degree, micro_batches, stage)
    layers = counts.layers_of_stage(config, pp_degree, stage)
    one, entry = cpu_layer_activations(config, rows, seq_len, mp_degree), FLOAT32 * tokens * hidden
    kept = in_flight * (layers * (entry if recompute else one) + norm_input)

    tied = word_gradient if pp_degree == 1 else 0  # the decoder's part waits for that of the embeddings
    copies = 4 if mp_degree > 1 else 2  # softmax and its gradient; under mp also those of the parallel loss
    peaks = [
        kept + heads + copies * logits,  # in the loss
        kept + heads + logits + (word_gradient if last else 0),  # in the decoder's backward
        kept + tied + 2 * gathered + _layer_backward(config, rows, seq_len, mp_degree, recompute),
        tied + (word_gradient + entry if stage == 0 else 0),  # in the embeddings' backward, at the end
    ]
    batch = 8 * (2 * tokens + 2 * num_predictions + rows)  # ids, token types, positions, labels: int64
    return Memory(FLOAT32 * count, FLOAT32 * count, 2 * FLOAT32 * count, max(peaks) + batch)


def cpu_layer_activations(config: EncoderConfig, rows: int, seq_len: int, mp_degree: int = 1) -> float:
    """Bytes that one layer keeps for backward: 8 T H + 2 T I + T N L floats (one T I with relu), and dropout masks.

    Tensor parallel divides query, key, value, the input of out_proj, the inputs of gelu and of linear2, and the
    attention weights; the inputs of the layer, of linear1 and of both layer norms are replicated. A mask takes a byte
    for each element.
    """
    tokens, hidden = rows * seq_len, config.hidden_size
    feed_forward = (1 if config.hidden_act in OUTPUT_ONLY else 2) * config.intermediate_size
    attention = config.num_attention_heads * seq_len / mp_degree
    masks = 2 * hidden if config.hidden_dropout_prob else 0
    masks += attention if config.attention_probs_dropout_prob else 0
    return tokens * (FLOAT32 * (4 * hidden + (4 * hidden + feed_forward) / mp_degree + attention) + masks)


def _layer_backward(config: EncoderConfig, rows: int, seq_len: int, mp_degree: int, recompute: bool) -> float:
    """Bytes beyond the kept activations at the peak of the last layer's backward.

    The peak is in the second layer norm, the feed-forward network or attention; the last term may be negative, since by
    then the activations of the layers after attention have been freed. With recompute, the layer's activations are
    computed first, and its output and the output's gradient are held too.
    """
    tokens, hidden = rows * seq_len, config.hidden_size
    inner, attention = config.intermediate_size / mp_degree, config.num_attention_heads * seq_len / mp_degree
    held = 1 if config.hidden_act in OUTPUT_ONLY else 2
    freed = held * inner + (3 + 1 / mp_degree) * hidden  # inputs of both norms, of linear1, and of out_proj
    peak = FLOAT32 * tokens * max(7 * hidden, inner + 2 * hidden, 2 * attention + 5 * hidden - freed)
    if recompute:
        peak += cpu_layer_activations(config, rows, seq_len, mp_degree) + FLOAT32 * tokens * hidden
    return peak
