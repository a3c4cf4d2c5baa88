"""Attention and a feed-forward network, stacked (Attention Is All You Need, section 3.1; normalized after each step).

B batch, L sequence, H hidden.
"""

from paddle import nn
from paddle.distributed.fleet.utils import recompute

from ernie_from_scratch.models.attention import MultiHeadAttention
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import ACTIVATIONS, Dropout, LayerNorm, Linear


class ErnieEncoderLayer(nn.Layer):
    """Tokens look at each other, then each thinks for itself; what each step found is added to what was known."""

    def __init__(self, config):
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.self_attn = MultiHeadAttention(config)
        self.linear1 = Linear(hidden, inner, weight_attr=normal_weights(config))
        self.linear2 = Linear(inner, hidden, weight_attr=normal_weights(config))
        self.norm1 = LayerNorm(hidden, epsilon=config.layer_norm_eps)
        self.norm2 = LayerNorm(hidden, epsilon=config.layer_norm_eps)
        self.dropout1 = Dropout(config.hidden_dropout_prob)
        self.dropout2 = Dropout(config.hidden_dropout_prob)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden_states, mask=None, past_key_value=None):
        """Gives the new states [B, L, H], the attention weights, and keys and values, as MultiHeadAttention does."""
        attended, weights, key_value = self.self_attn(hidden_states, mask, past_key_value)  # [B, L, H]
        hidden_states = self.norm1(hidden_states + self.dropout1(attended))  # [B, L, H]
        thought = self.linear2(self.activation(self.linear1(hidden_states)))  # [B, L, H]
        hidden_states = self.norm2(hidden_states + self.dropout2(thought))  # [B, L, H]
        return hidden_states, weights, key_value


class ErnieEncoder(nn.Layer):
    """The layers one after the other."""

    def __init__(self, config):
        super().__init__()
        self.layers = nn.LayerList([ErnieEncoderLayer(config) for _ in range(config.num_hidden_layers)])
        self.enable_recompute = config.enable_recompute

    def forward(self, hidden_states, mask=None, past_key_values=None):
        """Gives, each as a tuple: the states before and after every layer, the attentions, the keys and values."""
        all_states, attentions, key_values = [hidden_states], [], []
        for number, layer in enumerate(self.layers):
            past = past_key_values[number] if past_key_values is not None else None
            if self.enable_recompute and self.training:
                hidden_states, weights, key_value = recompute(layer, hidden_states, mask, past)
            else:
                hidden_states, weights, key_value = layer(hidden_states, mask, past)
            all_states.append(hidden_states)
            attentions.append(weights)
            key_values.append(key_value)
        return tuple(all_states), tuple(attentions), tuple(key_values)
