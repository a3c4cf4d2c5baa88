"""The inference engines and the folders that they read: one entry of BACKENDS each.

Importing this module is cheap (no Paddle, no numpy), since `ernie ... --help` lists the names.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.folders import find_task, read_export
from ernie_from_scratch.deployment.tasks import Task
from ernie_from_scratch.utils.imports import import_extra, load_object

if TYPE_CHECKING:
    from ernie_from_scratch.deployment.backends.base import Backend

# Format of an export folder -> the files of its graph.
EXPORT_FORMATS: dict[str, tuple[str, ...]] = {
    "paddle": ("model.json", "model.pdiparams"),
    "onnx": ("model.onnx",),
}


@dataclass(frozen=True)
class BackendEntry:
    """An engine."""

    name: str  # as in --backend
    format: str | None  # the export format that it reads, a key of EXPORT_FORMATS; None: a model folder
    backend: str  # its class, as "module:Class"
    library: str | None = None  # optional library that it needs besides Paddle


_PACKAGE = "ernie_from_scratch.deployment.backends"
# Of the backends that read the same format, "auto" takes the first.
BACKENDS: dict[str, BackendEntry] = {
    entry.name: entry
    for entry in (
        BackendEntry("paddle", None, f"{_PACKAGE}.paddle_dynamic:PaddleBackend"),
        BackendEntry("paddle_inference", "paddle", f"{_PACKAGE}.paddle_inference:PaddleInferenceBackend"),
        BackendEntry("onnxruntime", "onnx", f"{_PACKAGE}.onnx_runtime:OnnxRuntimeBackend", "onnxruntime"),
        BackendEntry("openvino", "onnx", f"{_PACKAGE}.openvino:OpenVinoBackend", "openvino"),
    )
}
BACKEND_CHOICES = ("auto", *BACKENDS)


def backends_of_format(format: str | None) -> list[str]:
    """Names of the backends that read an export format (None: model folders), the default first."""
    return [entry.name for entry in BACKENDS.values() if entry.format == format]


def load_backend(
    folder: str | Path, task: Task, name: str = BACKEND_CHOICES[0], num_threads: int | None = None
) -> "Backend":
    """Load a model folder (dynamic graph) or an export folder into the backend `name`; "auto" takes the default
    of the folder's format. `num_threads` is the number of CPU threads of an exported graph.

    Raises:
        UserError: an unknown backend, one that can't read the folder, a model of another task, a missing library or
            missing files.
    """
    if name not in BACKEND_CHOICES:
        raise UserError(f"unknown backend: {name}; choose one of {', '.join(BACKEND_CHOICES)}")
    export = read_export(folder)
    format = export["format"] if export else None
    readers = backends_of_format(format)
    name = readers[0] if name == "auto" else name
    if export is None:
        if name not in readers:
            raise UserError(
                f"not exported: {folder} is a model folder; run `ernie export` first to use {name}"
            )
        found = find_task(folder)
        if found != task:  # the head of `task` would be initialized randomly
            raise UserError(f"other task: {folder} has a head for {found.name}, not for {task.name}")
    else:
        if export["task"] != task.name:
            raise UserError(f"other task: {folder} was exported for {export['task']}, not {task.name}")
        if name not in readers:
            raise UserError(
                f"{folder} has the format {format}; {name} can't read it, use {' or '.join(readers)}"
            )
        for file in export["files"]:
            if not (Path(folder) / file).is_file():
                raise UserError(f"incomplete export: {folder} has no {file}; export the model again")
    entry = BACKENDS[name]
    if entry.library:
        import_extra(entry.library)
    return load_object(entry.backend)(task, folder, num_threads)
