"""`ernie replay`: compute a saved step again whose loss or gradient was not finite, and find where it became so."""

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.batch import to_tensors
from ernie_from_scratch.models.registry import class_of_folder
from ernie_from_scratch.objectives import build_objective
from ernie_from_scratch.training.bad_steps import RECORD, read_batches
from ernie_from_scratch.training.optimizer import gradient_norm
from ernie_from_scratch.training.precision import Precision
from ernie_from_scratch.training.seeds import micro_batch_seed
from ernie_from_scratch.training.settings import TrainSettings
from ernie_from_scratch.weights.pretrained import first_names


def replay(folder: str | os.PathLike) -> dict:
    """Compute a saved step again and find the first layer whose output is not finite.

    Returns:
        A dict: `step`; `losses` (of each micro batch) and `grad_norm`, as computed now; `recorded_loss` (mean of the
        micro batches) and `recorded_grad_norm`, of the run; `first_layer`, a dict with the `name` of the first layer
        whose output is not finite and its `largest_input`, or None if all outputs are finite; `bad_weights` and
        `bad_gradients`, names of the parameters that are not finite; `largest_weight`, (name, absolute value).

    Raises:
        UserError: `folder` is not one that a run has saved.
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise UserError(f"no saved step: {folder} has no {RECORD}; give the folder bad_step_N of a run")
    record = json.loads((folder / RECORD).read_text(encoding="utf8"))
    known = {field.name for field in fields(TrainSettings)}
    settings = TrainSettings(**{key: value for key, value in record["settings"].items() if key in known})
    objective = build_objective(record.get("objective", {"name": "mlm_pair"}))  # before 0.2 the only one
    model = class_of_folder(folder).from_pretrained(folder)
    precision = Precision(settings, model, None)
    precision.load(record["scaler"])
    model.train()
    non_finite: list[dict] = []
    hooks = [
        layer.register_forward_post_hook(_recorder(name, non_finite)) for name, layer in leaf_layers(model)
    ]
    batches, losses = read_batches(folder), []
    for number, batch in zip(record["numbers"], batches, strict=True):
        paddle.seed(micro_batch_seed(settings.seed, record["step"] - 1, number))
        with precision.autocast():
            loss = objective(model, to_tensors(batch)).total
        precision.scale(loss / len(batches)).backward()
        losses.append(float(loss))
    for hook in hooks:
        hook.remove()
    parameters = list(model.named_parameters())
    weights = {name: _largest(parameter.detach()) for name, parameter in parameters}
    largest = max(weights, key=lambda name: weights[name] if math.isfinite(weights[name]) else math.inf)
    return {
        "step": record["step"],
        "losses": losses,
        "recorded_loss": float(record["loss"]),
        "grad_norm": gradient_norm(model) / precision.loss_scale,
        "recorded_grad_norm": float(record["grad_norm"]),
        "first_layer": non_finite[0] if non_finite else None,
        "bad_weights": [name for name, value in weights.items() if not math.isfinite(value)],
        "bad_gradients": [name for name, p in parameters if p.grad is not None and not _is_finite(p.grad)],
        "largest_weight": (largest, weights[largest]),
    }


def leaf_layers(model: paddle.nn.Layer) -> list[tuple[str, paddle.nn.Layer]]:
    """(name, layer) of the layers without sublayers."""
    return [(name, layer) for name, layer in model.named_sublayers() if not layer.sublayers()]


def _is_finite(tensor: paddle.Tensor) -> bool:
    return bool(paddle.isfinite(tensor.astype("float32")).all())


def _largest(tensor: paddle.Tensor) -> float:
    """The largest absolute value."""
    return float(tensor.astype("float32").abs().max())


def _recorder(name: str, non_finite: list[dict]) -> Callable:
    """A forward hook that appends this layer to `non_finite` if its output is the first that is not finite."""

    def hook(layer: paddle.nn.Layer, inputs: tuple, output: paddle.Tensor) -> None:
        if not non_finite and not _is_finite(output):
            largest = [_largest(tensor) for tensor in inputs if tensor.is_floating_point()]
            non_finite.append({"name": name, "largest_input": max(largest, default=None)})

    return hook


def describe(result: dict) -> Iterator[str]:
    """The result of `replay` as lines for a terminal."""
    losses = ", ".join(f"{loss:.6g}" for loss in result["losses"])
    yield f"step {result['step']}: loss of each micro batch {losses} (mean in the run: {result['recorded_loss']:.6g})"
    yield f"gradient norm {result['grad_norm']:.6g} (in the run: {result['recorded_grad_norm']:.6g})"
    name, value = result["largest_weight"]
    yield f"largest weight: {value:.6g} in {name}"
    if result["bad_weights"]:
        yield f"weights not finite before the step: {first_names(result['bad_weights'], 5)}"
    layer = result["first_layer"]
    if layer is None:
        yield "forward: every layer's output is finite"
    else:
        largest = layer["largest_input"]
        with_input = "" if largest is None else f", with a largest input of {largest:.6g}"
        yield f"forward: the first layer whose output is not finite is {layer['name']}{with_input}"
    if result["bad_gradients"]:
        yield f"backward: gradients not finite: {first_names(result['bad_gradients'], 5)}"
    else:
        yield "backward: every gradient is finite"
