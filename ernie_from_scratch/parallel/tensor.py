"""Tensor parallel: each process computes a part of every layer (Megatron-LM: Shoeybi et al. 2019, section 3).

Attention is split by heads, the feed-forward network by its inner dimension, embeddings and decoder by words. All
other layers are replicated: every process of a group computes the same. The layers are Fleet's; they replace those
that the model was built with, and take slices of their initial weights, so that any degree starts from the same ones.

B batch, L sequence, H hidden, N heads, K keys, V vocabulary, M masked positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.distributed.fleet.layers.mpu import mp_ops
from paddle.distributed.fleet.meta_parallel import (
    ColumnParallelLinear,
    ParallelCrossEntropy,
    RowParallelLinear,
    VocabParallelEmbedding,
)

from ernie_from_scratch.models.cpu.layers import on_cpu
from ernie_from_scratch.models.heads import TiedDecoder
from ernie_from_scratch.models.layers import Dropout
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.parallel.degrees import check_mp_degree
from ernie_from_scratch.parallel.strategy import Strategy

PADDING_BIAS = -1e4  # of a word that only pads the vocabulary: its probability is 0 to the last bit


@dataclass(frozen=True)
class AxisSplit:
    """A parameter split along `axis`, whose complete size is `size`, and padded with `padding` to equal slices."""

    axis: int
    size: int
    padding: float = 0.0

    def place(self, strategy: Strategy) -> tuple[int, int]:
        """(number of the slice that this process holds, number of slices)."""
        return strategy.mp_rank, strategy.mp

    def split(self, tensor: Tensor, rank: int, ranks: int, padding: bool = True) -> Tensor:
        """Slice `rank` of `ranks` of a complete tensor; without `padding`, padded with zeros."""
        width = -(-self.size // ranks)
        own = tensor.slice([self.axis], [rank * width], [(rank + 1) * width])
        missing = width - own.shape[self.axis]
        if missing:
            shape = [missing if axis == self.axis else size for axis, size in enumerate(tensor.shape)]
            value = self.padding if padding else 0.0
            own = paddle.concat([own, paddle.full(shape, value, dtype=tensor.dtype)], axis=self.axis)
        return own

    def merge(self, slices: Sequence[Tensor]) -> Tensor:
        """The complete tensor from the slices of all processes, in the order of their ranks."""
        return paddle.concat(list(slices), axis=self.axis).slice([self.axis], [0], [self.size])


def split_layers(model: TaskModel, strategy: Strategy) -> dict[str, AxisSplit]:
    """Replace the layers of a model by this process's slices of them.

    Returns:
        {parameter's name in the complete model: `AxisSplit`} of the parameters that are split; empty for one process.

    Raises:
        UserError: heads or intermediate_size are not divisible by the degree.
    """
    if strategy.mp == 1:
        return {}
    config = model.config
    check_mp_degree(config.num_attention_heads, config.intermediate_size, strategy.mp)
    splits = {}
    for number, layer in enumerate(model.layers):
        name, attention = f"{model.base_name}.encoder.layers.{number}", layer.self_attn
        for linear in ("q_proj", "k_proj", "v_proj"):
            splits |= _split_columns(attention, linear, f"{name}.self_attn.{linear}", strategy)
        splits |= _split_rows(attention, "out_proj", f"{name}.self_attn.out_proj", strategy)
        splits |= _split_columns(layer, "linear1", f"{name}.linear1", strategy)
        splits |= _split_rows(layer, "linear2", f"{name}.linear2", strategy)
        attention.num_heads //= strategy.mp
        attention.dropout = HeadDropout(attention.dropout.p, strategy)
        if attention.dropout.p:  # the kernel would draw the same mask for the heads of every process
            attention.has_gpu_kernel = lambda query: False
    return splits | _split_vocabulary(model, strategy)


def _split_columns(parent: nn.Layer, attribute: str, name: str, strategy: Strategy) -> dict[str, AxisSplit]:
    complete = getattr(parent, attribute)
    split = ColumnParallelLinear(*complete.weight.shape, has_bias=True, gather_output=False)
    splits = {
        f"{name}.weight": AxisSplit(1, complete.weight.shape[1]),
        f"{name}.bias": AxisSplit(0, complete.bias.shape[0]),
    }
    _set_slice(split.weight, complete.weight, splits[f"{name}.weight"], strategy)
    _set_slice(split.bias, complete.bias, splits[f"{name}.bias"], strategy)
    setattr(parent, attribute, split)
    return splits


def _split_rows(parent: nn.Layer, attribute: str, name: str, strategy: Strategy) -> dict[str, AxisSplit]:
    complete = getattr(parent, attribute)
    split: Any = RowParallelLinear(*complete.weight.shape, has_bias=True, input_is_parallel=True)
    axis_split = AxisSplit(0, complete.weight.shape[0])
    _set_slice(split.weight, complete.weight, axis_split, strategy)
    split.bias.set_value(complete.bias)  # added after the sum over processes, by all of them
    setattr(parent, attribute, split)
    return {f"{name}.weight": axis_split}


def _split_vocabulary(model: TaskModel, strategy: Strategy) -> dict[str, AxisSplit]:
    embeddings, size = model.backbone.embeddings, model.config.vocab_size
    words = SplitEmbedding(embeddings.word_embeddings.weight, model.config.pad_token_id, strategy)
    embeddings.word_embeddings = words
    rows, bias = AxisSplit(0, size), AxisSplit(0, size, PADDING_BIAS)
    splits = {f"{model.base_name}.embeddings.word_embeddings.weight": rows}
    head, name = model.lm_head, model.lm_head_name
    if head is None:
        return splits
    head.decoder = SplitDecoder(words.weight, head.decoder.bias, size, strategy)
    head.decoder_bias = head.decoder.bias
    return splits | {
        f"{name}.decoder.weight": rows,
        f"{name}.decoder.bias": bias,
        f"{name}.decoder_bias": bias,
    }


def _set_slice(parameter: Any, complete: Tensor, split: AxisSplit, strategy: Strategy) -> None:
    parameter.set_value(split.split(complete.detach(), strategy.mp_rank, strategy.mp))


class SplitEmbedding(VocabParallelEmbedding):
    """Word embeddings of V / processes words each; as in `ErnieEmbeddings`, padding gets zeros."""

    def __init__(self, weight: Tensor, pad_token_id: int, strategy: Strategy):
        words, hidden = weight.shape
        super().__init__(-(-words // strategy.mp) * strategy.mp, hidden)
        self.pad_token_id = pad_token_id
        _set_slice(self.weight, weight, AxisSplit(0, words), strategy)

    def forward(self, input_ids: Tensor) -> Tensor:
        vectors: Any = super().forward(input_ids)  # [B, L, H]
        return vectors * (input_ids != self.pad_token_id).astype(vectors.dtype).unsqueeze(-1)


class SplitDecoder(TiedDecoder):
    """Logits of this process's words: hidden states [..., H] to [..., V / processes]."""

    def __init__(self, embedding_weights: Tensor, bias: Tensor, words: int, strategy: Strategy):
        super().__init__(embedding_weights)
        self.group = strategy.mp_group
        _set_slice(self.bias, bias, AxisSplit(0, words, PADDING_BIAS), strategy)
        self.bias.is_distributed = True  # so that the norm of all gradients counts every slice

    def forward(self, hidden_states: Tensor) -> Tensor:
        # the identity; in backward, the sum of the gradients that the words of all processes give
        shared: Any = mp_ops._c_identity(hidden_states, group=self.group)
        return super().forward(shared)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`mean_cross_entropy` of labels [M] under logits [M, V / processes], each process with its slice."""
        labels = paddle.where(labels >= 0, labels, paddle.full_like(labels, -100))
        losses = ParallelCrossEntropy()(
            logits.astype("float32"), labels.unsqueeze(-1)
        )  # [M, 1], 0 if ignored
        return losses.sum() / (labels >= 0).astype(losses.dtype).sum().clip(min=1)


def gather_vocabulary(logits: Tensor, words: int, strategy: Strategy) -> Tensor:
    """Complete logits [..., V] on every process, from its slice [..., V / processes]."""
    if strategy.mp == 1:
        return logits
    slices: list[Tensor] = []
    dist.all_gather(slices, logits, group=strategy.mp_group)
    return paddle.concat(slices, axis=-1)[..., :words]


class HeadDropout(Dropout):
    """Dropout of this process's heads [B, N / processes, L, K]: the mask that one process would draw for them."""

    def __init__(self, p: float, strategy: Strategy):
        super().__init__(p)
        self.rank, self.ranks = strategy.mp_rank, strategy.mp

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or on_cpu(x):
            return super().forward(x)
        batch, heads, length, keys = x.shape
        mask = F.dropout(paddle.ones([batch, heads * self.ranks, length, keys], dtype=x.dtype), self.p)
        return x * mask[:, self.rank * heads : (self.rank + 1) * heads]

    def random_bits(self, shape: Sequence[int]) -> np.ndarray:
        batch, heads, length, keys = shape
        bits = super().random_bits([batch, heads * self.ranks, length, keys])
        return bits[:, self.rank * heads : (self.rank + 1) * heads]
