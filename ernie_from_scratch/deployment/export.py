"""Export: a model folder becomes a graph that other engines run, in a folder with everything that a server needs.

The folder holds model.json + model.pdiparams (Paddle) or model.onnx, config.json (with the label names), vocab.txt,
tokenizer_config.json, and export.json (task, format, files, largest difference from the network).

B rows, L sequence length, M masked positions: all dynamic in the exported graph.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

import ernie_from_scratch
from ernie_from_scratch.config import EncoderConfig, UserError
from ernie_from_scratch.deployment.backends.base import Backend
from ernie_from_scratch.deployment.backends.paddle_dynamic import PaddleBackend
from ernie_from_scratch.deployment.backends.registry import EXPORT_FORMATS, load_backend
from ernie_from_scratch.deployment.folders import EXPORT_FILE, find_task, read_config
from ernie_from_scratch.deployment.settings import ExportSettings
from ernie_from_scratch.deployment.tasks import Task, get_task
from ernie_from_scratch.models.masks import additive_mask
from ernie_from_scratch.text.tokenizers.auto import load_tokenizer
from ernie_from_scratch.utils.folders import atomic_folder
from ernie_from_scratch.utils.imports import import_extra

OPSET = 17
TOLERANCE = 1e-3  # largest accepted difference of logits; float32 engines stay far below
CHECKED_SHAPES = ((1, 8), (3, 17), (4, 64))  # (B, L) of the random inputs

# It branches on the number of axes, which is known while tracing: there is nothing to convert.
paddle.jit.not_to_static(additive_mask)


class GraphModel(paddle.nn.Layer):
    """A network that takes a list of the inputs of its task, without any branch that depends on their values."""

    def __init__(self, network: paddle.nn.Layer, task: Task):
        super().__init__()
        self.network, self.names = network, [spec.name for spec in task.inputs_for(network.config)]
        self.pad_id = network.config.pad_token_id

    def forward(self, inputs: list[paddle.Tensor]) -> Any:
        named = dict(zip(self.names, inputs))  # noqa: B905 (Paddle cannot trace strict=True)
        # The mask that `additive_mask` makes of a 2-D one; that function looks at the values first.
        padding = (named["input_ids"] == self.pad_id).astype(paddle.get_default_dtype())  # [B, L]
        return self.network(**named, attention_mask=(padding * -1e4).unsqueeze([1, 2]))  # [B, 1, 1, L]


def export(
    model: str | Path,
    output: str | Path,
    format: str = ExportSettings.format,
    task: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Export the folder `model` to the folder `output`, and compare both on random inputs.

    Args:
        format: "paddle" (paddle.jit.save, for paddle_inference) or "onnx" (opset 17, for onnxruntime and openvino).
        task: a name of `deployment.tasks.TASKS`; default: the one that the folder was saved for.

    Returns:
        The content of export.json; `max_difference` is the largest absolute difference of outputs on the random
        inputs.

    Raises:
        UserError: no model, an unknown format, a missing library, an output folder that exists and holds other
            files or can't be written, or a graph that disagrees with the network. `output` is unchanged then.
    """
    if format not in EXPORT_FORMATS:
        raise UserError(f"unknown format: {format}; choose one of {', '.join(EXPORT_FORMATS)}")
    chosen = None if task is None else get_task(task)
    if format == "onnx":
        import_extra("paddle2onnx")
    config = read_config(model)
    chosen = chosen or find_task(model)
    tokenizer = load_tokenizer(model)
    dynamic = load_backend(model, chosen, "paddle")
    assert isinstance(dynamic, PaddleBackend)
    output = Path(output)
    if output.resolve() == Path(model).resolve():
        raise UserError(f"output folder {output} is the model itself; choose another one")
    with atomic_folder(output, replace=(output / EXPORT_FILE).is_file()) as folder:
        _write_graph(dynamic.network, chosen, format, folder)
        config.save(folder)
        tokenizer.save_pretrained(folder)
        record: dict[str, Any] = {
            "task": chosen.name,
            "format": format,
            "files": list(EXPORT_FORMATS[format]),
            "inputs": [spec.name for spec in dynamic.inputs],
        }
        _write_record(folder, record)
        record["max_difference"] = max_difference(dynamic, load_backend(folder, chosen), config)
        record["paddle"] = paddle.__version__
        record["ernie_from_scratch"] = ernie_from_scratch.__version__
        if not record["max_difference"] <= TOLERANCE:
            raise UserError(
                f"wrong export: the {format} graph of {model} differs from the network by "
                f"{record['max_difference']:.1e}; please report it with what `ernie doctor` prints"
            )
        _write_record(folder, record)
    if not quiet:
        size = sum(file.stat().st_size for file in output.iterdir()) / 1e6
        difference = f"differs from the network by at most {record['max_difference']:.1e}"
        print(f"{output}: {chosen.name}, {format}, {size:.1f} MB, {difference}", file=sys.stderr)
    return record


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    (folder / EXPORT_FILE).write_text(text, encoding="utf-8")


def _write_graph(network: paddle.nn.Layer, task: Task, format: str, folder: Path) -> None:
    """Write the graph's files of EXPORT_FORMATS into `folder`, with all axes of the inputs dynamic."""
    inputs = task.inputs_for(network.config)
    specs = [InputSpec([None] * len(spec.shape), spec.dtype, spec.name) for spec in inputs]
    graph = GraphModel(network, task)
    graph.eval()
    paddle.jit.save(paddle.jit.to_static(graph, input_spec=[specs], full_graph=True), str(folder / "model"))
    if format == "onnx":
        paddle2onnx = import_extra("paddle2onnx")
        with stdout_to_stderr():
            # Without a file name it returns bytes, and skips its optimizers, one of which calls pip.
            graph_bytes = paddle2onnx.export(
                str(folder / "model.json"), str(folder / "model.pdiparams"), None, opset_version=OPSET
            )
        (folder / "model.onnx").write_bytes(graph_bytes)
    for file in list(folder.iterdir()):
        if file.name not in EXPORT_FORMATS[format]:
            file.unlink()


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect stdout to stderr, also for C++ libraries."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def random_inputs(
    task: Task, config: EncoderConfig, rows: int, length: int, seed: int
) -> dict[str, np.ndarray]:
    """Random inputs of a task: ids [B, L] with padding at the end of some rows, masked positions [M] among the
    other tokens.
    """
    rng = np.random.default_rng([seed, rows, length])
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    lengths = rng.integers(length // 2, length + 1, rows)  # [B]
    ids[np.arange(length) >= lengths[:, None]] = config.pad_token_id
    types = rng.integers(0, max(1, min(2, config.type_vocab_size)), (rows, length))
    positions = [row * length + i for row in range(rows) for i in range(lengths[row] // 2)]
    arrays = {"input_ids": ids, "token_type_ids": types, "masked_positions": np.array(positions)}
    return {spec.name: arrays[spec.name].astype(spec.dtype) for spec in task.inputs}


def max_difference(one: Backend, other: Backend, config: EncoderConfig) -> float:
    """Largest absolute difference of the outputs of two backends on random inputs of several shapes."""
    differences = []
    for rows, length in CHECKED_SHAPES:
        inputs = random_inputs(one.task, config, rows, min(length, config.max_position_embeddings), seed=0)
        expected, found = one.run(**inputs), other.run(**inputs)
        differences += [np.abs(expected[name] - found[name]).max() for name in expected]
    return float(np.max(differences))
