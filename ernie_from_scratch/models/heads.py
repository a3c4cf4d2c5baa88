"""The pretraining heads: masked language modelling, and a sentence pair task (BERT, 3.1; ALBERT, 3.1).

B batch, L sequence, H hidden, V vocabulary, M masked positions.
"""

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import ACTIVATIONS, LayerNorm, Linear, transposed_linear


class TiedDecoder(nn.Layer):
    """Logits over the vocabulary: the output matrix is the embedding matrix (Press and Wolf, 2017)."""

    def __init__(self, embedding_weights: Tensor):
        super().__init__()
        self.weight = embedding_weights  # [V, H], the same parameter as the word embeddings
        self.bias = self.create_parameter([embedding_weights.shape[0]], is_bias=True)  # [V]

    def forward(self, hidden_states: Tensor) -> Tensor:
        return transposed_linear(hidden_states, self.weight, self.bias)  # [..., V]

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of labels [...] under this decoder's logits [..., V]; see `mean_cross_entropy`."""
        return mean_cross_entropy(logits, labels)


class ErnieLMPredictionHead(nn.Layer):
    """Logits over the vocabulary, at the masked positions only when these are given."""

    def __init__(self, config: EncoderConfig, embedding_weights: Tensor):
        super().__init__()
        self.transform = Linear(config.hidden_size, config.hidden_size, weight_attr=normal_weights(config))
        self.activation = ACTIVATIONS[config.hidden_act]
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.decoder = TiedDecoder(embedding_weights)
        self.decoder_bias = self.decoder.bias  # PaddleNLP's files hold the bias under both names

    def forward(self, hidden_states: Tensor, masked_positions: Tensor | None = None) -> Tensor:
        """Takes [B, L, H] and positions [M] among all B * L tokens; gives [M, V], or [B, L, V] without."""
        if masked_positions is not None:
            # About one token in seven is masked: gathering them first saves most of the product with [V, H].
            hidden_states = hidden_states.reshape([-1, hidden_states.shape[-1]])  # [B * L, H]
            hidden_states = paddle.gather(hidden_states, masked_positions)  # [M, H]
        hidden_states = self.layer_norm(self.activation(self.transform(hidden_states)))
        return self.decoder(hidden_states)


class ErniePretrainingHeads(nn.Layer):
    """The masked LM head and the sentence pair head (SOP or NSP)."""

    def __init__(self, config: EncoderConfig, embedding_weights: Tensor):
        super().__init__()
        self.predictions = ErnieLMPredictionHead(config, embedding_weights)
        self.seq_relationship = Linear(config.hidden_size, 2, weight_attr=normal_weights(config))

    def forward(
        self, sequence_output: Tensor, pooled_output: Tensor, masked_positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gives masked LM logits [M, V] (or [B, L, V]) and sentence pair logits [B, 2]."""
        return self.predictions(sequence_output, masked_positions), self.seq_relationship(pooled_output)


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p(label) over the labels that are not negative; negative ones (-100, -1) are ignored.

    logits [..., C], labels [...] int64; 0 if all labels are ignored. Not `F.cross_entropy(reduction="mean")`,
    which divides by the number of all labels.
    """
    logits, labels = logits.reshape([-1, logits.shape[-1]]), labels.reshape([-1])  # [T, C], [T]
    valid = labels >= 0  # [T]
    losses = F.cross_entropy(
        logits, paddle.where(valid, labels, paddle.full_like(labels, -100)), reduction="none"
    )
    return losses.sum() / valid.astype(losses.dtype).sum().clip(min=1)
