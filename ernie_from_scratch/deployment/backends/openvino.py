"""OpenVINO on a CPU, in float32."""

from pathlib import Path
from typing import Any

import numpy as np

from ernie_from_scratch.deployment.backends.base import Backend
from ernie_from_scratch.deployment.tasks import Task


class OpenVinoBackend(Backend):
    """Reads a folder of `ernie export --format onnx`."""

    name = "openvino"

    def __init__(self, task: Task, folder: str | Path, num_threads: int | None = None):
        import openvino

        super().__init__(task, folder)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if num_threads:
            settings["INFERENCE_NUM_THREADS"] = num_threads
        self.compiled = openvino.Core().compile_model(str(Path(folder) / "model.onnx"), "CPU", settings)

    def _run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = self.compiled(inputs)
        return [np.array(found[number]) for number in range(len(self.task.outputs))]
