"""Checkpoints of a run: complete under any degrees of parallelism, so that any others can resume from them.

`model_{step}` holds a from_pretrained folder (config.json, model_state.pdparams) beside optimizer.pdopt,
trainer_state.json and a manifest of checksums. It is written under a temporary name and renamed; `model_last` is a
link to the newest one. A kill at any instruction leaves the checkpoint before untouched. Dropout needs no saved
generator: the trainer seeds it from (seed, step) at every step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paddle
from paddle import Tensor, nn

from ernie_from_scratch.config import EXECUTION_FIELDS, EncoderConfig, UserError
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.processes import Processes, reporting_lost_processes
from ernie_from_scratch.parallel.resharding import gather, take_own
from ernie_from_scratch.training.optimizer import load_optimizer_state, optimizer_state
from ernie_from_scratch.utils.checksums import check_manifest, write_manifest
from ernie_from_scratch.utils.folders import atomic_folder

WEIGHTS, OPTIMIZER, STATE = "model_state.pdparams", "optimizer.pdopt", "trainer_state.json"
SHARDED = ("tensors", "master")  # entries of the optimizer's state that are named tensors


class Checkpoints:
    """Reads and writes the checkpoints of one run.

    Args:
        folder: where `model_{step}` are.
        network: a `ParallelNetwork`.
        optimizer: as `parallel_optimizer` returns it.
        processes: `Processes` of the run.
        share_folder: whether several machines see the same folder.
        log: called with a line about each damaged checkpoint.

    Attributes:
        writes: whether this process writes: the first of all, or one on each machine where folders aren't shared.

    Raises:
        UserError: no machine could write a complete checkpoint.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        network: ParallelNetwork,
        optimizer,
        processes: Processes,
        share_folder: bool = False,
        log: Callable[[str], None] = print,
    ):
        self.folder, self.network, self.optimizer = Path(folder), network, optimizer
        self.processes, self.log = processes, log
        strategy = network.strategy
        self._split = strategy.sharding * strategy.mp * strategy.pp > 1
        self.writes = processes.writes(share_folder or self._split)
        if self._split and not share_folder and int(os.environ.get("PADDLE_NNODES") or 1) > 1:
            raise UserError(
                "--share_folder false: under sharding_degree, mp_degree or pp_degree one machine writes the "
                "checkpoints for all; put --output_dir on a disk that all see, and give --share_folder true"
            )

    def newest(self) -> Path | None:
        """The newest checkpoint that is undamaged for every process, or None.

        Raises:
            UserError: the processes have none in common, or its network is another one.
        """
        if self.processes.size == 1:
            checkpoint = newest_checkpoint(self.folder, self.log)
        else:
            checkpoint = self._newest_in_common()
        if checkpoint is not None:
            self._check_network(checkpoint)
        return checkpoint

    def _newest_in_common(self) -> Path | None:
        steps = [step for step, _ in undamaged_checkpoints(self.folder, self.log)]
        held = self.processes.gather(steps)
        common = set(held[0]).intersection(*held[1:])
        if not common and any(held):
            found = "; ".join(f"process {rank}: {steps or 'none'}" for rank, steps in enumerate(held))
            raise UserError(
                f"no checkpoint of {self.folder} is complete for every process (steps of {found}); copy the newest "
                "model_N folder to every machine, or share the folder"
            )
        return self.folder / f"model_{max(common)}" if common else None

    def _check_network(self, checkpoint: Path) -> None:
        """UserError unless the checkpoint's network is this one, switches of speed and memory aside."""
        config = self.network.model.config
        now = config.to_dict()
        for name, then in type(config).from_file(checkpoint).to_dict().items():
            if now[name] != then and name not in EXECUTION_FIELDS:
                raise UserError(
                    f"{self.folder} holds another network: {name} was {then!r} and is now {now[name]!r}; use "
                    "another --output_dir, or the same configuration to resume"
                )

    def load(self, checkpoint: Path) -> dict[str, Any]:
        """Take this process's part of a checkpoint; returns the state that was saved with it."""
        model = self.network.model
        saved = take_own(self.network, paddle.load(str(checkpoint / WEIGHTS)))
        own = model.state_dict()
        model.set_state_dict(
            {name: _cast(tensor, own[name].dtype) for name, tensor in saved.items() if name in own}
        )
        state = paddle.load(str(checkpoint / OPTIMIZER))
        state |= {name: take_own(self.network, state[name]) for name in SHARDED}
        load_optimizer_state(model, self.optimizer, state)
        return json.loads((checkpoint / STATE).read_text(encoding="utf8"))

    def gather_weights(self) -> dict[str, Tensor] | None:
        """Complete weights on the process that writes, else None; every process must call it."""
        return self._gather(self.network.model.state_dict())

    def _gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        if not self._split:
            return tensors if self.writes else None
        with reporting_lost_processes():
            return gather(self.network, tensors)

    def save(self, step: int, state: dict[str, Any], keep: int, milestone_every: int) -> None:
        """Write `model_{step}` unless it is there undamaged, and prune; returns when it is written.

        Every process calls it.

        Args:
            state: JSON-able dict with all else that a resume needs.
            keep, milestone_every: as for `prune`.

        Raises:
            UserError: it can't be written (a full disk); the checkpoint before is untouched.
        """
        missing = self.writes and check_manifest(self.folder / f"model_{step}") is not None
        if any(self.processes.gather(missing)):
            weights, model = self.gather_weights(), self.network.model
            optimizer = optimizer_state(model, self.optimizer)
            optimizer |= {name: self._gather(optimizer[name]) for name in SHARDED}
            if self.writes and weights is not None:
                write_checkpoint(self.folder, step, model.config, weights, optimizer, state)
                prune(self.folder, keep, milestone_every)
        self.processes.wait()  # until it is written


def write_checkpoint(
    folder: Path,
    step: int,
    config: EncoderConfig,
    weights: dict[str, Tensor],
    optimizer: dict[str, Any],
    state: dict[str, Any],
) -> Path:
    """Write `folder/model_{step}` from complete tensors, and point `model_last` at it; returns its path."""
    target = folder / f"model_{step}"
    with atomic_folder(target, replace=True) as temporary:  # a damaged checkpoint of this step may be there
        config.save(temporary)
        weights = {name: _cast(tensor, paddle.float32) for name, tensor in weights.items()}
        paddle.save(weights, str(temporary / WEIGHTS))
        paddle.save(optimizer, str(temporary / OPTIMIZER))
        (temporary / STATE).write_text(json.dumps({"step": step, **state}, indent=1), encoding="utf8")
        write_manifest(temporary)
    link = folder / ".writing_model_last"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    os.replace(link, folder / "model_last")
    return target


def step_folders(folder: str | os.PathLike) -> list[tuple[int, Path]]:
    """(step, path) of every `model_{step}` in a folder, newest first."""
    folders = Path(folder).glob("model_*")
    steps = [(int(path.name[6:]), path) for path in folders if path.name[6:].isdigit()]
    return sorted(steps, reverse=True)


def undamaged_checkpoints(
    folder: str | os.PathLike, log: Callable[[str], None] = print
) -> Iterator[tuple[int, Path]]:
    """(step, path) of the checkpoints whose checksums hold, newest first; `log` gets a line about each other one."""
    for step, path in step_folders(folder):
        problem = check_manifest(path)
        if problem is None:
            yield step, path
        else:
            log(f"skipping damaged checkpoint: {problem}")


def newest_checkpoint(folder: str | os.PathLike, log: Callable[[str], None] = print) -> Path | None:
    """The newest undamaged checkpoint in a folder, or None."""
    return next((path for _, path in undamaged_checkpoints(folder, log)), None)


def prune(folder: str | os.PathLike, keep: int, milestone_every: int) -> None:
    """Delete checkpoints but the newest `keep` and those at multiples of `milestone_every` steps."""
    for step, path in step_folders(folder)[keep:]:
        if not (milestone_every and step % milestone_every == 0):
            shutil.rmtree(path)


def weights_checksum(model: nn.Layer) -> str:
    """SHA-256 over names and bytes of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.astype("float32").numpy().tobytes())
    return digest.hexdigest()


def _cast(tensor: Tensor, dtype) -> Tensor:
    """`tensor` in another floating type: half-precision weights (O2) are float32 in files, and come back exactly."""
    return tensor.astype(dtype) if tensor.is_floating_point() and tensor.dtype != dtype else tensor
