"""Attention and a feed-forward network, stacked (Attention Is All You Need, section 3.1).

B batch, L sequence, H hidden.
"""

from collections.abc import Iterable

from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.attention import MultiHeadAttention
from ernie_from_scratch.models.cpu.packing import Packing
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import ACTIVATIONS, Dropout, LayerNorm, Linear


class ErnieEncoderLayer(nn.Layer):
    """Self-attention, then a feed-forward network on each token; each is added to its input and normalized."""

    def __init__(self, config: EncoderConfig):
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

    def forward(
        self,
        hidden_states: Tensor,
        mask: Tensor | None = None,
        past_key_value: tuple[Tensor, Tensor] | None = None,
        output_attentions: bool = False,
        packing: Packing | None = None,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """Takes and gives what MultiHeadAttention does: states, attention weights, keys and values."""
        attended, weights, key_value = self.self_attn(
            hidden_states, mask, past_key_value, output_attentions, packing
        )
        hidden_states = self.norm1(hidden_states + self.dropout1(attended))  # [B, L, H]
        output = self.linear2(self.activation(self.linear1(hidden_states)))  # [B, L, H]
        hidden_states = self.norm2(hidden_states + self.dropout2(output))  # [B, L, H]
        return hidden_states, weights, key_value


class ErnieEncoder(nn.Layer):
    """The layers one after the other."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.layers = nn.LayerList([ErnieEncoderLayer(config) for _ in range(config.num_hidden_layers)])
        self.enable_recompute = config.enable_recompute

    def forward(
        self,
        hidden_states: Tensor,
        mask: Tensor | None = None,
        past_key_values: tuple | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        packing: Packing | None = None,
        layers: Iterable[nn.Layer] | None = None,
    ) -> tuple[Tensor, tuple | None, tuple | None, tuple | None]:
        """Runs all layers, or those given as `layers`.

        Gives the last states [B, L, H] and three tuples, None where not wanted: keys and values of each
        layer, states before and after each layer, attention weights of each layer.
        """
        key_values, all_states, attentions = [], [hidden_states], []
        recomputing = self.enable_recompute and self.training and not use_cache and not output_attentions
        for number, layer in enumerate(self.layers if layers is None else layers):
            past = past_key_values[number] if past_key_values is not None else None
            if recomputing:

                def states_alone(states, layer=layer):  # recomputation passes nothing but tensors
                    return layer(states, mask, packing=packing)[0]

                hidden_states = recompute(states_alone, hidden_states)
            else:
                hidden_states, weights, key_value = layer(
                    hidden_states, mask, past, output_attentions, packing
                )
            if use_cache:
                key_values.append(key_value)
            if output_hidden_states:
                all_states.append(hidden_states)
            if output_attentions:
                attentions.append(weights)
        return (
            hidden_states,
            tuple(key_values) if use_cache else None,
            tuple(all_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )
