"""What pretraining asks: which word was here, are the two sentences in order (BERT, 3.1; ALBERT, 3.1).

B batch, L sequence, H hidden, V vocabulary, M masked positions.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import ACTIVATIONS, LayerNorm, Linear, linear


class TiedDecoder(nn.Layer):
    """A score for each word: the output matrix is the embedding matrix (Press and Wolf, 2017)."""

    def __init__(self, embedding_weights):
        super().__init__()
        self.weight = embedding_weights  # [V, H], the same parameter as the word embeddings
        self.bias = self.create_parameter([embedding_weights.shape[0]], is_bias=True)  # [V]

    def forward(self, hidden_states):
        return linear(hidden_states, self.weight, self.bias, transpose_weight=True)  # [..., V]


class ErnieLMPredictionHead(nn.Layer):
    """A score for each word of the vocabulary, at the masked positions only when these are given."""

    def __init__(self, config, embedding_weights):
        super().__init__()
        self.transform = Linear(config.hidden_size, config.hidden_size, weight_attr=normal_weights(config))
        self.activation = ACTIVATIONS[config.hidden_act]
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.decoder = TiedDecoder(embedding_weights)
        self.decoder_bias = self.decoder.bias  # PaddleNLP's files hold the bias under both names

    def forward(self, hidden_states, masked_positions=None):
        """Takes [B, L, H] and positions [M] among all B * L tokens; gives [M, V], or [B, L, V] without."""
        if masked_positions is not None:
            # About one token in seven is masked: choosing them first saves most of the product with [V, H].
            hidden_states = hidden_states.reshape([-1, hidden_states.shape[-1]])  # [B * L, H]
            hidden_states = paddle.gather(hidden_states, masked_positions)  # [M, H]
        hidden_states = self.layer_norm(self.activation(self.transform(hidden_states)))
        return self.decoder(hidden_states)


class ErniePretrainingHeads(nn.Layer):
    """Both questions of pretraining."""

    def __init__(self, config, embedding_weights):
        super().__init__()
        self.predictions = ErnieLMPredictionHead(config, embedding_weights)
        self.seq_relationship = Linear(config.hidden_size, 2, weight_attr=normal_weights(config))

    def forward(self, sequence_output, pooled_output, masked_positions=None):
        """Gives word scores [M, V] (or [B, L, V]) and sentence order scores [B, 2]."""
        return self.predictions(sequence_output, masked_positions), self.seq_relationship(pooled_output)


def mean_cross_entropy(scores, labels):
    """Mean of -log p(label) over labels that are not negative; -100 and -1 mark what is not asked.

    scores [..., C], labels [...] int64; 0 if all are negative. Not `F.cross_entropy(reduction="mean")`: it
    divides by all labels.
    """
    scores, labels = scores.reshape([-1, scores.shape[-1]]), labels.reshape([-1])  # [T, C], [T]
    asked = labels >= 0  # [T]
    losses = F.cross_entropy(
        scores, paddle.where(asked, labels, paddle.full_like(labels, -100)), reduction="none"
    )
    return losses.sum() / asked.astype(losses.dtype).sum().clip(min=1)
