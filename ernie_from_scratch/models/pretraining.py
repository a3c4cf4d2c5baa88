"""ERNIE with the heads it is pretrained with.

B batch, L sequence, H hidden, V vocabulary, M masked positions.
"""

from paddle import nn

from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.heads import ErnieLMPredictionHead, ErniePretrainingHeads, mean_cross_entropy
from ernie_from_scratch.models.outputs import PretrainingOutput, TaskOutput
from ernie_from_scratch.models.pretrained import PretrainedModel


class ErnieForPretraining(PretrainedModel):
    """ERNIE with both pretraining heads."""

    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.cls = ErniePretrainingHeads(config, self.ernie.embeddings.word_embeddings.weight)

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        masked_positions=None,
        inputs_embeds=None,
        labels=None,
        next_sentence_label=None,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Gives word scores at `masked_positions` [M, V] (all [B, L, V] without), and order scores [B, 2].

        With `labels` (one for each row of word scores, negative where nothing is asked) the loss comes
        first: the masked LM mean, plus the sentence order mean where `next_sentence_label` [B] is given.
        """
        encoded = self.ernie(
            input_ids,
            token_type_ids,
            position_ids,
            attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        word_scores, order_scores = self.cls(
            encoded.last_hidden_state, encoded.pooler_output, masked_positions
        )
        loss = None
        if labels is not None:
            loss = mean_cross_entropy(word_scores, labels)
            if next_sentence_label is not None:
                loss = loss + mean_cross_entropy(order_scores, next_sentence_label)
        output = PretrainingOutput(
            loss=loss,
            prediction_logits=word_scores,
            seq_relationship_logits=order_scores,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.to_tuple()


class ErnieOnlyMLMHead(nn.Layer):
    """The word question alone."""

    def __init__(self, config, embedding_weights):
        super().__init__()
        self.predictions = ErnieLMPredictionHead(config, embedding_weights)

    def forward(self, sequence_output, masked_positions=None):
        return self.predictions(sequence_output, masked_positions)  # [M, V] or [B, L, V]


class ErnieForMaskedLM(PretrainedModel):
    """ERNIE with the masked LM head."""

    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.cls = ErnieOnlyMLMHead(config, self.ernie.embeddings.word_embeddings.weight)

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        masked_positions=None,
        inputs_embeds=None,
        labels=None,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Gives word scores as ErnieForPretraining does; with `labels`, (masked LM mean, word scores)."""
        encoded = self.ernie(
            input_ids,
            token_type_ids,
            position_ids,
            attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        word_scores = self.cls(encoded.last_hidden_state, masked_positions)
        output = TaskOutput(
            loss=mean_cross_entropy(word_scores, labels) if labels is not None else None,
            logits=word_scores,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.unwrap()
