"""The plain attention of MultiHeadAttention with its backward pass written out: on a CPU faster, in less memory.

Of the square tensors [B, N, L, K] only the softmax is kept, and one byte for each of its elements; what dropout
makes of it is computed again in backward, and products work in place.

B batch, N heads, L sequence, D head size, K keys.
"""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import Tensor, _C_ops
from paddle.autograd import PyLayer


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, draw_mask: Callable[[list[int]], Callable]
) -> Tensor:
    """dropout(softmax(query key^T + mask)) value.

    Takes a scaled query [B, N, L, D], key and value [B, N, K, D], an additive mask that broadcasts to
    [B, N, L, K] and gets no gradient, and `Dropout.draw_mask`. Gives [B, N, L, D].
    """
    return _Attention.apply(query, key, value, mask, draw_mask)


class _Attention(PyLayer):
    @staticmethod
    def forward(ctx, query, key, value, mask, draw_mask):
        scores = paddle.matmul(query, key, transpose_y=True)  # [B, N, L, K]
        if mask is not None:
            scores.add_(mask.expand(scores.shape))  # as in `add_mask`
        weights = F.softmax_(scores)  # [B, N, L, K]
        ctx.has_mask = mask is not None
        ctx.dropout = draw_mask(weights.shape)
        ctx.save_for_backward(query, key, value, weights)
        return paddle.matmul(ctx.dropout(weights), value)  # [B, N, L, D]

    @staticmethod
    def backward(ctx, grad):
        query, key, value, weights = ctx.saved_tensor()
        grad_value = paddle.matmul(ctx.dropout(weights), grad, transpose_x=True)  # [B, N, K, D]
        grad_weights = ctx.dropout(paddle.matmul(grad, value, transpose_y=True))  # [B, N, L, K]
        grad_scores = _C_ops.softmax_grad(weights, grad_weights, -1)  # weights * (grad - sum(weights * grad))
        grad_query = paddle.matmul(grad_scores, key)  # [B, N, L, D]
        grad_key = paddle.matmul(grad_scores, query, transpose_x=True)  # [B, N, K, D]
        return (grad_query, grad_key, grad_value) + ((None,) if ctx.has_mask else ())
