"""Losses, masked accuracy and perplexity by kind of span on held-out splits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
import paddle.nn.functional as F

from ernie_from_scratch.dataset.batch import Batch, to_tensors
from ernie_from_scratch.dataset.source import Source, Split
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import Objective
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES
from ernie_from_scratch.training.settings import PretrainSettings

if TYPE_CHECKING:
    from ernie_from_scratch.training.trainer import Trainer

KINDS = ("outside", *ENTITY_TYPES[1:])  # of masked tokens, in the order of masked_span_kinds


class MaskedLMEvaluator:
    """Evaluates on "valid" and "test", every `eval_freq` steps and at the end."""

    def __init__(self, source: Source, settings: PretrainSettings):
        self.source, self.settings = source, settings

    def due(self, step: int, last: bool) -> bool:
        return self.settings.eval_freq > 0 and (step % self.settings.eval_freq == 0 or last)

    def evaluate(self, trainer: "Trainer") -> Iterator[tuple[str, dict[str, Any]]]:
        for name in ("valid", "test"):
            split = self.source[name]
            if len(split):
                with trainer.precision.autocast():
                    row = evaluate(
                        trainer.network,
                        trainer.objective,
                        split,
                        self.settings.micro_batch_size,
                        self.settings.eval_iters,
                    )
                yield name, row

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        pass


@paddle.no_grad()
def evaluate(
    network: TaskModel | ParallelNetwork, objective: Objective, split: Split, batch_size: int, iterations: int
) -> dict[str, float]:
    """Mean losses (nats), masked accuracy and perplexity of `network` over `iterations` batches of `split`.

    Dropout is off. The same sample numbers, so the same masks, are used at every call.

    Returns:
        loss and the objective's metrics (means over batches); masked_accuracy and perplexity (over all masked
        tokens), and perplexity_PER, perplexity_outside … over those in each kind of entity and outside of
        entities, where any were masked. Perplexity is exp of the mean cross-entropy of a token.
    """
    was_training = network.training
    network.eval()
    sums = dict.fromkeys(("loss", *objective.metric_names), 0.0)
    hits, losses, kinds = [], [], []  # of each masked token
    for batch in first_batches(split, batch_size, iterations):
        output = network(**objective.network_inputs(batch), return_dict=True)
        loss = objective.loss(network, output, batch)
        logits = output.prediction_logits.astype("float32")  # [M, V]
        labels = batch["masked_lm_labels"]  # [M]
        for name, value in {"loss": loss.total, **loss.metrics}.items():
            sums[name] += float(value)
        hits.append((logits.argmax(-1) == labels).numpy())  # [M]
        losses.append(F.cross_entropy(logits, labels, reduction="none").numpy().reshape(-1))  # [M]
        kinds.append(batch["masked_span_kinds"].numpy())  # [M]
    if was_training:
        network.train()
    hits, losses, kinds = (
        np.concatenate(hits),
        np.concatenate(losses).astype("float64"),
        np.concatenate(kinds),
    )
    row = {name: value / iterations for name, value in sums.items()}
    row |= {"masked_accuracy": float(hits.mean()), "perplexity": float(np.exp(losses.mean()))}
    for number, kind in enumerate(KINDS):
        if (kinds == number).any():
            row[f"perplexity_{kind}"] = float(np.exp(losses[kinds == number].mean()))
    return row


def first_batches(split: Split, batch_size: int, iterations: int) -> Iterator[Batch]:
    """The first `iterations` batches of a split, as tensors."""
    for i in range(iterations):
        yield to_tensors(split.batch(np.arange(i * batch_size, (i + 1) * batch_size)))
