"""ERNIE with a head for each kind of task it is fine-tuned on (BERT, section 4 and figure 4).

B batch, L sequence, H hidden, C classes, A answers to choose from.
"""

import paddle
import paddle.nn.functional as F

from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.heads import mean_cross_entropy
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import Dropout, Linear
from ernie_from_scratch.models.outputs import QuestionAnsweringOutput, TaskOutput
from ernie_from_scratch.models.pretrained import PretrainedModel


def classifier_dropout(config):
    if config.classifier_dropout is None:
        return Dropout(config.hidden_dropout_prob)
    return Dropout(config.classifier_dropout)


class ErnieForSequenceClassification(PretrainedModel):
    """One label, one number, or several labels for the whole text, from the pooled [CLS] state."""

    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = Linear(config.hidden_size, config.num_labels, weight_attr=normal_weights(config))

    def loss(self, logits, labels):
        """Squared error for one output, cross-entropy for class numbers [B], binary one for floats [B, C].

        `config.problem_type` decides, where it is set: "regression", "single_label_classification" or
        "multi_label_classification".
        """
        whole_numbers = labels.dtype in (paddle.int64, paddle.int32)
        kind = self.config.problem_type or (
            "regression" if logits.shape[-1] == 1
            else "single_label_classification" if whole_numbers
            else "multi_label_classification"
        )  # fmt: skip
        if kind == "regression":
            return F.mse_loss(logits, labels.reshape(logits.shape).astype(logits.dtype))
        if kind == "single_label_classification":
            return mean_cross_entropy(logits, labels)
        return F.binary_cross_entropy_with_logits(logits, labels)

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        labels=None,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Gives logits [B, C]; with `labels`, (loss, logits)."""
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
        logits = self.classifier(self.dropout(encoded.pooler_output))  # [B, C]
        output = TaskOutput(
            loss=self.loss(logits, labels) if labels is not None else None,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.unwrap()


class ErnieForTokenClassification(PretrainedModel):
    """A label for each token, as in named entity recognition."""

    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = Linear(config.hidden_size, config.num_labels, weight_attr=normal_weights(config))

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        labels=None,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Gives logits [B, L, C]; with `labels` [B, L] (negative ones are left out), (loss, logits)."""
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
        logits = self.classifier(self.dropout(encoded.last_hidden_state))  # [B, L, C]
        output = TaskOutput(
            loss=mean_cross_entropy(logits, labels) if labels is not None else None,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.unwrap()


class ErnieForQuestionAnswering(PretrainedModel):
    """Where the answer starts and where it ends, as two choices among all tokens."""

    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.classifier = Linear(config.hidden_size, 2, weight_attr=normal_weights(config))

    def loss(self, logits, positions):
        """positions [B]; an answer that lies beyond the sequence is left out of the mean."""
        positions = positions.reshape([-1]).clip(min=0)  # [B]
        inside = positions < logits.shape[1]  # [B]
        return mean_cross_entropy(logits, paddle.where(inside, positions, paddle.full_like(positions, -100)))

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        start_positions=None,
        end_positions=None,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Gives start and end logits [B, L]; with both positions [B], (loss, start logits, end logits)."""
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
        start_logits, end_logits = self.classifier(encoded.last_hidden_state).unbind(axis=-1)  # [B, L] each
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (self.loss(start_logits, start_positions) + self.loss(end_logits, end_positions)) / 2
        output = QuestionAnsweringOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.to_tuple()


class ErnieForMultipleChoice(PretrainedModel):
    """Which of A answers fits: each is read together with the question, as a sequence of its own."""

    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.num_choices = config.num_choices or 2
        self.dropout = classifier_dropout(config)
        self.classifier = Linear(config.hidden_size, 1, weight_attr=normal_weights(config))

    def forward(
        self,
        input_ids=None,
        token_type_ids=None,
        position_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        labels=None,
        output_hidden_states=False,
        output_attentions=False,
        return_dict=False,
    ):
        """Takes inputs [B, A, L]; gives logits [B, A]; with `labels` [B], (loss, logits)."""

        def flat(inputs, kept=1):  # [B, A, L, ...] -> [B * A, L, ...]
            return None if inputs is None else inputs.reshape([-1, *inputs.shape[-kept:]])

        encoded = self.ernie(
            flat(input_ids),
            flat(token_type_ids),
            flat(position_ids),
            flat(attention_mask),
            inputs_embeds=flat(inputs_embeds, kept=2),
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))  # [B * A, 1]
        logits = logits.reshape([-1, self.num_choices])  # [B, A]
        output = TaskOutput(
            loss=mean_cross_entropy(logits, labels) if labels is not None else None,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.unwrap()
