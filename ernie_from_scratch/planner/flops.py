"""How much of the machine a run uses: model FLOPs utilization (Chowdhery et al. 2022, PaLM, appendix B)."""

import time

import numpy as np
import paddle

SIDES = {"cpu": 1024, "gpu": 8192}  # of the square product that shows a device's best rate
ROUNDS = 5


def step_flops(config, batch):
    """Floating point operations that a network of `config` needs for one micro batch, forward and backward.

    A product of [m, k] and [k, n] is 2 m k n; backward is twice forward; padding and recomputation don't count
    (Narayanan et al. 2021, section 5.1, for an encoder whose scores [M, V] are asked at M places only).
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    rows, width = batch["input_ids"].shape
    mask = batch["attention_mask"]
    held = np.full(rows, width) if mask is None else mask.sum(-1)  # [B] tokens
    layer = (8 * hidden**2 + 4 * hidden * inner) * held.sum() + 4 * hidden * (held.astype(float) ** 2).sum()
    masked = len(batch["masked_positions"])
    heads = 2 * masked * hidden * (hidden + config.vocab_size) + 2 * rows * hidden * (hidden + 2)
    return 3 * float(config.num_hidden_layers * layer + heads)


def best_rate(dtype="float32"):
    """FLOP/s of a large square product on this process's device: the peak that utilization is a share of."""
    side = SIDES[paddle.get_device().partition(":")[0]]
    a = paddle.rand([side, side]).astype(dtype)
    a @ a
    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        float((a @ a)[0, 0])  # a GPU has finished when the number is here
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best
