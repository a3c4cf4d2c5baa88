"""A step whose loss or gradient is not finite, kept with its batch and weights for `ernie replay`."""

import json
import shutil

import numpy as np

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
