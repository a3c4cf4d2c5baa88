"""A run's checkpoints and its `final/`: whole under any degrees of parallelism, so that any others can go on."""

import os
import shutil
from dataclasses import dataclass

from ernie_from_scratch.config import EXECUTION_FIELDS, ErnieConfig, UserError
from ernie_from_scratch.parallel.processes import contact
from ernie_from_scratch.parallel.resharding import gather, part
from ernie_from_scratch.training.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    prune,
    save_checkpoint,
    whole_steps,
)
from ernie_from_scratch.training.optimizer import optimizer_state


@dataclass
class WholeModel:
    """Configuration and whole weights of a network whose parts lie in several processes."""

    config: ErnieConfig
    weights: dict

    def state_dict(self):
        return self.weights


class Saver:
    """Reads and writes the checkpoints of one run.

    Args:
        folder: the run's.
        network: a `ParallelNetwork`.
        optimizer: as `parallel_optimizer` returns it.
        processes: `Processes` of the run.
        share_folder: whether several machines see the same folder.
        say: called with a line about each damaged checkpoint.

    Attributes:
        writes: whether this process writes: the first of all, or one on each machine where folders aren't shared.

    Raises:
        UserError: no machine could write a whole checkpoint.
    """

    def __init__(self, folder, network, optimizer, processes, share_folder, say):
        self.folder, self.network, self.optimizer = folder, network, optimizer
        self.processes, self.say = processes, say
        strategy = network.strategy
        self._parted = strategy.sharding * strategy.mp * strategy.pp > 1
        self.writes = processes.writes(share_folder or self._parted)
        if self._parted and not share_folder and int(os.environ.get("PADDLE_NNODES") or 1) > 1:
            raise UserError(
                "--share_folder false: under sharding_degree, mp_degree or pp_degree one machine writes the "
                "checkpoints for all; put --output_dir on a disk that all see, and give --share_folder true"
            )

    def newest(self):
        """The newest checkpoint that is whole for every process, or None.

        Raises:
            UserError: the processes have none in common, or its network is another one.
        """
        if self.processes.size == 1:
            checkpoint = newest_checkpoint(self.folder, warn=self.say)
        else:
            checkpoint = self._newest_in_common()
        if checkpoint is not None:
            self._check_network(checkpoint)
        return checkpoint

    def _newest_in_common(self):
        held = self.processes.gather(whole_steps(self.folder, warn=self.say))
        common = set(held[0]).intersection(*held[1:])
        if not common and any(held):
            found = "; ".join(f"process {rank}: {steps or 'none'}" for rank, steps in enumerate(held))
            raise UserError(
                f"no checkpoint of {self.folder} is whole for every process (steps of {found}); copy the newest "
                "model_N folder to every machine, or share the folder"
            )
        return self.folder / f"model_{max(common)}" if common else None

    def _check_network(self, checkpoint):
        """UserError unless the checkpoint's network is this one, switches of speed and memory aside."""
        now = self.network.model.config.to_dict()
        for name, then in ErnieConfig.from_file(checkpoint).to_dict().items():
            if now[name] != then and name not in EXECUTION_FIELDS:
                raise UserError(
                    f"{self.folder} holds another network: {name} was {then!r} and is now {now[name]!r}; use "
                    "another --output_dir, or the same configuration to continue"
                )

    def load(self, checkpoint):
        """Take this process's part of a checkpoint; returns the state that was saved with it."""
        return load_checkpoint(
            checkpoint, self.network.model, self.optimizer, lambda tensors: part(self.network, tensors)
        )

    def whole_weights(self):
        """Whole weights on the process that writes, else None; every process must call it."""
        return self._whole(self.network.model.state_dict())

    def _whole(self, tensors):
        if not self._parted:
            return tensors if self.writes else None
        with contact():
            return gather(self.network, tensors)

    def save(self, step, state, keep, milestone_every):
        """Checkpoint `model_{step}` unless it is there, drop older ones; returns when it is written.

        Args:
            state: JSON-able dict with all else that a resume needs.
            keep, milestone_every: as for `prune`.
        """
        missing = self.writes and not (self.folder / f"model_{step}").exists()
        if any(self.processes.gather(missing)):
            self._save(step, state, keep, milestone_every)
        self.processes.wait()  # until it is written

    def _save(self, step, state, keep, milestone_every):
        weights, model = self.whole_weights(), self.network.model
        held = optimizer_state(model, self.optimizer)
        held |= {name: self._whole(held[name]) for name in ("tensors", "master")}
        if self.writes:
            save_checkpoint(self.folder, step, WholeModel(model.config, weights), held, state)
            prune(self.folder, keep, milestone_every)

    def write_final(self, vocabulary):
        """`final/`: weights, config and vocabulary as a from_pretrained folder, by rename."""
        weights = self.whole_weights()
        if self.writes:
            temporary, final = self.folder / ".writing_final", self.folder / "final"
            shutil.rmtree(temporary, ignore_errors=True)
            self.network.model.save_pretrained(temporary, weights=weights)
            vocabulary.save(temporary / "vocab.txt")
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
