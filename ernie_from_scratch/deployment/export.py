"""Export: a model folder becomes a graph file that other engines run, in a folder with all that a server
needs.

The folder holds model.json + model.pdiparams (Paddle) or model.onnx, config.json (with the label names),
vocab.txt, tokenizer_config.json, and export.json (task, format, files, largest difference to the network it
came from).
B rows, L sequence, M masked positions: all dynamic in the exported graph.
"""

import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle
from paddle.static import InputSpec

import ernie_from_scratch
from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.backends import (
    EXPORT_FILE,
    EXPORTED,
    INPUTS,
    TASKS,
    find_task,
    import_extra,
    load_backend,
    read_config,
)
from ernie_from_scratch.models.masks import additive_mask
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer
from ernie_from_scratch.utils.files import cannot_write, flush_to_disk

FORMATS = tuple(EXPORTED)
FILES = {"paddle": ["model.json", "model.pdiparams"], "onnx": ["model.onnx"]}
OPSET = 17
TOLERANCE = 1e-3  # largest difference of logits that passes; float32 engines stay far below
CHECKED_SHAPES = ((1, 8), (3, 17), (4, 64))  # (B, L) of the random inputs


paddle.jit.not_to_static(
    additive_mask
)  # its ifs look at the number of axes: nothing to rewrite while tracing


class GraphModel(paddle.nn.Layer):
    """The network with the inputs of its task, and no decision that depends on their values."""

    def __init__(self, model, task):
        super().__init__()
        self.model, self.task = model, task
        self.pad_id = model.config.pad_token_id

    def forward(self, input_ids, token_type_ids, masked_positions=None):
        # the additive mask that `additive_mask` makes of a 2-D one, but without its look at the values
        padding = (input_ids == self.pad_id).astype(paddle.get_default_dtype())  # [B, L]
        mask = (padding * -1e4).unsqueeze([1, 2])  # [B, 1, 1, L]
        more = {} if masked_positions is None else {"masked_positions": masked_positions}
        return self.model(input_ids, token_type_ids=token_type_ids, attention_mask=mask, **more)


def export(model, output, format: str = "paddle", task: str | None = None, quiet: bool = False) -> dict:
    """Export the folder `model` to the folder `output`, and compare both on random inputs.

    Args:
        format: "paddle" (paddle.jit.save, for paddle_inference) or "onnx" (opset 17, for onnxruntime and
            openvino).
        task: "text-classification" or "fill-mask"; None: as the model's config tells.

    Returns:
        What export.json holds; `max_difference` is the largest absolute difference of logits on the random
        inputs.

    Raises:
        UserError: no model, an unknown format, a missing library, an output folder that exists with other
            things in it or can't be written, or a graph that doesn't agree with the network. Nothing is left
            in `output` then.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format: {format}; choose one of {', '.join(FORMATS)}")
    if task is not None and task not in TASKS:
        raise UserError(f"unknown task: {task}; choose one of {', '.join(TASKS)}")
    if format == "onnx":
        import_extra("paddle2onnx")
    config = read_config(model)
    task = task or find_task(model)
    tokenizer = ErnieTokenizer.from_pretrained(model)
    dynamic = load_backend(model, task, "paddle")
    output = Path(output)
    _check_output(output, Path(model))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise cannot_write(output, error) from error
    try:
        _write_graph(dynamic, format, temporary)
        config.save(temporary)
        tokenizer.save_pretrained(temporary)
        about = {"task": task, "format": format, "files": FILES[format], "inputs": list(INPUTS[task])}
        _write_about(temporary, about)
        about["max_difference"] = max_difference(dynamic, load_backend(temporary, task), config)
        about["paddle"] = paddle.__version__
        about["ernie_from_scratch"] = ernie_from_scratch.__version__
        if not about["max_difference"] <= TOLERANCE:
            raise UserError(
                f"wrong export: the {format} graph of {model} differs from the network by "
                f"{about['max_difference']:.1e}; please report it with what `ernie doctor` prints"
            )
        _write_about(temporary, about)
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            flush_to_disk(file)
        shutil.rmtree(output, ignore_errors=True)
        temporary.rename(output)
    except OSError as error:
        raise cannot_write(output, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not quiet:
        size = sum(file.stat().st_size for file in output.iterdir()) / 1e6
        closeness = f"differs from the network by at most {about['max_difference']:.1e}"
        print(f"{output}: {task}, {format}, {size:.1f} MB, {closeness}", file=sys.stderr)
    return about


def _check_output(output, model):
    if output.resolve() == model.resolve():
        raise UserError(f"output folder {output} is the model itself; choose another one")
    if output.exists() and not output.is_dir():
        raise UserError(f"output folder {output} is a file; choose another name")
    if output.is_dir() and any(output.iterdir()) and not (output / EXPORT_FILE).is_file():
        raise UserError(f"output folder {output} holds other files; choose an empty or a new one")


def _write_about(folder, about):
    text = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
    (folder / EXPORT_FILE).write_text(text, encoding="utf-8")


def _write_graph(dynamic, format, folder):
    shapes = {"input_ids": [None, None], "token_type_ids": [None, None], "masked_positions": [None]}
    specs = [InputSpec(shapes[name], "int64", name) for name in INPUTS[dynamic.task]]
    graph = GraphModel(dynamic.model, dynamic.task)
    graph.eval()
    paddle.jit.save(paddle.jit.to_static(graph, input_spec=specs, full_graph=True), str(folder / "model"))
    if format == "onnx":
        paddle2onnx = import_extra("paddle2onnx")
        with stdout_to_stderr():
            # without a file name it gives bytes, and its optimisers, one of which calls pip, stay out of it
            graph_bytes = paddle2onnx.export(
                str(folder / "model.json"), str(folder / "model.pdiparams"), None, opset_version=OPSET
            )
        (folder / "model.onnx").write_bytes(graph_bytes)
    kept = set(FILES[format])
    for file in list(folder.iterdir()):
        if file.name not in kept:
            file.unlink()


@contextmanager
def stdout_to_stderr():
    """What a C++ library prints on stdout goes to stderr meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def random_inputs(task: str, config, rows: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """Random ids [B, L] with padding at the ends of some rows, and for fill-mask random places [M]."""
    rng = np.random.default_rng([seed, rows, length])
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    used = rng.integers(length // 2, length + 1, rows)  # [B]
    ids[np.arange(length) >= used[:, None]] = config.pad_token_id
    types = rng.integers(0, max(1, min(2, config.type_vocab_size)), (rows, length))
    inputs = {"input_ids": ids, "token_type_ids": types}
    if task == "fill-mask":
        inputs["masked_positions"] = np.array(
            [r * length + p for r in range(rows) for p in range(used[r] // 2)]
        )
    return {name: array.astype(np.int64) for name, array in inputs.items()}


def max_difference(one, other, config) -> float:
    """Largest absolute difference of the logits of two backends on random inputs of several shapes."""
    differences = []
    for rows, length in CHECKED_SHAPES:
        inputs = random_inputs(one.task, config, rows, min(length, config.max_position_embeddings), seed=0)
        differences.append(np.abs(one.run(**inputs) - other.run(**inputs)).max())
    return float(np.max(differences))
