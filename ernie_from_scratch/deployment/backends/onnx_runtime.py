"""ONNX Runtime on a CPU."""

from pathlib import Path
from typing import Any

import numpy as np

from ernie_from_scratch.deployment.backends.base import Backend
from ernie_from_scratch.deployment.tasks import Task


class OnnxRuntimeBackend(Backend):
    """Reads a folder of `ernie export --format onnx`."""

    name = "onnxruntime"

    def __init__(self, task: Task, folder: str | Path, num_threads: int | None = None):
        import onnxruntime

        super().__init__(task, folder)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if num_threads:
            options.intra_op_num_threads = num_threads
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        outputs: Any = self.session.run(None, inputs)
        return outputs
