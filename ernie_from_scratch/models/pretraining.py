"""ERNIE with the heads that it is pretrained with.

B batch, L sequence, H hidden, V vocabulary, M masked positions.
"""

from paddle import Tensor, nn

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.heads import ErnieLMPredictionHead, ErniePretrainingHeads, mean_cross_entropy
from ernie_from_scratch.models.outputs import MaskedLMOutput, PretrainingOutput
from ernie_from_scratch.models.pretrained import Batch
from ernie_from_scratch.models.task_model import TaskModel


class ErnieForPretraining(TaskModel):
    """ERNIE with the masked LM head and the sentence pair head.

    forward takes `masked_positions` [M], flat into B x L, and gives masked LM logits there [M, V] (without them at
    all positions [B, L, V]) and sentence pair logits [B, 2]. With `labels` (one for each row of masked LM logits,
    negative ones are ignored) the loss comes first: the masked LM mean, plus the sentence pair mean where
    `next_sentence_label` [B] is given.
    """

    backbone_class = ErnieModel
    output_class = PretrainingOutput
    vocabulary_outputs = ("prediction_logits",)
    lm_head_name = "cls.predictions"
    task_inputs = ("masked_positions",)
    label_names = ("labels", "next_sentence_label")

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.cls = ErniePretrainingHeads(config, self.backbone.embeddings.word_embeddings.weight)

    def head(self, states: Tensor, batch: Batch) -> PretrainingOutput:
        pooled = self.backbone.head(states, batch)  # [B, H]
        masked_lm_logits, pair_logits = self.cls(states, pooled, batch.get("masked_positions"))
        return PretrainingOutput(prediction_logits=masked_lm_logits, seq_relationship_logits=pair_logits)

    def loss(self, output: PretrainingOutput, batch: Batch) -> Tensor:
        masked_lm, pair = self.losses(output, batch["labels"], batch.get("next_sentence_label"))
        return masked_lm if pair is None else masked_lm + pair

    def losses(
        self, output: PretrainingOutput, labels: Tensor, pair_labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Masked LM loss and, with labels [B], sentence pair loss: means over the labels that are not negative."""
        masked_lm = self.masked_lm_loss(output.prediction_logits, labels)
        if pair_labels is None:
            return masked_lm, None
        return masked_lm, mean_cross_entropy(output.seq_relationship_logits, pair_labels)

    def masked_lm_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.cls.predictions.decoder.loss(logits, labels)


class ErnieOnlyMLMHead(nn.Layer):
    """The masked LM head alone."""

    def __init__(self, config: EncoderConfig, embedding_weights: Tensor):
        super().__init__()
        self.predictions = ErnieLMPredictionHead(config, embedding_weights)

    def forward(self, sequence_output: Tensor, masked_positions: Tensor | None = None) -> Tensor:
        return self.predictions(sequence_output, masked_positions)  # [M, V] or [B, L, V]


class ErnieForMaskedLM(TaskModel):
    """ERNIE with the masked LM head: logits as of ErnieForPretraining; with `labels`, (masked LM mean, logits)."""

    backbone_class = ErnieModel
    output_class = MaskedLMOutput
    vocabulary_outputs = ("logits",)
    lm_head_name = "cls.predictions"
    task_inputs = ("masked_positions",)

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.cls = ErnieOnlyMLMHead(config, self.backbone.embeddings.word_embeddings.weight)

    def head(self, states: Tensor, batch: Batch) -> MaskedLMOutput:
        return MaskedLMOutput(logits=self.cls(states, batch.get("masked_positions")))

    def loss(self, output: MaskedLMOutput, batch: Batch) -> Tensor:
        return self.cls.predictions.decoder.loss(output.logits, batch["labels"])
