"""The ERNIE network without a task.

B batch, L sequence, H hidden, N heads, K keys (L, plus cached ones).
"""

from collections.abc import Iterable

import paddle
from paddle import Tensor, nn

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.models.cpu.packing import Packing
from ernie_from_scratch.models.embeddings import ErnieEmbeddings
from ernie_from_scratch.models.encoder import ErnieEncoder
from ernie_from_scratch.models.masks import additive_mask
from ernie_from_scratch.models.outputs import EncoderOutput
from ernie_from_scratch.models.pooler import ErniePooler
from ernie_from_scratch.models.pretrained import Batch, PretrainedModel


class ErnieModel(PretrainedModel):
    """Embeddings, encoder and pooler (ERNIE 1.0, section 3.1)."""

    def __init__(self, config: ErnieConfig):
        super().__init__(config)
        self.embeddings = ErnieEmbeddings(config)
        self.encoder = ErnieEncoder(config)
        self.pooler = ErniePooler(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        task_type_ids: Tensor | None = None,
        past_key_values: tuple | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = False,
    ) -> EncoderOutput | tuple:
        """Takes ids [B, L] int64 or `inputs_embeds` [B, L, H], a mask as `additive_mask` describes it (without
        one, padding ids are hidden), and `past_key_values` of an earlier call with `use_cache`.

        Gives (sequence output [B, L, H], pooled output [B, H]), then what was asked for: keys and values of
        each layer, hidden states of the embeddings and of each layer [B, L, H], attention weights [B, N, L, K].
        Raises UserError unless exactly one of `input_ids` and `inputs_embeds` is given.
        """
        batch = dict(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
        )
        states, key_values, hidden_states, attentions = self.run_layers(
            self.embed(batch),
            batch,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        output = EncoderOutput(
            last_hidden_state=states,  # [B, L, H]
            pooler_output=self.head(states, batch),  # [B, H]
            past_key_values=key_values,
            hidden_states=hidden_states,
            attentions=attentions,
        )
        return output if return_dict else output.to_tuple()

    def embed(self, batch: Batch) -> Tensor:
        input_ids, inputs_embeds = batch.get("input_ids"), batch.get("inputs_embeds")
        if (input_ids is None) == (inputs_embeds is None):
            raise UserError(
                f"two inputs or none: {type(self).__name__}; give either input_ids or inputs_embeds"
            )
        return self.embeddings(
            input_ids,
            batch.get("token_type_ids"),
            batch.get("position_ids"),
            batch.get("task_type_ids"),
            inputs_embeds,
            _past_length(batch),
        )  # [B, L, H]

    def run_layers(
        self,
        states: Tensor,
        batch: Batch,
        layers: Iterable[nn.Layer] | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> tuple:
        mask = self.attention_mask(batch)
        additive, packing = None, None
        layers = list(self.layers) if layers is None else list(layers)
        if mask is not None:
            additive = additive_mask(mask, layers[0].linear1.weight.dtype)  # once, for all layers
        every_layer = use_cache or output_hidden_states or output_attentions or _past_length(batch)
        if (
            self.config.pack_rows
            and mask is not None
            and additive is not None
            and mask.ndim == 2
            and not every_layer
        ):
            packing = Packing(mask, additive.dtype)
            additive, states = packing.mask, packing.pack(states)  # [R, 1, P, P], [1, T, H]
        states, *rest = self.encoder(
            states,
            additive,
            batch.get("past_key_values"),
            use_cache,
            output_hidden_states,
            output_attentions,
            packing,
            layers,
        )
        return (states if packing is None else packing.unpack(states)), *rest  # [B, L, H]

    def attention_mask(self, batch: Batch) -> Tensor | None:
        """The mask of the batch [B, K]; where it has none, padding ids are hidden."""
        mask, input_ids = batch.get("attention_mask"), batch.get("input_ids")
        if mask is not None or input_ids is None:
            return mask
        mask = (input_ids != self.config.pad_token_id).astype("int64")  # [B, L]
        past_length = _past_length(batch)
        if past_length:
            past_mask = paddle.ones([input_ids.shape[0], past_length], dtype="int64")
            mask = paddle.concat([past_mask, mask], axis=1)  # [B, K]
        return mask

    def head(self, states: Tensor, batch: Batch) -> Tensor:
        return self.pooler(states)  # [B, H]


def _past_length(batch: Batch) -> int:
    past_key_values = batch.get("past_key_values")
    return 0 if past_key_values is None else past_key_values[0][0].shape[2]
