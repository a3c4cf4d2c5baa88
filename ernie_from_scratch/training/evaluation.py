"""Losses and masked accuracy on a held-out split."""

import numpy as np
import paddle

from ernie_from_scratch.training.objectives import pretraining_losses, to_tensors


@paddle.no_grad()
def evaluate(model, split, batch_size, iterations):
    """Mean losses (nats) and masked accuracy of `model` over `iterations` batches of `split`, dropout off.

    The same sample numbers, so the same masks, are used at every call.
    """
    was_training = model.training
    model.eval()
    sums = {"loss": 0.0, "lm_loss": 0.0, "sop_loss": 0.0}
    hits = masked = 0
    for batch in held_out_batches(split, batch_size, iterations):
        losses = pretraining_losses(model, batch)
        sums["loss"] += float(losses.total)
        sums["lm_loss"] += float(losses.masked_lm)
        sums["sop_loss"] += 0.0 if losses.sentence_pair is None else float(losses.sentence_pair)
        hits += int((losses.prediction_scores.argmax(-1) == batch["masked_lm_labels"]).sum())
        masked += batch["masked_lm_labels"].shape[0]
    if was_training:
        model.train()
    return {**{key: value / iterations for key, value in sums.items()}, "masked_accuracy": hits / masked}


def held_out_batches(split, batch_size, iterations):
    """The first `iterations` batches of a split, as tensors."""
    for i in range(iterations):
        yield to_tensors(split.batch(np.arange(i * batch_size, (i + 1) * batch_size)))
