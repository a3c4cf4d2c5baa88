"""Losses, masked accuracy and perplexity by kind of span on a held-out split."""

import numpy as np
import paddle
import paddle.nn.functional as F

from ernie_from_scratch.objectives.mlm_pair import pretraining_losses, to_tensors
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES

KINDS = ("outside", *ENTITY_TYPES[1:])  # of masked tokens, in the order of masked_span_kinds


@paddle.no_grad()
def evaluate(model, split, batch_size, iterations):
    """Mean losses (nats), masked accuracy and perplexity of `model` over `iterations` batches of `split`.

    Dropout is off. The same sample numbers, so the same masks, are used at every call.

    Returns:
        Dict of floats: loss, lm_loss, sop_loss (means over batches); masked_accuracy and perplexity (over all
        masked tokens), and perplexity_PER, perplexity_outside … over those in each kind of entity and outside
        of entities, where any were masked. Perplexity is exp of the mean cross-entropy of a token.
    """
    was_training = model.training
    model.eval()
    sums = {"loss": 0.0, "lm_loss": 0.0, "sop_loss": 0.0}
    hits, nats, kinds = [], [], []  # of each masked token
    for batch in held_out_batches(split, batch_size, iterations):
        losses = pretraining_losses(model, batch)
        scores, labels = losses.prediction_scores.astype("float32"), batch["masked_lm_labels"]  # [M, V], [M]
        sums["loss"] += float(losses.total)
        sums["lm_loss"] += float(losses.masked_lm)
        sums["sop_loss"] += 0.0 if losses.sentence_pair is None else float(losses.sentence_pair)
        hits.append((scores.argmax(-1) == labels).numpy())  # [M]
        nats.append(F.cross_entropy(scores, labels, reduction="none").numpy().reshape(-1))  # [M]
        kinds.append(batch["masked_span_kinds"].numpy())  # [M]
    if was_training:
        model.train()
    hits, nats, kinds = np.concatenate(hits), np.concatenate(nats).astype("float64"), np.concatenate(kinds)
    row = {key: value / iterations for key, value in sums.items()}
    row |= {"masked_accuracy": float(hits.mean()), "perplexity": float(np.exp(nats.mean()))}
    for number, kind in enumerate(KINDS):
        if (kinds == number).any():
            row[f"perplexity_{kind}"] = float(np.exp(nats[kinds == number].mean()))
    return row


def held_out_batches(split, batch_size, iterations):
    """The first `iterations` batches of a split, as tensors."""
    for i in range(iterations):
        yield to_tensors(split.batch(np.arange(i * batch_size, (i + 1) * batch_size)))
