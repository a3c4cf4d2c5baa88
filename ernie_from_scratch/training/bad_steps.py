"""A step whose loss or gradient is not finite, saved with its batches and weights for `ernie replay`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.utils.folders import atomic_folder

if TYPE_CHECKING:
    from ernie_from_scratch.training.trainer import Trainer

RECORD = "replay.json"


def save_bad_step(trainer: Trainer, batches: list[Batch], loss: float, norm: float) -> Path:
    """Write `bad_step_{n}` into the run's folder: weights before the step, its micro batches, settings.

    Args:
        trainer: has computed the step's gradients and not applied them; every process calls it.
        batches: this process's micro batches of the step, dicts of arrays; those of all processes are written.

    Returns:
        The folder.
    """
    target = trainer.folder / f"bad_step_{trainer.step + 1}"
    own = list(zip(trainer.micro_batch_numbers(len(batches)), batches, strict=True))
    step = dict(pair for pairs in trainer.processes.gather(own) for pair in pairs)
    weights = trainer.checkpoints.gather_weights()
    if trainer.checkpoints.writes:
        _write(target, trainer, weights, dict(sorted(step.items())), loss, norm)
    trainer.processes.wait()
    return target


def _write(target: Path, trainer: Trainer, weights, step: dict[int, Batch], loss: float, norm: float) -> None:
    with atomic_folder(target, replace=True) as folder:
        trainer.network.model.save_pretrained(folder, weights=weights)
        arrays = {
            f"{i}.{key}": value
            for i, batch in enumerate(step.values())
            for key, value in batch.items()
            if value is not None
        }
        np.savez(folder / "batches.npz", **arrays)
        record = {
            "step": trainer.step + 1,
            "loss": repr(loss),
            "grad_norm": repr(norm),
            "numbers": list(step),
            "scaler": trainer.precision.state(),
            "objective": trainer.objective.describe(),
            "settings": trainer.settings.to_dict(),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf8")


def read_batches(folder: Path) -> list[Batch]:
    """The micro batches of a saved step, in order, as `Split.batch` gave them."""
    batches: dict[int, Batch] = {}
    with np.load(folder / "batches.npz") as arrays:
        for key in arrays.files:
            number, name = key.split(".")
            value = arrays[key]
            batch = batches.setdefault(int(number), {"attention_mask": None})
            batch[name] = value if value.ndim else value.item()
    return [batches[i] for i in sorted(batches)]
