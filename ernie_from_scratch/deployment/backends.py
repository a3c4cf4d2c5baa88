"""One interface over the engines that can run a model: Paddle (dynamic graph), paddle.inference, ONNX
Runtime, OpenVINO.

A backend takes the named int64 arrays of its task (`INPUTS`) and gives the logits as float32.
B rows, L sequence, M masked positions, V vocabulary, C classes.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from ernie_from_scratch.config import ErnieConfig, UserError

# The inputs of each task: ids [B, L]; masked_positions [M] flat into B * L. Padding is told by its id.
INPUTS = {
    "text-classification": ("input_ids", "token_type_ids"),  # -> logits [B, C]
    "fill-mask": ("input_ids", "token_type_ids", "masked_positions"),  # -> logits [M, V]
}
TASKS = tuple(INPUTS)
EXPORT_FILE = "export.json"


class Backend(ABC):
    """A loaded model that answers one batch at a time; not for several threads at once."""

    name: ClassVar[str]

    def __init__(self, task: str):
        self.task = task

    def run(self, **arrays: np.ndarray) -> np.ndarray:
        """Logits [B, C] or [M, V] float32 for the int64 arrays of `INPUTS[task]`."""
        return self._run([np.ascontiguousarray(arrays[name], dtype=np.int64) for name in INPUTS[self.task]])

    @abstractmethod
    def _run(self, inputs: list[np.ndarray]) -> np.ndarray: ...


class PaddleBackend(Backend):
    """The network itself, layer by layer in Python; reads any from_pretrained folder."""

    name = "paddle"

    def __init__(self, task: str, model):
        super().__init__(task)
        self.model = model
        self.model.eval()

    @classmethod
    def load(cls, folder, task):
        from ernie_from_scratch.models import ErnieForMaskedLM, ErnieForSequenceClassification

        kinds = {"text-classification": ErnieForSequenceClassification, "fill-mask": ErnieForMaskedLM}
        return cls(task, kinds[task].from_pretrained(folder))

    def _run(self, inputs):
        import paddle

        ids, types, *positions = (paddle.to_tensor(array) for array in inputs)
        more = {"masked_positions": positions[0]} if positions else {}
        with paddle.no_grad():
            return self.model(ids, token_type_ids=types, **more).astype("float32").numpy()


class PaddleInferenceBackend(Backend):
    """Paddle's inference engine with oneDNN on a CPU; reads a folder of `ernie export --format paddle`."""

    name = "paddle_inference"

    def __init__(self, task: str, folder, num_threads: int | None = None):
        from paddle import inference

        super().__init__(task)
        folder = Path(folder)
        config = inference.Config(str(folder / "model.json"), str(folder / "model.pdiparams"))
        config.disable_gpu()
        config.enable_new_ir(True)
        config.enable_new_executor(True)
        config.enable_mkldnn()
        config.disable_glog_info()
        if num_threads:
            config.set_cpu_math_library_num_threads(num_threads)
        self.predictor = inference.create_predictor(config)

    def _run(self, inputs):
        for name, array in zip(self.predictor.get_input_names(), inputs, strict=True):
            handle = self.predictor.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)
        self.predictor.run()
        return self.predictor.get_output_handle(self.predictor.get_output_names()[0]).copy_to_cpu()


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime on a CPU; reads a folder of `ernie export --format onnx`."""

    name = "onnxruntime"

    def __init__(self, task: str, folder, num_threads: int | None = None):
        onnxruntime = import_extra("onnxruntime")
        super().__init__(task)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if num_threads:
            options.intra_op_num_threads = num_threads
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, inputs):
        return self.session.run(None, dict(zip(INPUTS[self.task], inputs, strict=True)))[0]


class OpenVinoBackend(Backend):
    """OpenVINO on a CPU, in float32; reads a folder of `ernie export --format onnx`."""

    name = "openvino"

    def __init__(self, task: str, folder, num_threads: int | None = None):
        openvino = import_extra("openvino")
        super().__init__(task)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if num_threads:
            settings["INFERENCE_NUM_THREADS"] = num_threads
        self.compiled = openvino.Core().compile_model(str(Path(folder) / "model.onnx"), "CPU", settings)

    def _run(self, inputs):
        return np.array(self.compiled(dict(zip(INPUTS[self.task], inputs, strict=True)))[0])


EXPORTED = {  # format of an export folder -> backends that read it, the default first
    "paddle": (PaddleInferenceBackend,),
    "onnx": (OnnxRuntimeBackend, OpenVinoBackend),
}
BACKENDS = ("auto", "paddle", "paddle_inference", "onnxruntime", "openvino")


def import_extra(module: str):
    """Import a library of the extra [deploy]; UserError says how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f'{module} is not installed; run `pip install "ernie_from_scratch[deploy]"`'
        ) from error


def read_export(folder) -> dict | None:
    """What `ernie export` wrote about an export folder, or None when the folder is no export."""
    path = Path(folder) / EXPORT_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise UserError(f"not JSON: {path}; export the model again") from error


ARCHITECTURES = {
    "ErnieForSequenceClassification": "text-classification",
    "ErnieForMaskedLM": "fill-mask",
    "ErnieForPretraining": "fill-mask",
}


def find_task(folder) -> str:
    """The task of a model or export folder: as it was exported, by the architecture that its config.json
    names, or else by the head whose weights it holds.

    Raises:
        UserError: the folder names or holds a head for none of TASKS.
    """
    export = read_export(folder)
    if export:
        return export["task"]
    config = Path(folder) / "config.json"
    names = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config.is_file() else None
    name = names[0] if names else ""
    found = ARCHITECTURES.get(name)
    if found is None and "For" not in name:  # no task named
        found = _task_of_weights(Path(folder))
    if found is None:
        raise UserError(f"no head for {' or '.join(TASKS)}: {folder} holds {name or 'a network without one'}")
    return found


def _task_of_weights(folder):
    from ernie_from_scratch.weights.files import find_weights, read_weights

    names = read_weights(find_weights(folder))
    heads = {"cls.predictions.": "fill-mask", "classifier.": "text-classification"}
    return next((task for head, task in heads.items() if any(name.startswith(head) for name in names)), None)


def load_backend(folder, task: str, name: str = "auto", num_threads: int | None = None) -> Backend:
    """Load a model folder (dynamic graph) or an export folder under the backend `name`, "auto" for the
    fitting one.

    Raises:
        UserError: unknown or unfitting backend, other task than exported, missing library or files.
    """
    if name not in BACKENDS:
        raise UserError(f"unknown backend: {name}; choose one of {', '.join(BACKENDS)}")
    export = read_export(folder)
    if export is None:
        if name not in ("auto", "paddle"):
            raise UserError(
                f"not exported: {folder} is a model folder; run `ernie export` first to use {name}"
            )
        if find_task(folder) != task:  # its head would start with random numbers
            raise UserError(f"other task: {folder} has a head for {find_task(folder)}, not for {task}")
        return PaddleBackend.load(folder, task)
    if export["task"] != task:
        raise UserError(f"other task: {folder} was exported for {export['task']}, not {task}")
    fitting = {kind.name: kind for kind in EXPORTED[export["format"]]}
    name = next(iter(fitting)) if name == "auto" else name
    if name not in fitting:
        raise UserError(
            f"{folder} holds the format {export['format']}; {name} can't read it, use {' or '.join(fitting)}"
        )
    for file in export["files"]:
        if not (Path(folder) / file).is_file():
            raise UserError(f"incomplete export: {folder} has no {file}; export the model again")
    return fitting[name](task, folder, num_threads)


def read_config(folder) -> ErnieConfig:
    """The model's config.json, which export folders carry too."""
    if not Path(folder).is_dir():
        raise UserError(f"no such model folder: {folder}; check the spelling of the path")
    return ErnieConfig.from_file(folder)
