"""paddle.inference: Paddle's inference engine, with oneDNN on a CPU."""

from pathlib import Path

import numpy as np
from paddle import inference

from ernie_from_scratch.deployment.backends.base import Backend
from ernie_from_scratch.deployment.tasks import Task


class PaddleInferenceBackend(Backend):
    """Reads a folder of `ernie export --format paddle`."""

    name = "paddle_inference"

    def __init__(self, task: Task, folder: str | Path, num_threads: int | None = None):
        super().__init__(task, folder)
        config = inference.Config(str(Path(folder) / "model.json"), str(Path(folder) / "model.pdiparams"))
        config.disable_gpu()
        config.enable_new_ir(True)
        config.enable_new_executor(True)
        config.enable_mkldnn()
        config.disable_glog_info()
        if num_threads:
            config.set_cpu_math_library_num_threads(num_threads)
        self.predictor = inference.create_predictor(config)

    def _run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        for name, array in inputs.items():
            handle = self.predictor.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)
        self.predictor.run()
        return [
            self.predictor.get_output_handle(name).copy_to_cpu() for name in self.predictor.get_output_names()
        ]
