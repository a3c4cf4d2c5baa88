"""Memory of one process that trains on a CPU: what this package's own backward passes keep, in float32.

A GPU in half precision keeps other things (plan_memory.py). Here everything is 4 bytes a number; models/layers.py and
models/attention.py say what is saved. T = rows x tokens; H, I, N, V sizes; L tokens of a row; M asked tokens.
"""

from ernie_from_scratch.planner import counts as planning
from ernie_from_scratch.planner.memory import Memory, held_parameters, stage_parameters

FLOAT = 4
KEEP_OUTPUT_ONLY = ("relu", "tanh")  # gelu and silu keep their input, and the product behind them its own


def cpu_memory(
    config, rows, seq_len, asked, mp_degree=1, pp_degree=1, stage=0, micro_batches=1, recompute=None, shares=1
):
    """`Memory` at the peak of an optimizer step (the second or a later one), as Paddle's allocator counts it.

    Numpy's dropout marks are included. The libraries, their buffers and what malloc does not give back are not: at the
    width of ERNIE base the whole process grew by 1.2 to 1.3 times as much. `asked` are the masked tokens M of a micro
    batch; the scores of the micro batch before are taken to be gone. `recompute`: as config.enable_recompute unless
    given. `shares`: so many processes share out the layers (sharding stage 3, which recomputes). Measured for one
    process and for two, with layers split (mp 2), dealt out (pp 2) or shared out.
    """
    recompute = shares > 1 or (config.enable_recompute if recompute is None else recompute)
    count = (
        held_parameters(config, shares)
        if shares > 1
        else stage_parameters(config, mp_degree, pp_degree, stage)
    )
    whole = FLOAT * planning.layer_parameters(config) if shares > 1 else 0  # the layer at work
    tokens, hidden = rows * seq_len, config.hidden_size
    last = stage == pp_degree - 1
    words = FLOAT * config.vocab_size * hidden / mp_degree  # gradient of the word embeddings
    scores = FLOAT * asked * config.vocab_size / mp_degree if last else 0
    heads = FLOAT * asked * 4 * hidden if last else 0
    norm_input = tokens * hidden * (FLOAT + (1 if config.hidden_dropout_prob else 0)) if stage == 0 else 0

    waiting = planning.in_flight(pp_degree, micro_batches, stage)
    layers = planning.layers_of_stage(config, pp_degree, stage)
    one, entry = layer_kept(config, rows, seq_len, mp_degree), FLOAT * tokens * hidden
    kept = waiting * (layers * (entry if recompute else one) + norm_input)

    both_uses = words if pp_degree == 1 else 0  # the decoder's waits until the embeddings' is there too
    peaks = [
        kept
        + heads
        + (4 if mp_degree > 1 else 2) * scores,  # of the loss: softmax, its gradient; parts of it too
        kept + heads + scores + (words if last else 0),  # backward of the decoder
        kept + both_uses + 2 * whole + layer_backward(config, rows, seq_len, mp_degree, recompute),
        both_uses + (words + entry if stage == 0 else 0),  # backward of the embeddings, the end
    ]
    batch = 8 * (2 * tokens + 2 * asked + rows)  # ids, types, positions, labels: int64
    return Memory(FLOAT * count, FLOAT * count, 2 * FLOAT * count, max(peaks) + batch)


def layer_kept(config, rows, seq_len, mp_degree=1):
    """Bytes that one layer keeps: 8 T H + 2 T I + T N L numbers (one T I with relu), and dropout's marks, a byte each.

    Undivided by tensor parallelism are the layer's input, the input of linear1, and those of both norms; divided are
    query, key, value, the input of out_proj, inputs of gelu and of linear2, and the attention weights.
    """
    tokens, hidden = rows * seq_len, config.hidden_size
    inner = (1 if config.hidden_act in KEEP_OUTPUT_ONLY else 2) * config.intermediate_size
    scores = config.num_attention_heads * seq_len / mp_degree
    marks = 2 * hidden if config.hidden_dropout_prob else 0
    marks += scores if config.attention_probs_dropout_prob else 0
    return tokens * (FLOAT * (4 * hidden + (4 * hidden + inner) / mp_degree + scores) + marks)


def layer_backward(config, rows, seq_len, mp_degree=1, recompute=False):
    """Bytes beyond what is kept while the last layer's backward is at its fullest: in its second norm, its feed-forward
    network or its attention; negative for attention where the parts behind it have given back more.

    With recompute the layer's activations come back first, with its output and the gradient of that.
    """
    tokens, hidden = rows * seq_len, config.hidden_size
    inner, scores = config.intermediate_size / mp_degree, config.num_attention_heads * seq_len / mp_degree
    held = 1 if config.hidden_act in KEEP_OUTPUT_ONLY else 2
    # the inputs of both norms and of linear1, whole; that of out_proj, divided
    given_back = held * inner + (3 + 1 / mp_degree) * hidden
    peak = max(7 * hidden, inner + 2 * hidden, 2 * scores + 5 * hidden - given_back)
    more = FLOAT * tokens * peak
    if recompute:
        entry = FLOAT * tokens * hidden
        more += layer_kept(config, rows, seq_len, mp_degree) - entry + 2 * entry
    return more
