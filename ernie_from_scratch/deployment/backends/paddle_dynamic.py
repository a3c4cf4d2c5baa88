"""Paddle's dynamic graph: the network itself, layer by layer in Python."""

from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.deployment.backends.base import Backend
from ernie_from_scratch.deployment.folders import read_family
from ernie_from_scratch.deployment.tasks import Task


class PaddleBackend(Backend):
    """Reads any folder that from_pretrained reads."""

    name = "paddle"

    def __init__(self, task: Task, folder: str | Path, num_threads: int | None = None):
        super().__init__(task, folder)
        heads = read_family(folder).heads
        head = next(name for name in task.heads if name in heads)
        self.network = heads[head].from_pretrained(folder)
        self.network.eval()

    def _run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        with paddle.no_grad():
            outputs = self.network(**{name: paddle.to_tensor(array) for name, array in inputs.items()})
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.astype("float32").numpy() for output in outputs]
