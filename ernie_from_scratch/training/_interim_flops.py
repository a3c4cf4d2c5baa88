def step_flops(config, row_lengths, num_predictions):
    hidden, inner = config.hidden_size, config.intermediate_size
    held = row_lengths
    layer = (8 * hidden**2 + 4 * hidden * inner) * held.sum() + 4 * hidden * (held.astype(float) ** 2).sum()
    heads = 2 * num_predictions * hidden * (hidden + config.vocab_size) + 2 * len(held) * hidden * (hidden + 2)
    return 3 * float(config.num_hidden_layers * layer + heads)
