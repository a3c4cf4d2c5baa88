"""The pretraining losses: masked language modelling, and the order (or adjacency) of two segments."""

from dataclasses import dataclass

import paddle

from ernie_from_scratch.models.heads import mean_cross_entropy

# shapes: B batch, L sequence, M masked positions, V vocabulary


@dataclass
class PretrainingLosses:
    """Of one micro batch: `total` = `masked_lm` + `sentence_pair` (0-d tensors; the last may be None), and the
    scores [M, V] that they came from."""

    total: paddle.Tensor
    masked_lm: paddle.Tensor
    sentence_pair: paddle.Tensor | None
    prediction_scores: paddle.Tensor


def to_tensors(batch):
    """A batch of numpy arrays as Paddle tensors on the current device; missing entries stay None."""
    return {key: None if array is None else paddle.to_tensor(array) for key, array in batch.items()}


def pretraining_losses(model, batch):
    """Losses of `ErnieForPretraining` on one batch of tensors (Sun et al. 2019, section 3; Devlin et al. 2018, 3.1).

    The masked LM loss is the mean cross-entropy over the M masked positions, in nats; the pair loss the mean over
    the rows that have a label (one-sentence rows have -100), left out when the batch has no `next_sentence_label`.
    """
    prediction_scores, pair_scores = model(  # [M, V], [B, 2]
        batch["input_ids"],  # [B, L]
        token_type_ids=batch["token_type_ids"],  # [B, L]
        attention_mask=batch["attention_mask"],  # [B, L] or None when nothing is padded
        masked_positions=batch["masked_positions"],  # [M], flat into B * L
    )
    # another one where processes share out the vocabulary
    word_loss = getattr(model, "word_loss", mean_cross_entropy)
    masked_lm = word_loss(prediction_scores, batch["masked_lm_labels"])
    pair_labels = batch.get("next_sentence_label")
    if pair_labels is None:
        return PretrainingLosses(masked_lm, masked_lm, None, prediction_scores)
    pair = mean_cross_entropy(pair_scores, pair_labels)
    return PretrainingLosses(masked_lm + pair, masked_lm, pair, prediction_scores)
