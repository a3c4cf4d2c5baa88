"""Masked language modelling, with a sentence pair task or without: how ERNIE 1.0 and BERT are pretrained.

B batch, L sequence, M masked positions, V vocabulary.
"""

from typing import Any

from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.models.outputs import PretrainingOutput
from ernie_from_scratch.objectives.base import Loss, Objective

PAIR_LOSSES = {"sop": "sop_loss", "nsp": "nsp_loss", "none": None}


class MaskedLMWithPair(Objective):
    """Mean cross-entropy over the M masked positions, plus that of the sentence pairs (Sun et al. 2019, section 3;
    Devlin et al. 2018, 3.1), both in nats. Rows without a pair label (-100) are left out of the second mean.

    Args:
        sentence_pairs: "sop", "nsp" or "none".
    """

    name = "mlm_pair"
    input_keys = (
        "input_ids",  # [B, L]
        "token_type_ids",  # [B, L]
        "attention_mask",  # [B, L], or None when nothing is padded
        "masked_positions",  # [M], flat into B x L
    )

    def __init__(self, sentence_pairs: str = "sop"):
        self.sentence_pairs, self.pair_loss = sentence_pairs, PAIR_LOSSES[sentence_pairs]
        self.metric_names = ("lm_loss", self.pair_loss) if self.pair_loss else ("lm_loss",)

    def loss(self, network: Any, output: PretrainingOutput, batch: Batch) -> Loss:
        pair_labels = batch["next_sentence_label"] if self.pair_loss else None  # [B]
        masked_lm, pair = network.losses(output, batch["masked_lm_labels"], pair_labels)
        if pair is None:
            return Loss(masked_lm, {"lm_loss": masked_lm})
        return Loss(masked_lm + pair, {"lm_loss": masked_lm, self.pair_loss: pair})

    def num_predictions(self, batch: Batch) -> int:
        return len(batch["masked_positions"])

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "sentence_pairs": self.sentence_pairs}
