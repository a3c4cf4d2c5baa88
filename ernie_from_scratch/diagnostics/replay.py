"""A saved step whose loss or gradient was not finite, computed again: `ernie replay`."""

import json
import math
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


def replay(folder):
    """Compute a saved step again and find where the first number that is not finite appears.

    Returns:
        Dict: step; losses (of each micro batch) and grad_norm as computed now; loss_then and grad_norm_then;
        first_layer, the first whose output is not finite, with what went into it (None: all outputs are finite);
        bad_weights and bad_gradients, names of parameters; largest_weight as (name, absolute value).

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
    first = []
    hooks = [layer.register_forward_post_hook(_look(name, first)) for name, layer in leaves(model)]
    batches, losses = read_batches(folder), []
    for number, batch in zip(record["numbers"], batches, strict=True):
        paddle.seed(micro_batch_seed(settings.seed, record["step"] - 1, number))
        with precision.autocast():
            loss = objective(model, to_tensors(batch)).total
        precision.scale(loss / len(batches)).backward()
        losses.append(float(loss))
    for hook in hooks:
        hook.remove()
    weights = {name: float(p.detach().astype("float32").abs().max()) for name, p in model.named_parameters()}
    largest = max(weights, key=lambda name: weights[name] if math.isfinite(weights[name]) else math.inf)
    return {
        "step": record["step"],
        "losses": losses,
        "loss_then": float(record["loss"]),
        "grad_norm": gradient_norm(model) / precision.loss_scale,
        "grad_norm_then": float(record["grad_norm"]),
        "first_layer": first[0] if first else None,
        "bad_weights": [name for name, value in weights.items() if not math.isfinite(value)],
        "bad_gradients": [
            name for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)
        ],
        "largest_weight": (largest, weights[largest]),
    }


def leaves(model):
    """(name, layer) of the layers that hold no others."""
    return [(name, layer) for name, layer in model.named_sublayers() if not layer.sublayers()]


def _finite(tensor):
    return bool(paddle.isfinite(tensor.astype("float32")).all())


def _look(name, first):
    def hook(layer, inputs, output):
        if not first and not _finite(output):
            came_in = [float(x.astype("float32").abs().max()) for x in inputs if x.is_floating_point()]
            first.append({"name": name, "largest_input": max(came_in, default=None)})

    return hook


def describe(found):
    """The result of `replay` in lines for a terminal."""
    losses = ", ".join(f"{loss:.6g}" for loss in found["losses"])
    yield f"step {found['step']}: loss of each micro batch {losses} (then, together: {found['loss_then']:.6g})"
    yield f"gradient norm {found['grad_norm']:.6g} (then {found['grad_norm_then']:.6g})"
    name, value = found["largest_weight"]
    yield f"largest weight: {value:.6g} in {name}"
    if found["bad_weights"]:
        yield f"weights not finite before the step: {first_names(found['bad_weights'], 5)}"
    layer = found["first_layer"]
    if layer is None:
        yield "forward: every layer's output is finite"
    else:
        came_in = (
            "" if layer["largest_input"] is None else f", whose largest input is {layer['largest_input']:.6g}"
        )
        yield f"forward: the first output that is not finite is that of {layer['name']}{came_in}"
    bad = found["bad_gradients"]
    yield (
        f"backward: gradients not finite: {first_names(bad, 5)}"
        if bad
        else "backward: every gradient is finite"
    )
