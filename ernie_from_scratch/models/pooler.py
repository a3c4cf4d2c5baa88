"""One vector for the whole sequence (BERT, section 3: the final state of [CLS]).

B batch, L sequence, H hidden.
"""

from paddle import Tensor, nn

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import ACTIVATIONS, Linear


class ErniePooler(nn.Layer):
    """The first token's state, through one more layer."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, weight_attr=normal_weights(config))
        self.activation = ACTIVATIONS[config.pool_act]

    def forward(self, hidden_states: Tensor) -> Tensor:
        first_token = hidden_states[:, 0]  # [B, H]
        return self.activation(self.dense(first_token))  # [B, H]
