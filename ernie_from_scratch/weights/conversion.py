"""The same weights in another layout, and the proof: both sides run on the same ids, each by its own toolkit.

paddlenlp     config.json, model_state.pdparams
huggingface   config.json, model.safetensors
static        config.json, static_vars.pdparams: what paddle.static.save writes
persistables  config.json, static_vars/: one file per variable, what save_persistables writes
"""

import importlib.util
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch import models
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.weights.files import (
    find_weights,
    read_variables,
    read_weights,
    write_pdparams,
    write_safetensors,
    write_variables,
)
from ernie_from_scratch.weights.names import (
    from_huggingface,
    from_static,
    is_huggingface,
    is_static,
    static_class,
    static_names,
    to_huggingface,
)
from ernie_from_scratch.weights.pretrained import load_weights, numpy_weights

LAYOUTS = ("paddlenlp", "huggingface", "static", "persistables")
TOLERANCE = 1e-4  # of float32 outputs, relative to the largest


@dataclass
class Side:
    """One of the two folders: its layout, the class of its model, and who ran it; of the source, the number of
    tensors that were taken over, and the names of variables left aside (an optimizer's).
    """

    folder: Path
    layout: str
    architecture: str
    runner: str = ""
    tensors: int = 0
    aside: list[str] = field(default_factory=list)


def convert(model, output, to: str, model_config=None) -> tuple[Side, Side, float]:
    """Reads any layout from the folder `model`, writes `to` into the folder `output`, and compares them.

    model_config: a preset's name or a config.json, for folders without one (a bare static_vars).
    Returns both sides and the largest absolute difference of their outputs.
    Raises UserError when the source cannot be read or the outputs differ.
    """
    source, output = Path(model), Path(output)
    if to not in LAYOUTS:
        raise UserError(f"unknown layout: {to}; known: {', '.join(LAYOUTS)}")
    if not source.is_dir():
        raise UserError(f"no such folder: {source}; give the folder of a model or of static_vars")
    if output.resolve() == source.resolve():
        raise UserError(f"source and output are the same folder: {output}; choose another output")
    config, config_folder = find_config(source, model_config)
    layout, tensors = read_source(source)
    architecture = find_architecture(config_folder, tensors, config)
    network = getattr(models, architecture)(config)
    if layout == "huggingface":
        ours = from_huggingface(tensors)
    else:
        ours = from_static(tensors, network) if layout in ("static", "persistables") else tensors
    load_weights(network, ours, source)
    write(network, output, to, architecture)
    for name in ("vocab.txt", "tokenizer_config.json"):
        if config_folder and (config_folder / name).is_file():
            shutil.copyfile(config_folder / name, output / name)

    sides = Side(source, layout, architecture), Side(output, to, architecture)
    if layout in ("static", "persistables"):
        used = {id(tensor) for tensor in ours.values()}
        sides[0].aside = sorted(name for name, tensor in tensors.items() if id(tensor) not in used)
    sides[0].tensors = len(tensors) - len(sides[0].aside)
    length = min(16, config.max_position_embeddings)
    ids = np.random.default_rng(0).integers(0, config.vocab_size - 1, (2, 2, length))
    ids += ids >= config.pad_token_id  # no padding: Hugging Face gives it a vector, PaddleNLP zeros
    ids = ids if architecture == "ErnieForMultipleChoice" else ids[0]
    first, second = (run(side, network, ids) for side in sides)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))
    if not difference <= TOLERANCE * max(1.0, *(float(np.abs(a).max()) for a in first)):
        raise UserError(f"outputs differ by {difference:.1e}: {source} and {output}; do not use the result")
    return *sides, difference


def find_config(source: Path, model_config) -> tuple[ErnieConfig, Path | None]:
    """The configuration and the folder it came from: given, in the source, or one folder above a static_vars."""
    if model_config is not None:
        if str(model_config) in ErnieConfig.preset_names():
            return ErnieConfig.preset(str(model_config)), None
        path = Path(model_config)
        return ErnieConfig.from_file(path), path if path.is_dir() else path.parent
    for folder in (source, source.parent):
        if (folder / "config.json").is_file() or (folder / "model_config.json").is_file():
            return ErnieConfig.from_file(folder), folder
    raise UserError(f"no config.json: {source}; name a preset or a config.json with --model_config")


def read_source(source: Path) -> tuple[str, dict[str, np.ndarray]]:
    folder = source / "static_vars" if (source / "static_vars").is_dir() else source
    if next(folder.glob("embedding_*.w_0"), None):
        return "persistables", read_variables(folder)
    tensors = read_weights(find_weights(source))
    if is_static(tensors):
        return "static", tensors
    return ("huggingface" if is_huggingface(tensors) else "paddlenlp"), tensors


def find_architecture(folder: Path | None, tensors, config) -> str:
    """The class that was saved: as config.json names it, or as the heads tell."""
    path = folder and folder / "config.json"
    named = (
        json.loads(path.read_text(encoding="utf-8")).get("architectures") if path and path.is_file() else None
    )
    if named:
        name = named[0].replace("ForPreTraining", "ForPretraining")  # Hugging Face writes a capital T
        if name in models.__all__:
            return name
    if is_static(tensors):
        return static_class(tensors, config)
    for start, name in (
        ("cls.seq_relationship", "ErnieForPretraining"),
        ("cls.predictions", "ErnieForMaskedLM"),
        ("qa_outputs", "ErnieForQuestionAnswering"),
        ("classifier", "ErnieForSequenceClassification"),
    ):
        if any(key.startswith(start) for key in tensors):
            return name
    return "ErnieModel"


def write(network, output: Path, layout: str, architecture: str) -> None:
    tensors = numpy_weights(network.state_dict())
    name = (
        architecture.replace("ForPretraining", "ForPreTraining") if layout == "huggingface" else architecture
    )
    config = network.config
    if layout == "huggingface" and architecture == "ErnieForQuestionAnswering":
        config = replace(config, num_labels=2, id2label=None)  # start and end are labels there
    config.save(output, architectures=[name])
    if layout == "paddlenlp":
        write_pdparams(output / "model_state.pdparams", tensors)
    elif layout == "huggingface":
        renamed = to_huggingface(tensors, question_answering=architecture == "ErnieForQuestionAnswering")
        write_safetensors(output / "model.safetensors", renamed, {"format": "pt"})
    else:
        variables = {theirs: tensors[ours] for ours, theirs in static_names(network).items()}
        if layout == "static":
            write_pdparams(output / "static_vars.pdparams", variables)
        else:
            write_variables(output / "static_vars", variables)


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


def run(side: Side, network, ids: np.ndarray) -> list[np.ndarray]:
    """The outputs of one side for ids [B, L]; by this package where the side's own toolkit is not installed."""
    if side.layout == "paddlenlp" and installed("paddlenlp"):
        import paddlenlp

        side.runner = f"paddlenlp {paddlenlp.__version__}"
        from paddlenlp import transformers

        return run_eagerly(getattr(transformers, side.architecture).from_pretrained(str(side.folder)), ids)
    if side.layout == "huggingface" and installed("torch", "transformers"):
        return run_in_torch(side, ids)
    if side.layout in ("static", "persistables"):
        side.runner = f"static graph, paddle {paddle.__version__}"
        return run_statically(network, read_source(side.folder)[1], ids)
    side.runner = "ernie_from_scratch"
    return run_eagerly(type(network).from_pretrained(side.folder), ids)


def arrays(output) -> list:
    return list(output) if isinstance(output, tuple | list) else [output]


def run_eagerly(network, ids: np.ndarray) -> list[np.ndarray]:
    network.eval()
    with paddle.no_grad():
        return [tensor.numpy() for tensor in arrays(network(paddle.to_tensor(ids)))]


def run_in_torch(side: Side, ids: np.ndarray) -> list[np.ndarray]:
    import torch
    import transformers

    side.runner = f"transformers {transformers.__version__}"
    name = side.architecture.replace("ForPretraining", "ForPreTraining")
    network = getattr(transformers, name).from_pretrained(side.folder).eval()
    with torch.no_grad():
        return [tensor.numpy() for tensor in network(torch.from_numpy(ids), return_dict=False)]


def run_statically(network, variables: dict[str, np.ndarray], ids: np.ndarray) -> list[np.ndarray]:
    """Builds the network again as a static graph, fills its variables from the files, and executes it."""
    paddle.enable_static()
    try:
        main, start, scope = paddle.static.Program(), paddle.static.Program(), paddle.static.Scope()
        with (
            paddle.utils.unique_name.guard(),
            paddle.static.program_guard(main, start),
            paddle.static.scope_guard(scope),
        ):
            twin = type(network)(network.config)
            twin.eval()
            outputs = arrays(twin(paddle.static.data("input_ids", list(ids.shape), "int64")))
            executor = paddle.static.Executor(paddle.CPUPlace())
            executor.run(start)
            renamed = from_static(variables, network)
            for ours, parameter in twin.state_dict().items():
                if ours in renamed:  # a tied one under one of its names
                    scope.find_var(parameter.name).get_tensor().set(renamed[ours], paddle.CPUPlace())
            return executor.run(main, feed={"input_ids": ids}, fetch_list=outputs)
    finally:
        paddle.disable_static()
