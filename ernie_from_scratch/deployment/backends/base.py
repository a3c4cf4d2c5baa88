"""What every inference engine does: named int64 arrays in, named float32 arrays out."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from ernie_from_scratch.deployment.folders import read_config
from ernie_from_scratch.deployment.tasks import Task


class Backend(ABC):
    """A loaded model that answers one batch at a time; it is not thread-safe.

    Attributes:
        name: as in --backend.
        task: says the names and shapes of inputs and outputs.
        inputs: those of the task that the network reads.
    """

    name: ClassVar[str]

    def __init__(self, task: Task, folder: str | Path, num_threads: int | None = None):
        """Load the model of `folder`; `num_threads` CPU threads run it (default: the engine decides)."""
        self.task = task
        self.inputs = task.inputs_for(read_config(folder))

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the task by name, float32, for the arrays of all its inputs by name. What the network
        computes besides (the sentence order logits of a pretraining head) is left out.
        """
        inputs = {
            spec.name: np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in self.inputs
        }
        names = [spec.name for spec in self.task.outputs]
        return dict(zip(names, self._run(inputs)[: len(names)], strict=True))

    @abstractmethod
    def _run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the task's order, perhaps followed by others."""
