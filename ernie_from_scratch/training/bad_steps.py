"""A step whose loss or gradient is not finite: kept with its batch and weights, and looked at by `ernie replay`."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.models.pretrained import name_some
from ernie_from_scratch.training.objectives import pretraining_losses, to_tensors
from ernie_from_scratch.training.optimizer import gradient_norm
from ernie_from_scratch.training.precision import Precision
from ernie_from_scratch.training.seeds import micro_batch_seed
from ernie_from_scratch.training.settings import PretrainSettings

RECORD = "replay.json"


def save_bad_step(run, batches, loss, norm):
    """Write `bad_step_{n}` into the run's folder, by rename: weights before the step, its micro batches, settings.

    Args:
        run: a `PretrainingRun` that has computed the step's gradients and not applied them; every process calls it.
        batches: this process's micro batches of the step, dicts of arrays; those of all processes are written.

    Returns:
        The folder's Path.
    """
    target = run.folder / f"bad_step_{run.step + 1}"
    own = list(zip(run.numbers(len(batches)), batches, strict=True))
    step = dict(pair for pairs in run.processes.gather(own) for pair in pairs)
    weights = run.saver.whole_weights()
    if run.saver.writes:
        _write(target, run, weights, dict(sorted(step.items())), loss, norm)
    run.processes.wait()
    return target


def _write(target, run, weights, step, loss, norm):
    temporary = run.folder / f".writing_{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    run.network.model.save_pretrained(temporary, weights=weights)
    batches = step.values()
    arrays = {f"{i}.{k}": v for i, batch in enumerate(batches) for k, v in batch.items() if v is not None}
    np.savez(temporary / "batches.npz", **arrays)
    record = {
        "step": run.step + 1,
        "loss": repr(loss),
        "grad_norm": repr(norm),
        "numbers": list(step),
        "scaler": run.precision.state(),
        "settings": run.settings.to_dict(),
    }
    (temporary / RECORD).write_text(json.dumps(record, indent=1), encoding="utf8")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def read_batches(folder):
    """The micro batches of a saved step, in order, as `Split.batch` gave them."""
    batches = {}
    with np.load(folder / "batches.npz") as arrays:
        for key in arrays.files:
            number, name = key.split(".")
            batches.setdefault(int(number), {"attention_mask": None})[name] = arrays[key]
    return [batches[i] for i in sorted(batches)]


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
    settings = PretrainSettings(**record["settings"])
    model = ErnieForPretraining.from_pretrained(str(folder))
    precision = Precision(settings, model, None)
    precision.load(record["scaler"])
    model.train()
    first = []
    hooks = [layer.register_forward_post_hook(_look(name, first)) for name, layer in leaves(model)]
    batches, losses = read_batches(folder), []
    for number, batch in zip(record["numbers"], batches, strict=True):
        paddle.seed(micro_batch_seed(settings.seed, record["step"] - 1, number))
        with precision.autocast():
            loss = pretraining_losses(model, to_tensors(batch)).total
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
        yield f"weights not finite before the step: {name_some(found['bad_weights'], 5)}"
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
        f"backward: gradients not finite: {name_some(bad, 5)}"
        if bad
        else "backward: every gradient is finite"
    )
