"""Each token gathers what it needs from all others (Attention Is All You Need, section 3.2).

B batch, L sequence, H hidden, N heads, D head size (H = N * D), K keys (L, plus the cached ones).
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from ernie_from_scratch.models.cpu.attention import AttentionByHand
from ernie_from_scratch.models.cpu.packing import Packing
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import Dropout, Linear, backward_by_hand
from ernie_from_scratch.models.masks import add_mask


class MultiHeadAttention(nn.Layer):
    """Self-attention: scores, mask, softmax, dropout, weighted sum of values, in N heads side by side."""

    def __init__(self, config):
        super().__init__()
        hidden = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = hidden // self.num_heads
        self.q_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.k_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.v_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.out_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    def split_heads(self, x):
        x = x.reshape([0, 0, self.num_heads, self.head_dim])  # [B, L, N, D]
        return x.transpose([0, 2, 1, 3])  # [B, N, L, D]

    def merge_heads(self, x):
        x = x.transpose([0, 2, 1, 3])  # [B, L, N, D]
        return x.reshape([0, 0, self.num_heads * self.head_dim])  # [B, L, H]

    def forward(self, hidden_states, mask=None, past_key_value=None, output_attentions=False):
        """Takes [B, L, H], an additive mask for [B, N, L, K], and cached keys and values [B, N, K - L, D]; or the
        tokens alone [1, T, H] with their Packing for a mask.

        Gives states [B, L, H], the weights [B, N, L, K] if asked for, and keys and values [B, N, K, D].
        """
        states = [project(hidden_states) for project in (self.q_proj, self.k_proj, self.v_proj)]  # [B, L, H]
        packing = mask if isinstance(mask, Packing) else None
        if packing is not None:
            states, mask = [packing.to_rows(x) for x in states], packing.mask  # [R, P, H]
        query, key, value = (self.split_heads(x) for x in states)  # [B, N, L, D]
        if past_key_value is not None:
            key = paddle.concat([past_key_value[0], key], axis=2)  # [B, N, K, D]
            value = paddle.concat([past_key_value[1], value], axis=2)  # [B, N, K, D]

        if mask is None and not output_attentions and self.has_kernel(query):
            context, weights = self.attend_in_one_kernel(query, key, value), None
        elif not output_attentions and backward_by_hand(query, key, value):
            context, weights = self.attend_by_hand(query, key, value, mask), None
        else:
            context, weights = self.attend(query, key, value, mask)
        if packing is not None:
            context = packing.from_rows(context)  # [1, T, H]
        return self.out_proj(context), weights, (key, value)

    def attend(self, query, key, value, mask=None):
        scores = paddle.matmul(query * self.head_dim**-0.5, key, transpose_y=True)  # [B, N, L, K]
        if mask is not None:
            scores = add_mask(scores, mask)  # [B, N, L, K]
        weights = self.dropout(F.softmax(scores))  # [B, N, L, K]
        return self.merge_heads(paddle.matmul(weights, value)), weights  # [B, L, H]

    def attend_by_hand(self, query, key, value, mask=None):
        """`attend` on a CPU in training."""
        context = AttentionByHand.apply(query * self.head_dim**-0.5, key, value, mask, self.dropout)
        return self.merge_heads(context)  # [B, L, H]

    def has_kernel(self, query):
        half = query.dtype in (paddle.float16, paddle.bfloat16)
        return half and self.head_dim % 8 == 0 and paddle.in_dynamic_mode() and query.place.is_gpu_place()

    def attend_in_one_kernel(self, query, key, value):
        """`attend` without a mask, on a GPU, where scores never reach the memory (Dao et al., 2022)."""
        query, key, value = (x.transpose([0, 2, 1, 3]) for x in (query, key, value))  # [B, L, N, D]
        context = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout.p, training=self.training
        )  # [B, L, N, D]
        return context.reshape([0, 0, self.num_heads * self.head_dim])  # [B, L, H]
