"""ERNIE whole, before any task.

B batch, L sequence, H hidden, N heads, K keys (L, plus cached ones).
"""

import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.models.cpu.packing import Packing
from ernie_from_scratch.models.embeddings import ErnieEmbeddings
from ernie_from_scratch.models.encoder import ErnieEncoder
from ernie_from_scratch.models.masks import additive_mask
from ernie_from_scratch.models.outputs import EncoderOutput
from ernie_from_scratch.models.pooler import ErniePooler
from ernie_from_scratch.models.pretrained import PretrainedModel


class ErnieModel(PretrainedModel):
    """Embeddings, encoder and pooler (ERNIE 1.0, section 3.1)."""

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = ErnieEmbeddings(config)
        self.encoder = ErnieEncoder(config)
        self.pooler = ErniePooler(config)

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        task_type_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=False,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Takes ids [B, L] int64 or `inputs_embeds` [B, L, H], a mask as `additive_mask` describes it (without
        one, padding ids are hidden), and `past_key_values` of an earlier call with `use_cache`.

        Gives (sequence output [B, L, H], pooled output [B, H]), then what was asked for: keys and values of
        each layer, hidden states of the embeddings and of each layer [B, L, H], attentions [B, N, L, K].
        Raises UserError unless exactly one of `input_ids` and `inputs_embeds` is given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise UserError("two inputs or none: ErnieModel; give either input_ids or inputs_embeds")
        past_length = 0 if past_key_values is None else past_key_values[0][0].shape[2]
        if attention_mask is None and input_ids is not None:
            attention_mask = (input_ids != self.embeddings.pad_token_id).astype("int64")  # [B, L]
            if past_length:
                past_mask = paddle.ones([input_ids.shape[0], past_length], dtype="int64")
                attention_mask = paddle.concat([past_mask, attention_mask], axis=1)  # [B, K]
        embeddings = self.embeddings(
            input_ids, token_type_ids, position_ids, task_type_ids, inputs_embeds, past_length
        )  # [B, L, H]

        packing, mask = None, None
        if attention_mask is not None:
            dtype = next(iter(self.encoder.layers)).linear1.weight.dtype
            mask = additive_mask(attention_mask, dtype)  # once, for all layers
        each_layer = use_cache or output_hidden_states or output_attentions or past_length
        if self.config.pack_rows and mask is not None and attention_mask.ndim == 2 and not each_layer:
            packing = mask = Packing(attention_mask, mask.dtype)
            embeddings = packing.pack(embeddings)  # [1, T, H], without padding
        sequence_output, key_values, hidden_states, attentions = self.encoder(
            embeddings, mask, past_key_values, use_cache, output_hidden_states, output_attentions
        )
        if packing is not None:
            sequence_output = packing.unpack(sequence_output)  # [B, L, H]
        output = EncoderOutput(
            last_hidden_state=sequence_output,  # [B, L, H]
            pooler_output=self.pooler(sequence_output),  # [B, H]
            past_key_values=key_values,
            hidden_states=hidden_states,
            attentions=attentions,
        )
        return output if return_dict else output.to_tuple()
