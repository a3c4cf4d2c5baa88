"""Each token gathers what it needs from all others (Attention Is All You Need, section 3.2).

B batch, L sequence, H hidden, N heads, D head size (H = N * D), K keys (L, plus the cached ones).
"""

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.cpu.attention import attention as cpu_attention
from ernie_from_scratch.models.cpu.layers import trains_on_cpu
from ernie_from_scratch.models.cpu.packing import Packing
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import Dropout, Linear
from ernie_from_scratch.models.masks import add_mask


class MultiHeadAttention(nn.Layer):
    """Self-attention: scores, mask, softmax, dropout, weighted sum of values, in N heads side by side."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        hidden = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = hidden // self.num_heads
        self.q_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.k_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.v_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.out_proj = Linear(hidden, hidden, weight_attr=normal_weights(config))
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    def split_heads(self, x: Tensor) -> Tensor:
        x = x.reshape([0, 0, self.num_heads, self.head_dim])  # [B, L, N, D]
        return x.transpose([0, 2, 1, 3])  # [B, N, L, D]

    def merge_heads(self, x: Tensor) -> Tensor:
        x = x.transpose([0, 2, 1, 3])  # [B, L, N, D]
        return x.reshape([0, 0, self.num_heads * self.head_dim])  # [B, L, H]

    def forward(
        self,
        hidden_states: Tensor,
        mask: Tensor | None = None,
        past_key_value: tuple[Tensor, Tensor] | None = None,
        output_attentions: bool = False,
        packing: Packing | None = None,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """Takes [B, L, H], an additive mask that broadcasts to [B, N, L, K], and cached keys and values
        [B, N, K - L, D]; with `packing`, the tokens of all rows [1, T, H] and the mask of the packed rows.

        Gives states [B, L, H], the attention weights [B, N, L, K] if `output_attentions`, and keys and values
        [B, N, K, D].
        """
        states = [project(hidden_states) for project in (self.q_proj, self.k_proj, self.v_proj)]  # [B, L, H]
        if packing is not None:
            states = [packing.to_rows(x) for x in states]  # [R, P, H]
        query, key, value = (self.split_heads(x) for x in states)  # [B, N, L, D]
        if past_key_value is not None:
            key = paddle.concat([past_key_value[0], key], axis=2)  # [B, N, K, D]
            value = paddle.concat([past_key_value[1], value], axis=2)  # [B, N, K, D]

        context, weights = None, None
        if not output_attentions:
            context = self.fast_attend(query, key, value, mask)
        if context is None:
            context, weights = self.attend(query, key, value, mask)
        if packing is not None:
            context = packing.from_rows(context)  # [1, T, H]
        return self.out_proj(context), weights, (key, value)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        scores = paddle.matmul(query * self.head_dim**-0.5, key, transpose_y=True)  # [B, N, L, K]
        if mask is not None:
            scores = add_mask(scores, mask)  # [B, N, L, K]
        weights = self.dropout(F.softmax(scores))  # [B, N, L, K]
        return self.merge_heads(paddle.matmul(weights, value)), weights  # [B, L, H]

    def fast_attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor | None:
        """The context of `attend` by a faster kernel, where this device has one: a CPU in training (cpu/), and a
        GPU in half precision without a mask (FlashAttention: Dao et al. 2022). None elsewhere.
        """
        if trains_on_cpu(query, key, value):
            query = query * self.head_dim**-0.5  # [B, N, L, D]
            return self.merge_heads(cpu_attention(query, key, value, mask, self.dropout.draw_mask))
        if mask is None and self.has_gpu_kernel(query):
            return self.attend_in_gpu_kernel(query, key, value)
        return None

    def attend_in_gpu_kernel(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.transpose([0, 2, 1, 3]) for x in (query, key, value))  # [B, L, N, D]
        context = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout.p, training=self.training
        )  # [B, L, N, D]
        return context.reshape([0, 0, self.num_heads * self.head_dim])  # [B, L, H]

    def has_gpu_kernel(self, query: Tensor) -> bool:
        half = query.dtype in (paddle.float16, paddle.bfloat16)
        return half and self.head_dim % 8 == 0 and paddle.in_dynamic_mode() and query.place.is_gpu_place()
