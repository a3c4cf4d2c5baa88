"""Scores of a model on a labelled set."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ernie_from_scratch.config import EncoderConfig, UserError
from ernie_from_scratch.dataset.batch import to_tensors
from ernie_from_scratch.dataset.labelled import by_length
from ernie_from_scratch.finetuning.settings import EvaluateSettings
from ernie_from_scratch.finetuning.tasks import Task, find_task
from ernie_from_scratch.finetuning.tasks.base import Features
from ernie_from_scratch.models.registry import family_of_folder
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import Objective, SupervisedObjective
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.text.tokenizers.auto import load_tokenizer
from ernie_from_scratch.utils.files import atomic_write


@paddle.no_grad()
def score_rows(
    task: Task,
    network: TaskModel | ParallelNetwork,
    objective: Objective,
    tokenizer: Any,
    rows: Features,
    batch_size: int = EvaluateSettings.batch_size,
) -> tuple[dict[str, float], list[tuple[np.ndarray, ...]]]:
    """Mean loss and scores over `rows`, dropout off, and the outputs of every row in order.

    Returns:
        ({"loss": nats, score: ...}, list with a tuple of arrays per row).
    """
    was_training = network.training
    network.eval()
    scores, total = task.new_scores(), 0.0
    outputs: list[tuple[np.ndarray, ...]] = [()] * len(rows)
    for numbers in by_length([len(row["input_ids"]) for row in rows], batch_size):
        chosen = [rows[number] for number in numbers]
        batch = to_tensors(task.collate(chosen, tokenizer))
        output = network(**objective.network_inputs(batch), return_dict=True)
        total += float(objective.loss(network, output, batch).total) * len(chosen)
        arrays = [value.numpy() for value in output.values()]
        scores.update(arrays, task.label_arrays(chosen))
        for position, number in enumerate(numbers):
            outputs[number] = tuple(array[position] for array in arrays)
    if was_training:
        network.train()
    return {"loss": total / len(rows), **scores.compute()}, outputs


def evaluate(
    model: str | os.PathLike,
    data: str | os.PathLike,
    task: str = EvaluateSettings.task,
    max_seq_len: int | None = None,
    batch_size: int = EvaluateSettings.batch_size,
    predictions: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Score the fine-tuned model folder `model` on the labelled file `data`.

    Args:
        max_seq_len: longest row in tokens; default: as many as the model has positions.
        predictions: also write a .tsv here, a line per example: right label, predicted label, its
            probability.

    Returns:
        {"examples": count, "loss": mean in nats, "accuracy": ..., "macro_f1": ...}.

    Raises:
        UserError: a folder without a model, a file that can't be read, an unknown label.
    """
    task_class = find_task(task)
    network = family_of_folder(model).head(task_class.head).from_pretrained(model)
    tokenizer = load_tokenizer(model)
    max_seq_len = max_seq_len or network.config.max_position_embeddings
    check_length(max_seq_len, network.config)
    made = task_class.from_config(network.config)
    examples = made.read(data)
    rows = made.encode(examples, tokenizer, max_seq_len)
    scores, outputs = score_rows(made, network, SupervisedObjective(), tokenizer, rows, batch_size)
    if predictions:
        _write_predictions(predictions, made.labels, examples, outputs)
    return {"examples": len(examples), **scores}


def check_length(max_seq_len: int, config: EncoderConfig) -> None:
    """UserError when rows of `max_seq_len` tokens are longer than the model has positions for."""
    positions = config.max_position_embeddings
    if max_seq_len > positions:
        raise UserError(
            f"--max_seq_len is {max_seq_len}: the model has {positions} positions; lower it to that"
        )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in the logits' own type."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _write_predictions(path, labels: Sequence[str], examples: Sequence, outputs) -> None:
    lines = ["label\tpredicted\tprobability"]
    for example, (logits,) in zip(examples, outputs, strict=True):
        probabilities = softmax(logits)
        best = int(probabilities.argmax())
        lines.append(f"{example.label}\t{labels[best]}\t{probabilities[best]:.6f}")
    with atomic_write(path) as temporary:
        Path(temporary).write_text("\n".join(lines) + "\n", encoding="utf-8")
