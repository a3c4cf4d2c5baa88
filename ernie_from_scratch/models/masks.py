"""What a token may look at, as numbers to add to the scores of attention.

B batch, L sequence, N heads, K keys (L, plus cached ones).
"""

import paddle
from paddle import Tensor

from ernie_from_scratch.models.cpu.layers import on_cpu


def additive_mask(attention_mask: Tensor, dtype: paddle.dtype) -> Tensor | None:
    """The number to add to each attention score: 0 where a token may look, very low where it may not.

    A 2-D mask [B, K] has 1 for a token and 0 for padding. In 3-D [B, L, K] and 4-D [B, N, L, K] masks (axes
    of 1 broadcast) bool and int say what may be seen; float is added as it is. Gives something that
    broadcasts to [B, N, L, K], or None when everything may be seen.
    """
    if attention_mask.ndim == 2:
        if paddle.in_dynamic_mode() and bool((attention_mask == 1).all()):
            return None  # this test costs little, adding zeros to all scores in each layer more
        return ((1.0 - attention_mask.astype(dtype)) * -1e4).unsqueeze([1, 2])  # [B, 1, 1, K]
    if attention_mask.ndim == 3:
        attention_mask = attention_mask.unsqueeze(1)  # [B, 1, L, K]
    if not attention_mask.is_floating_point():
        lowest = max(-1e9, paddle.finfo(dtype).min)
        return (1.0 - attention_mask.astype(dtype)) * lowest
    return attention_mask.astype(dtype)


def add_mask(scores: Tensor, mask: Tensor) -> Tensor:
    """scores [B, N, L, K] + mask; axes of 1 in the mask are repeated.

    Paddle's CPU kernel repeats while it adds, in 25 times the time of repeating first.
    """
    return scores + (mask.expand(scores.shape) if on_cpu(mask) else mask)
