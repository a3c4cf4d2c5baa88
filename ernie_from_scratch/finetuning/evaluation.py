"""Scores of a model on a labelled set."""

from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.finetuning.batches import by_length
from ernie_from_scratch.finetuning.settings import EvaluateSettings
from ernie_from_scratch.finetuning.tasks import Task, find_task
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer
from ernie_from_scratch.utils.files import atomic_write


def encode_examples(task: Task, examples, tokenizer, max_seq_len: int) -> list[dict]:
    """All rows of all examples, in order."""
    return [row for example in examples for row in task.rows(example, tokenizer, max_seq_len)]


def forward(model, batch: dict, targets: dict):
    """The model on a padded batch and its targets (arrays): (mean loss, outputs ...), as tensors."""
    return model(
        paddle.to_tensor(batch["input_ids"]),  # [B, L]
        token_type_ids=paddle.to_tensor(batch["token_type_ids"]),  # [B, L]
        attention_mask=paddle.to_tensor(batch["attention_mask"]),  # [B, L]
        **{name: paddle.to_tensor(array) for name, array in targets.items()},
    )


@paddle.no_grad()
def score_rows(
    task: Task, model, tokenizer, rows, batch_size: int = EvaluateSettings.batch_size
) -> tuple[dict, list]:
    """Mean loss and scores over `rows`, dropout off, and the outputs of every row in order.

    Returns:
        ({"loss": nats, score: ...}, list with a tuple of arrays per row).
    """
    was_training = model.training
    model.eval()
    scores, total, outputs = task.new_scores(), 0.0, [None] * len(rows)
    for numbers in by_length([len(row["input_ids"]) for row in rows], batch_size):
        chosen = [rows[number] for number in numbers]
        targets = task.targets(chosen)
        loss, *results = forward(model, tokenizer.pad(chosen), targets)
        arrays = [result.numpy() for result in results]
        scores.update(arrays, targets)
        total += float(loss) * len(chosen)
        for place, number in enumerate(numbers):
            outputs[number] = tuple(array[place] for array in arrays)
    if was_training:
        model.train()
    return {"loss": total / len(rows), **scores.compute()}, outputs


def evaluate(
    model,
    data,
    task: str = EvaluateSettings.task,
    max_seq_len: int | None = None,
    batch_size: int = EvaluateSettings.batch_size,
    predictions=None,
) -> dict:
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
    kind = find_task(task)
    network = kind.model_class.from_pretrained(model)
    network.eval()
    tokenizer = ErnieTokenizer.from_pretrained(model)
    max_seq_len = max_seq_len or network.config.max_position_embeddings
    check_length(max_seq_len, network.config)
    made = kind.from_config(network.config)
    examples = made.read(data)
    rows = encode_examples(made, examples, tokenizer, max_seq_len)
    scores, outputs = score_rows(made, network, tokenizer, rows, batch_size)
    if predictions:
        _write_predictions(predictions, made.labels, examples, outputs)
    return {"examples": len(examples), **scores}


def check_length(max_seq_len: int, config) -> None:
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


def _write_predictions(path, labels, examples, outputs):
    lines = ["label\tpredicted\tprobability"]
    for example, (logits,) in zip(examples, outputs, strict=True):
        probabilities = softmax(logits)
        best = int(probabilities.argmax())
        lines.append(f"{example.label}\t{labels[best]}\t{probabilities[best]:.6f}")
    with atomic_write(path) as temporary:
        Path(temporary).write_text("\n".join(lines) + "\n", encoding="utf-8")
