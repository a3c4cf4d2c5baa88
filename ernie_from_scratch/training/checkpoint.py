"""Checkpoints: folders written under a temporary name, fsynced, renamed, with a manifest of checksums.

`model_{step}` holds a from_pretrained folder (config.json, model_state.pdparams) beside optimizer.pdopt and
trainer_state.json. `model_last` is a link to the newest whole one. A kill at any instruction leaves the folder
before untouched. Dropout needs no saved generator: the loop seeds it from (seed, step) at every step.
"""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.optimizer import load_optimizer_state
from ernie_from_scratch.utils.files import sha256_file

MANIFEST = "manifest.json"


def _fsync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_checkpoint(run_folder, step, model, optimizer, state):
    """Write `run_folder/model_{step}` and point `model_last` at it.

    Args:
        model: has `config` and `state_dict()`.
        optimizer: what `optimizer_state` returns.
        state: JSON-able dict with all else that a resume needs (sample position, metrics offset, settings).

    Returns:
        The folder's Path.

    Raises:
        UserError: the disk is full; the checkpoint before is untouched.
    """
    run_folder = Path(run_folder)
    target, temporary = run_folder / f"model_{step}", run_folder / f".writing_model_{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        model.config.save(temporary)
        weights = {name: _as(tensor, paddle.float32) for name, tensor in model.state_dict().items()}
        paddle.save(weights, str(temporary / "model_state.pdparams"))
        paddle.save(optimizer, str(temporary / "optimizer.pdopt"))
        (temporary / "trainer_state.json").write_text(json.dumps({"step": step, **state}, indent=1))
        manifest = {file.name: sha256_file(file) for file in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
        for path in (*temporary.iterdir(), temporary):
            _fsync(path)
        if target.exists():  # a damaged checkpoint of this step: the run came back to it
            shutil.rmtree(target)
        os.rename(temporary, target)
        link = run_folder / ".writing_model_last"
        link.unlink(missing_ok=True)
        link.symlink_to(target.name)
        os.replace(link, run_folder / "model_last")
        _fsync(run_folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"disk full while writing {target}; free some space and run the same command again, "
                "it continues from the last whole checkpoint"
            ) from error
        raise
    return target


def step_folders(run_folder):
    """(step, folder) of every `model_{step}` in `run_folder`, newest first."""
    folders = Path(run_folder).glob("model_*")
    steps = [(int(f.name[6:]), f) for f in folders if f.name[6:].isdigit()]
    return sorted(steps, reverse=True)


def damage(folder):
    """What is wrong with a checkpoint folder, in words, or None when every checksum holds."""
    manifest = folder / MANIFEST
    try:
        checksums = json.loads(manifest.read_text())
    except (OSError, ValueError):
        return f"{manifest} is missing or unreadable"
    for name, checksum in checksums.items():
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        if sha256_file(file) != checksum:
            return f"{file} does not match its checksum"
    return None


def newest_checkpoint(run_folder, warn=print):
    """The newest whole checkpoint folder of a run, or None; damaged ones are named through `warn` and skipped."""
    return next((folder for _, folder in _whole(run_folder, warn)), None)


def whole_steps(run_folder, warn=print):
    """Steps of all whole checkpoints of a run, newest first; damaged ones are named through `warn`."""
    return [step for step, _ in _whole(run_folder, warn)]


def _whole(run_folder, warn):
    for step, folder in step_folders(run_folder):
        reason = damage(folder)
        if reason is None:
            yield step, folder
        else:
            warn(f"skipping damaged checkpoint: {reason}")


def weights_checksum(model):
    """SHA-256 over names and bytes of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.astype("float32").numpy().tobytes())
    return digest.hexdigest()


def load_checkpoint(folder, model, optimizer, part=dict):
    """Restore model and optimizer from a checkpoint folder; returns the state dict that was saved with them.

    part: from whole tensors to those that this process holds, both {name: tensor}.
    """
    saved = part(paddle.load(str(folder / "model_state.pdparams")))
    own = model.state_dict()
    model.set_state_dict(
        {name: _as(tensor, own[name].dtype) for name, tensor in saved.items() if name in own}
    )
    held = paddle.load(str(folder / "optimizer.pdopt"))
    held |= {name: part(held[name]) for name in ("tensors", "master")}
    load_optimizer_state(model, optimizer, held)
    return json.loads((folder / "trainer_state.json").read_text())


def _as(tensor, dtype):
    """`tensor` in another floating type: half-precision weights (O2) lie in files as float32, and come back exactly."""
    return tensor.astype(dtype) if tensor.is_floating_point() and tensor.dtype != dtype else tensor


def prune(run_folder, keep, milestone_every):
    """Delete checkpoints but the newest `keep` and those at multiples of `milestone_every` steps."""
    for step, folder in step_folders(run_folder)[keep:]:
        if not (milestone_every and step % milestone_every == 0):
            shutil.rmtree(folder)
