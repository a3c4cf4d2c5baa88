"""Tensor parallel: each process computes a part of every layer (Megatron-LM: Shoeybi et al. 2019, section 3).

Attention is cut by heads, the feed-forward network by inner neurons, embeddings and word scores by words. What lies
between, and all small layers, every process of a group computes alike. The layers are Fleet's; they take the places
of those that the model was built with, and parts of their first weights, so that any degree starts from the same.

B batch, L sequence, H hidden, N heads, K keys, V vocabulary, M masked positions.
"""

from dataclasses import dataclass

import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from paddle.distributed.fleet.layers.mpu import mp_ops
from paddle.distributed.fleet.meta_parallel import (
    ColumnParallelLinear,
    ParallelCrossEntropy,
    RowParallelLinear,
    VocabParallelEmbedding,
)

from ernie_from_scratch.models.heads import TiedDecoder
from ernie_from_scratch.models.layers import Dropout, on_cpu
from ernie_from_scratch.parallel.degrees import check_mp_degree

NEVER = -1e4  # bias of a word that only fills up the vocabulary: its probability is 0 to the last bit


@dataclass(frozen=True)
class Cut:
    """How processes share out a parameter: along `axis`, whose whole size is `size`, filled up with `filling`."""

    axis: int
    size: int
    filling: float = 0.0

    def place(self, strategy):
        """(which part a process holds, how many there are)."""
        return strategy.mp_rank, strategy.mp

    def part(self, whole, rank, ranks, filling=True):
        """The part of a tensor that process `rank` of `ranks` holds; without `filling`, filled up with zeros."""
        width = -(-self.size // ranks)
        mine = whole.slice([self.axis], [rank * width], [(rank + 1) * width])
        missing = width - mine.shape[self.axis]
        if missing:
            shape = [missing if axis == self.axis else size for axis, size in enumerate(whole.shape)]
            value = self.filling if filling else 0.0
            mine = paddle.concat([mine, paddle.full(shape, value, dtype=whole.dtype)], axis=self.axis)
        return mine

    def whole(self, parts):
        """The tensor from the parts of all processes, in the order of their ranks."""
        return paddle.concat(parts, axis=self.axis).slice([self.axis], [0], [self.size])


def split_layers(model, strategy):
    """Replace the layers of an `ErnieForPretraining` by this process's parts of them.

    Returns:
        {parameter's name in the whole model: `Cut`} of the parameters that are cut; empty for one process.

    Raises:
        UserError: heads or inner neurons can't be shared out evenly.
    """
    if strategy.mp == 1:
        return {}
    config = model.config
    check_mp_degree(config.num_attention_heads, config.intermediate_size, strategy.mp)
    cuts = {}
    for number, layer in enumerate(model.ernie.encoder.layers):
        name, attention = f"ernie.encoder.layers.{number}", layer.self_attn
        for linear in ("q_proj", "k_proj", "v_proj"):
            cuts |= _by_columns(attention, linear, f"{name}.self_attn.{linear}", strategy)
        cuts |= _by_rows(attention, "out_proj", f"{name}.self_attn.out_proj", strategy)
        cuts |= _by_columns(layer, "linear1", f"{name}.linear1", strategy)
        cuts |= _by_rows(layer, "linear2", f"{name}.linear2", strategy)
        attention.num_heads //= strategy.mp
        attention.dropout = HeadDropout(attention.dropout.p, strategy)
        if attention.dropout.p:  # the kernel would draw the same marks for the heads of every process
            attention.has_kernel = lambda query: False
    return cuts | _split_vocabulary(model, strategy)


def _by_columns(parent, attribute, name, strategy):
    whole = getattr(parent, attribute)
    split = ColumnParallelLinear(*whole.weight.shape, has_bias=True, gather_output=False)
    cuts = {f"{name}.weight": Cut(1, whole.weight.shape[1]), f"{name}.bias": Cut(0, whole.bias.shape[0])}
    _take(split.weight, whole.weight, cuts[f"{name}.weight"], strategy)
    _take(split.bias, whole.bias, cuts[f"{name}.bias"], strategy)
    setattr(parent, attribute, split)
    return cuts


def _by_rows(parent, attribute, name, strategy):
    whole = getattr(parent, attribute)
    split = RowParallelLinear(*whole.weight.shape, has_bias=True, input_is_parallel=True)
    cut = Cut(0, whole.weight.shape[0])
    _take(split.weight, whole.weight, cut, strategy)
    split.bias.set_value(whole.bias)  # added after the sum over processes, by all of them
    setattr(parent, attribute, split)
    return {f"{name}.weight": cut}


def _split_vocabulary(model, strategy):
    embeddings, predictions = model.ernie.embeddings, model.cls.predictions
    whole, size = embeddings.word_embeddings.weight, model.config.vocab_size
    words = SplitEmbedding(whole, model.config.pad_token_id, strategy)
    embeddings.word_embeddings = words
    predictions.decoder = SplitDecoder(words.weight, predictions.decoder.bias, size, strategy)
    predictions.decoder_bias = predictions.decoder.bias
    model.word_loss = split_mean_cross_entropy
    rows, bias = Cut(0, size), Cut(0, size, NEVER)
    return {
        "ernie.embeddings.word_embeddings.weight": rows,
        "cls.predictions.decoder.weight": rows,
        "cls.predictions.decoder.bias": bias,
        "cls.predictions.decoder_bias": bias,
    }


def _take(parameter, whole, cut, strategy):
    parameter.set_value(cut.part(whole.detach(), strategy.mp_rank, strategy.mp))


class SplitEmbedding(VocabParallelEmbedding):
    """Word embeddings of V / processes words each; as in `ErnieEmbeddings`, padding looks up zeros."""

    def __init__(self, whole, pad_token_id, strategy):
        words, hidden = whole.shape
        super().__init__(-(-words // strategy.mp) * strategy.mp, hidden)
        self.pad_token_id = pad_token_id
        _take(self.weight, whole, Cut(0, words), strategy)

    def forward(self, input_ids):
        vectors = super().forward(input_ids)  # [B, L, H]
        return vectors * (input_ids != self.pad_token_id).astype(vectors.dtype).unsqueeze(-1)


class SplitDecoder(TiedDecoder):
    """Scores of this process's words: hidden states [..., H] to [..., V / processes]."""

    def __init__(self, embedding_weights, whole_bias, words, strategy):
        super().__init__(embedding_weights)
        self.group = strategy.mp_group
        _take(self.bias, whole_bias, Cut(0, words, NEVER), strategy)
        self.bias.is_distributed = True  # the norm of all gradients counts its parts, not one of them

    def forward(self, hidden_states):
        # the same states for all; in backward, the sum of what the words of all say about them
        return super().forward(mp_ops._c_identity(hidden_states, group=self.group))


def split_mean_cross_entropy(scores, labels):
    """`mean_cross_entropy` of labels [M] under scores [M, V / processes], each process with its part."""
    labels = paddle.where(labels >= 0, labels, paddle.full_like(labels, -100))
    # [M, 1], 0 where not asked
    losses = ParallelCrossEntropy()(scores.astype("float32"), labels.unsqueeze(-1))
    return losses.sum() / (labels >= 0).astype(losses.dtype).sum().clip(min=1)


def gather_scores(scores, words, strategy):
    """Whole word scores [..., V] on every process, from its part [..., V / processes]."""
    if strategy.mp == 1:
        return scores
    parts = []
    dist.all_gather(parts, scores, group=strategy.mp_group)
    return paddle.concat(parts, axis=-1)[..., :words]


class HeadDropout(Dropout):
    """Dropout of this process's heads [B, N / processes, L, K]: the marks that one process would draw for them."""

    def __init__(self, p, strategy):
        super().__init__(p)
        self.rank, self.ranks = strategy.mp_rank, strategy.mp

    def forward(self, x):
        if not self.training or self.p == 0 or on_cpu(x):
            return super().forward(x)
        batch, heads, length, keys = x.shape
        marks = F.dropout(paddle.ones([batch, heads * self.ranks, length, keys], dtype=x.dtype), self.p)
        return x * marks[:, self.rank * heads : (self.rank + 1) * heads]

    def random_bits(self, shape):
        batch, heads, length, keys = shape
        bits = super().random_bits([batch, heads * self.ranks, length, keys])
        return bits[:, self.rank * heads : (self.rank + 1) * heads]
