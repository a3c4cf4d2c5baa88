"""The readable attention of MultiHeadAttention with its backward pass written out: on a CPU faster, in less memory.

Of the square tensors [B, N, L, K] only the softmax is kept, and a byte for each of its numbers; what dropout makes
of it is computed again in backward, and products work in place.

B batch, N heads, L sequence, D head size, K keys.
"""

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer


class AttentionByHand(PyLayer):
    """dropout(softmax(query key^T + mask)) value."""

    @staticmethod
    def forward(ctx, query, key, value, mask, dropout):
        """Takes a scaled query [B, N, L, D], key and value [B, N, K, D], an additive mask for [B, N, L, K] without
        a gradient (or None), and a Dropout layer.
        """
        scores = paddle.matmul(query, key, transpose_y=True)  # [B, N, L, K]
        if mask is not None:
            scores.add_(mask.expand(scores.shape))  # as in `add_mask`
        weights = F.softmax_(scores)  # [B, N, L, K]
        ctx.masked = mask is not None
        ctx.marks = dropout.marks(weights.shape)
        ctx.save_for_backward(query, key, value, weights)
        return paddle.matmul(ctx.marks(weights), value)  # [B, N, L, D]

    @staticmethod
    def backward(ctx, grad):
        query, key, value, weights = ctx.saved_tensor()
        grad_value = paddle.matmul(ctx.marks(weights), grad, transpose_x=True)  # [B, N, K, D]
        grad_weights = ctx.marks(paddle.matmul(grad, value, transpose_y=True))  # [B, N, L, K]
        grad_scores = paddle._C_ops.softmax_grad(
            weights, grad_weights, -1
        )  # weights * (grad - sum(weights * grad))
        grad_query = paddle.matmul(grad_scores, key)  # [B, N, L, D]
        grad_key = paddle.matmul(grad_scores, query, transpose_x=True)  # [B, N, K, D]
        return (grad_query, grad_key, grad_value) + ((None,) if ctx.masked else ())
