"""`ernie convert`: write a model in another layout, and check it: each toolkit runs its folder on the same ids.

The layouts are listed in weights/layouts.py.
"""

import importlib.util
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ernie_from_scratch.config import EncoderConfig, UserError
from ernie_from_scratch.models.pretrained import PretrainedModel
from ernie_from_scratch.models.registry import (
    ModelFamily,
    family_of_folder,
    family_of_preset,
    head_of_architecture,
)
from ernie_from_scratch.weights.files import (
    find_weights,
    read_variables,
    read_weights,
    write_pdparams,
    write_safetensors,
    write_variables,
)
from ernie_from_scratch.weights.layouts import LAYOUT_ALIASES, LAYOUTS
from ernie_from_scratch.weights.names import (
    from_huggingface,
    from_static,
    head_of_static,
    head_of_weights,
    huggingface_class,
    is_huggingface,
    is_static,
    static_names,
    to_huggingface,
)
from ernie_from_scratch.weights.pretrained import load_weights, numpy_weights

TOLERANCE = 1e-4  # of float32 outputs, relative to the largest


@dataclass
class ModelFolder:
    """The source or the output of a conversion; the last two fields are the source's."""

    folder: Path
    layout: str  # one of LAYOUTS
    architecture: str  # class of the network
    toolkit: str = ""  # what ran it for the comparison
    converted: int = 0  # number of converted tensors
    skipped: list[str] = field(default_factory=list)  # variables outside the network, such as an optimizer's


def convert(
    model: str | Path, output: str | Path, to: str, model_config: str | Path | None = None
) -> tuple[ModelFolder, ModelFolder, float]:
    """Read a model folder of any layout, write it to the folder `output` in the layout `to`, and compare both.

    Args:
        model_config: name of a preset, a config.json or its folder, for a source without one (a bare static_vars).

    Returns:
        The source, the output, and the largest absolute difference of what they compute.

    Raises:
        UserError: the source can't be read, or the results differ.
    """
    source, output = Path(model), Path(output)
    to = LAYOUT_ALIASES.get(to, to)
    if to not in LAYOUTS:
        raise UserError(f"unknown layout: {to}; known: {', '.join(LAYOUTS)}")
    if not source.is_dir():
        raise UserError(f"no such folder: {source}; give the folder of a model or of static_vars")
    if output.resolve() == source.resolve():
        raise UserError(f"source and output are the same folder: {output}; choose another output")
    family, config, config_folder = find_config(source, model_config)
    layout, tensors = read_source(source, family.backbone.base_name)
    head = find_head(config_folder, tensors, family, config)
    network = (family.heads[head] if head else family.backbone)(config)
    if layout == "huggingface":
        renamed = from_huggingface(tensors, network.base_name)
    else:
        renamed = from_static(tensors, network) if layout in ("static", "persistables") else tensors
    load_weights(network, renamed, source)
    write_model(network, output, to)
    for name in ("vocab.txt", "tokenizer_config.json"):
        if config_folder and (config_folder / name).is_file():
            shutil.copyfile(config_folder / name, output / name)

    architecture = type(network).__name__
    read, written = ModelFolder(source, layout, architecture), ModelFolder(output, to, architecture)
    if layout in ("static", "persistables"):
        used = {id(tensor) for tensor in renamed.values()}
        read.skipped = sorted(name for name, tensor in tensors.items() if id(tensor) not in used)
    read.converted = len(tensors) - len(read.skipped)
    length = min(16, config.max_position_embeddings)
    ids = np.random.default_rng(0).integers(0, config.vocab_size - 1, (2, 2, length))
    ids += ids >= config.pad_token_id  # no padding: its embedding is zero in PaddleNLP, not in Hugging Face
    ids = ids if head == "multiple-choice" else ids[0]  # [B, A, L] (A choices) or [B, L]
    first, second = (run_model(folder, network, ids) for folder in (read, written))
    difference = max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))
    if not difference <= TOLERANCE * max(1.0, *(float(np.abs(a).max()) for a in first)):
        raise UserError(f"outputs differ by {difference:.1e}: {source} and {output}; do not use the result")
    return read, written, difference


def find_config(
    source: Path, model_config: str | Path | None
) -> tuple[ModelFamily, EncoderConfig, Path | None]:
    """The family, the configuration and the folder that it was read from (None: a preset): `model_config`, or the
    file in the source or, for a static_vars, in its parent.
    """
    if model_config is not None:
        family = family_of_preset(str(model_config))
        if family is not None:
            return family, family.config_class.preset(str(model_config)), None
        path = Path(model_config)
        family = family_of_folder(path)
        return family, family.config_class.from_file(path), path if path.is_dir() else path.parent
    for folder in (source, source.parent):
        if (folder / "config.json").is_file() or (folder / "model_config.json").is_file():
            family = family_of_folder(folder)
            return family, family.config_class.from_file(folder), folder
    raise UserError(f"no config.json: {source}; name a preset or a config.json with --model_config")


def read_source(source: Path, base_name: str) -> tuple[str, dict[str, np.ndarray]]:
    """The layout of a model folder and its tensors, with their names there."""
    folder = source / "static_vars" if (source / "static_vars").is_dir() else source
    if next(folder.glob("embedding_*.w_0"), None):
        return "persistables", read_variables(folder)
    tensors = read_weights(find_weights(source))
    if is_static(tensors):
        return "static", tensors
    return ("huggingface" if is_huggingface(tensors, base_name) else "paddlenlp"), tensors


def find_head(
    folder: Path | None, tensors: dict[str, np.ndarray], family: ModelFamily, config: EncoderConfig
) -> str | None:
    """The head of the network that was saved (None: it has none): as config.json says, or as the tensors show."""
    path = folder and folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    if values.get("architectures"):
        name = values["architectures"][0]
        if name == family.backbone.__name__:
            return None
        found = head_of_architecture(name)
        if found is not None:
            return found[1]
    if is_static(tensors):
        return head_of_static(tensors, config.num_hidden_layers)
    return head_of_weights(tensors)


def write_model(network: PretrainedModel, output: Path, layout: str) -> None:
    """Write the configuration and the weights of a network in a layout of LAYOUTS."""
    tensors = numpy_weights(network.state_dict())
    name, config = type(network).__name__, network.config
    if layout == "huggingface":
        known = head_of_architecture(name)
        answers_questions = known is not None and known[1] == "question-answering"
        if answers_questions:
            config = replace(config, num_labels=2, id2label=None)  # start and end are labels there
        config.save(output, architectures=[huggingface_class(name)])
        renamed = to_huggingface(tensors, network.base_name, question_answering=answers_questions)
        write_safetensors(output / "model.safetensors", renamed, {"format": "pt"})
        return
    config.save(output, architectures=[name])
    if layout == "paddlenlp":
        write_pdparams(output / "model_state.pdparams", tensors)
        return
    variables = {theirs: tensors[ours] for ours, theirs in static_names(network).items()}
    if layout == "static":
        write_pdparams(output / "static_vars.pdparams", variables)
    else:
        write_variables(output / "static_vars", variables)


# --- Running a folder with the toolkit of its layout ----------------------------------------------


def is_installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


def run_model(model: ModelFolder, network: PretrainedModel, ids: np.ndarray) -> list[np.ndarray]:
    """The outputs of a folder for ids [B, L], and sets `model.toolkit`: the one of its layout, or this package where
    that is not installed.
    """
    if model.layout == "paddlenlp" and is_installed("paddlenlp"):
        import paddlenlp
        from paddlenlp import transformers

        model.toolkit = f"paddlenlp {paddlenlp.__version__}"
        return _run_dynamic(getattr(transformers, model.architecture).from_pretrained(str(model.folder)), ids)
    if model.layout == "huggingface" and is_installed("torch", "transformers"):
        return _run_torch(model, ids)
    if model.layout in ("static", "persistables"):
        model.toolkit = f"static graph, paddle {paddle.__version__}"
        return _run_static(network, read_source(model.folder, network.base_name)[1], ids)
    model.toolkit = "ernie_from_scratch"
    return _run_dynamic(type(network).from_pretrained(model.folder), ids)


def _to_list(output: Any) -> list:
    return list(output) if isinstance(output, tuple | list) else [output]


def _run_dynamic(network: paddle.nn.Layer, ids: np.ndarray) -> list[np.ndarray]:
    network.eval()
    with paddle.no_grad():
        return [tensor.numpy() for tensor in _to_list(network(paddle.to_tensor(ids)))]


def _run_torch(model: ModelFolder, ids: np.ndarray) -> list[np.ndarray]:
    import torch
    import transformers

    model.toolkit = f"transformers {transformers.__version__}"
    network_class = getattr(transformers, huggingface_class(model.architecture))
    network = network_class.from_pretrained(model.folder).eval()
    with torch.no_grad():
        return [tensor.numpy() for tensor in network(torch.from_numpy(ids), return_dict=False)]


def _run_static(
    network: PretrainedModel, variables: dict[str, np.ndarray], ids: np.ndarray
) -> list[np.ndarray]:
    """Build the network again as a static graph, set its variables to those of the files, and execute it."""
    paddle.enable_static()
    try:
        main, startup, scope = paddle.static.Program(), paddle.static.Program(), paddle.static.Scope()
        with (
            paddle.utils.unique_name.guard(),
            paddle.static.program_guard(main, startup),
            paddle.static.scope_guard(scope),
        ):
            static = type(network)(network.config)
            static.eval()
            outputs = _to_list(static(paddle.static.data("input_ids", list(ids.shape), "int64")))
            executor = paddle.static.Executor(paddle.CPUPlace())
            executor.run(startup)
            tensors = from_static(variables, network)
            for name, parameter in static.state_dict().items():
                if name in tensors:  # a tied tensor has one of its names there
                    scope.find_var(parameter.name).get_tensor().set(tensors[name], paddle.CPUPlace())
            return executor.run(main, feed={"input_ids": ids}, fetch_list=outputs)
    finally:
        paddle.disable_static()
