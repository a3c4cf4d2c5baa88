"""The counts behind every plan: parameters, floating point operations, what backward keeps, what idles, what is sent.

Plain arithmetic on an `ErnieConfig`, no network is built. Letters: b rows of a micro batch, s tokens of a row, h
hidden_size, i intermediate_size, a heads, l layers, v vocabulary, t = mp_degree, p = pp_degree, m micro batches of
a step on one pipeline.
"""


def layer_parameters(config):
    """Of one encoder layer: four h x h products, h x i and i x h, their biases, and two norms."""
    h, i = config.hidden_size, config.intermediate_size
    return 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h


def embedding_parameters(config):
    """Of words, positions, token types and tasks, and of the norm behind them."""
    task_types = config.task_type_vocab_size if config.use_task_id else 0
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size + task_types
    return (rows + 2) * config.hidden_size


def head_parameters(config):
    """Of pooler, masked word head and sentence head; the word scores use the word embeddings again."""
    h = config.hidden_size
    return (h * h + h) + (h * h + h + 2 * h + config.vocab_size) + (2 * h + 2)


def total_parameters(config):
    """Equals the sizes of `ErnieForPretraining(config)`'s parameters, shared ones counted once."""
    layers = config.num_hidden_layers * layer_parameters(config)
    return embedding_parameters(config) + layers + head_parameters(config)


def layer_flops(config, seq_len):
    """Of one token's way forward through one layer: 2 for each weight, and 4 s h for scores and averages.

    With i = 4 h these are 24 h^2 + 4 s h (Narayanan et al. 2021, appendix).
    """
    h, i = config.hidden_size, config.intermediate_size
    return 2 * (4 * h * h + 2 * h * i) + 4 * seq_len * h


def head_flops(config):
    """Of one asked token's way forward through the masked word head: h x h, then h x v."""
    return 2 * config.hidden_size * (config.hidden_size + config.vocab_size)


def step_flops(config, sequences, seq_len, asked_share=0.15, recompute=False):
    """Of a whole step. Backward costs twice forward; recomputation runs the layers forward once more.

    With recompute, i = 4 h and every token asked (`asked_share` 1), this is Narayanan et al. 2021, eq. 3, but for
    the head's h x h product, which a GPT does not have.
    """
    layers = config.num_hidden_layers * layer_flops(config, seq_len)
    return sequences * seq_len * ((4 if recompute else 3) * layers + 3 * asked_share * head_flops(config))


def layer_activations(config, rows, seq_len, mp_degree=1):
    """Bytes that one layer keeps for backward on a GPU in half precision (Korthikanti et al. 2022, section 4).

    s b h (10 + 24 / t + 5 a s / (h t)) for gelu, i = 4 h and dropout: inputs of products, norms and gelu take 2
    bytes a number, dropout marks 1. What tensor parallelism splits is divided by t. Without dropout, or with relu,
    which needs only its output, less.
    """
    h, i = config.hidden_size, config.intermediate_size
    marks = 1 if config.hidden_dropout_prob else 0
    whole = 2 * h + 2 * h + 4 * h + 2 * marks * h  # inputs of q, k, v and of linear1, two norms, two dropouts
    inner = (1 if config.hidden_act == "relu" else 2) * 2 * i  # inputs of gelu and of linear2
    scores = (5 if config.attention_probs_dropout_prob else 2) * config.num_attention_heads * seq_len
    split = 3 * 2 * h + 2 * h + inner + scores  # q, k, v, input of out_proj
    return rows * seq_len * (whole + split / mp_degree)


def layer_input(config, rows, seq_len):
    """Bytes of a layer's input in half precision: all that recomputation keeps (Korthikanti et al. 2022, section 5)."""
    return 2 * rows * seq_len * config.hidden_size


def bubble(pp_degree, micro_batches):
    """Idle time of a 1F1B pipeline as a share of its useful time, (p - 1) / m (Narayanan et al. 2021, section 2.2)."""
    return (pp_degree - 1) / micro_batches


def in_flight(pp_degree, micro_batches, stage):
    """Micro batches whose activations stage number `stage` (from 0) keeps at once: 1F1B starts p - stage of them."""
    return min(pp_degree - stage, micro_batches)


def layers_of_stage(config, pp_degree, stage):
    """Layers are dealt as evenly as possible, the earlier stages taking one more where there is a rest."""
    whole, rest = divmod(config.num_hidden_layers, pp_degree)
    return whole + (1 if stage < rest else 0)


def all_reduce_bytes(size, group):
    """What each of `group` GPUs sends in a ring all-reduce of `size` bytes: 2 (n - 1) / n of them.

    Reduce-scatter and all-gather are each half of it (Patarasuk and Yuan, 2009).
    """
    return 2 * (group - 1) / group * size
