"""From token ids to vectors: ERNIE's input representation (ERNIE 1.0, section 3.2).

B batch, L sequence, H hidden.
"""

import paddle
from paddle import Tensor, nn

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import Dropout, LayerNorm


class ErnieEmbeddings(nn.Layer):
    """Embeddings of word, position, token type and task type: summed, normalized, dropped out."""

    def __init__(self, config: ErnieConfig):
        super().__init__()
        self.pad_token_id = config.pad_token_id
        self.task_id = config.task_id
        self.word_embeddings = nn.Embedding(
            config.vocab_size,
            config.hidden_size,
            padding_idx=config.pad_token_id,  # a vector of zeros without a gradient
            weight_attr=normal_weights(config),
        )
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, config.hidden_size, weight_attr=normal_weights(config)
        )
        self.token_type_embeddings = None
        if config.type_vocab_size > 0:
            self.token_type_embeddings = nn.Embedding(
                config.type_vocab_size, config.hidden_size, weight_attr=normal_weights(config)
            )
        self.task_type_embeddings = None
        if config.use_task_id:
            self.task_type_embeddings = nn.Embedding(
                config.task_type_vocab_size, config.hidden_size, weight_attr=normal_weights(config)
            )
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        task_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_length: int = 0,
    ) -> Tensor:
        """Takes ids [B, L] int64, or word vectors `inputs_embeds` [B, L, H]; gives [B, L, H].

        By default token types are 0, task types are `config.task_id`, and positions count from `past_length`.
        """
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds  # [B, L, H]
        length = words.shape[1]
        if position_ids is None:
            position_ids = paddle.arange(past_length, past_length + length).unsqueeze(0)  # [1, L]
        embeddings = words + self.position_embeddings(position_ids)  # [B, L, H]
        if self.token_type_embeddings is not None:
            if token_type_ids is None:
                token_type_ids = paddle.zeros([1, length], dtype="int64")
            embeddings = embeddings + self.token_type_embeddings(token_type_ids)  # [B, L, H]
        if self.task_type_embeddings is not None:
            if task_type_ids is None:
                task_type_ids = paddle.full([1, length], self.task_id, dtype="int64")
            embeddings = embeddings + self.task_type_embeddings(task_type_ids)  # [B, L, H]
        return self.dropout(self.layer_norm(embeddings))
