"""ERNIE with a head for each kind of task that it is fine-tuned on (BERT, section 4 and figure 4).

B batch, L sequence, H hidden, C classes, A choices.
"""

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.heads import mean_cross_entropy
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import Dropout, Linear
from ernie_from_scratch.models.outputs import QuestionAnsweringOutput, TaskOutput
from ernie_from_scratch.models.pretrained import Batch
from ernie_from_scratch.models.task_model import TaskModel


def classifier_dropout(config: EncoderConfig) -> Dropout:
    if config.classifier_dropout is None:
        return Dropout(config.hidden_dropout_prob)
    return Dropout(config.classifier_dropout)


class ErnieForSequenceClassification(TaskModel):
    """One label, one number, or several labels for a text, from the pooled [CLS] state: logits [B, C]."""

    backbone_class = ErnieModel

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.dropout = classifier_dropout(config)
        self.classifier = Linear(config.hidden_size, config.num_labels, weight_attr=normal_weights(config))

    def head(self, states: Tensor, batch: Batch) -> TaskOutput:
        pooled = self.backbone.head(states, batch)  # [B, H]
        return TaskOutput(logits=self.classifier(self.dropout(pooled)))  # [B, C]

    def loss(self, output: TaskOutput, batch: Batch) -> Tensor:
        """Squared error for one output, cross-entropy for class numbers [B], binary one for floats [B, C].

        `config.problem_type` decides, where it is set: "regression", "single_label_classification" or
        "multi_label_classification".
        """
        logits, labels = output.logits, batch["labels"]
        integers = labels.dtype in (paddle.int64, paddle.int32)
        kind = self.config.problem_type or (
            "regression" if logits.shape[-1] == 1
            else "single_label_classification" if integers
            else "multi_label_classification"
        )  # fmt: skip
        if kind == "regression":
            return F.mse_loss(logits, labels.reshape(logits.shape).astype(logits.dtype))
        if kind == "single_label_classification":
            return mean_cross_entropy(logits, labels)
        return F.binary_cross_entropy_with_logits(logits, labels)


class ErnieForTokenClassification(TaskModel):
    """A label for each token, as in named entity recognition: logits [B, L, C]; negative labels are ignored."""

    backbone_class = ErnieModel

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.dropout = classifier_dropout(config)
        self.classifier = Linear(config.hidden_size, config.num_labels, weight_attr=normal_weights(config))

    def head(self, states: Tensor, batch: Batch) -> TaskOutput:
        return TaskOutput(logits=self.classifier(self.dropout(states)))  # [B, L, C]

    def loss(self, output: TaskOutput, batch: Batch) -> Tensor:
        return mean_cross_entropy(output.logits, batch["labels"])


class ErnieForQuestionAnswering(TaskModel):
    """Where the answer starts and where it ends among all tokens: start and end logits [B, L].

    Labels are `start_positions` and `end_positions` [B]; without both there is no loss.
    """

    backbone_class = ErnieModel
    output_class = QuestionAnsweringOutput
    label_names = ("start_positions", "end_positions")

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.classifier = Linear(config.hidden_size, 2, weight_attr=normal_weights(config))

    def head(self, states: Tensor, batch: Batch) -> QuestionAnsweringOutput:
        start_logits, end_logits = self.classifier(states).unbind(axis=-1)  # [B, L] each
        return QuestionAnsweringOutput(start_logits=start_logits, end_logits=end_logits)

    def loss(self, output: QuestionAnsweringOutput, batch: Batch) -> Tensor | None:
        if batch.get("end_positions") is None:
            return None
        start = self.position_loss(output.start_logits, batch["start_positions"])
        return (start + self.position_loss(output.end_logits, batch["end_positions"])) / 2

    def position_loss(self, logits: Tensor, positions: Tensor) -> Tensor:
        """positions [B]; one that lies beyond the sequence is ignored."""
        positions = positions.reshape([-1]).clip(min=0)  # [B]
        inside = positions < logits.shape[1]  # [B]
        return mean_cross_entropy(logits, paddle.where(inside, positions, paddle.full_like(positions, -100)))


class ErnieForMultipleChoice(TaskModel):
    """Which of A choices fits: each is a sequence of its own, inputs are [B, A, L]. Gives logits [B, A]."""

    backbone_class = ErnieModel

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.num_choices = config.num_choices or 2
        self.dropout = classifier_dropout(config)
        self.classifier = Linear(config.hidden_size, 1, weight_attr=normal_weights(config))

    def backbone_batch(self, batch: Batch) -> Batch:
        """[B, A, L, ...] -> [B * A, L, ...]"""

        def flat(name, kept=1):
            inputs = batch.get(name)
            return None if inputs is None else inputs.reshape([-1, *inputs.shape[-kept:]])

        names = ("input_ids", "token_type_ids", "position_ids", "attention_mask")
        return {name: flat(name) for name in names} | {"inputs_embeds": flat("inputs_embeds", kept=2)}

    def head(self, states: Tensor, batch: Batch) -> TaskOutput:
        pooled = self.backbone.head(states, batch)  # [B * A, H]
        logits = self.classifier(self.dropout(pooled))  # [B * A, 1]
        return TaskOutput(logits=logits.reshape([-1, self.num_choices]))  # [B, A]

    def loss(self, output: TaskOutput, batch: Batch) -> Tensor:
        return mean_cross_entropy(output.logits, batch["labels"])
