"""Model folders: `from_pretrained` and `save_pretrained` of every network."""

import logging
import os
import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
import paddle
from paddle import Tensor

from ernie_from_scratch.config import UserError
from ernie_from_scratch.models.pretrained import PretrainedModel
from ernie_from_scratch.weights.files import find_weights, read_weights, write_pdparams, write_safetensors
from ernie_from_scratch.weights.names import OLD_PADDLENLP, from_huggingface, is_huggingface
from ernie_from_scratch.weights.published import fetch

logger = logging.getLogger("ernie_from_scratch")
Model = TypeVar("Model", bound=PretrainedModel)


def load_pretrained(cls: type[Model], name_or_folder: str | os.PathLike, **overrides) -> Model:
    """A model of class `cls` with the weights of a folder (PaddleNLP's, Hugging Face's or `save_pretrained`'s), or
    of a published model, which PaddleNLP downloads into its cache.

    `overrides` replace fields of the configuration (num_labels=3). Heads that the folder does not have are
    initialized at random, heads that the model does not have are ignored: a log line names both.
    Raises UserError when tensors of the backbone are missing, unknown or of another shape.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        config, path = cls.config_class.from_file(folder), find_weights(folder)
    else:
        config, path = fetch(cls.config_class, str(name_or_folder))
    if "num_labels" in overrides:
        config.id2label = None
    model = cls(config.replace(**overrides))
    tensors = read_weights(path)
    if is_huggingface(tensors, cls.base_name):
        tensors = from_huggingface(tensors, cls.base_name)
    load_weights(model, tensors, path)
    return model


def save_pretrained(
    model: PretrainedModel,
    folder: str | os.PathLike,
    safetensors: bool = False,
    vocab_file: str | os.PathLike | None = None,
    weights: dict[str, Tensor] | None = None,
) -> Path:
    """Writes config.json and model_state.pdparams (or model.safetensors), and copies `vocab_file` there.

    weights: {name: tensor} to write, where this process holds a part of the network only; default: the model's.
    PaddleNLP's from_pretrained reads the folder too. Raises UserError when it cannot be written.
    """
    folder = Path(folder)
    try:
        model.config.save(folder, architectures=[type(model).__name__])
        tensors = numpy_weights(model.state_dict() if weights is None else weights)
        if safetensors:
            write_safetensors(folder / "model.safetensors", tensors, {"format": "pd"})
        else:
            write_pdparams(folder / "model_state.pdparams", tensors)
        if vocab_file is not None and Path(vocab_file).resolve() != (folder / "vocab.txt").resolve():
            shutil.copyfile(vocab_file, folder / "vocab.txt")
    except OSError as error:
        raise UserError(f"cannot write: {folder}; {(error.strerror or str(error)).lower()}") from error
    return folder


def numpy_weights(weights: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as arrays; half-precision ones as float32, since numpy has no bfloat16."""
    half = (paddle.float16, paddle.bfloat16)
    return {
        name: (tensor.astype("float32") if tensor.dtype in half else tensor).numpy()
        for name, tensor in weights.items()
    }


def load_weights(model: PretrainedModel, tensors: dict[str, np.ndarray], source: str | os.PathLike) -> None:
    """Sets the parameters from {PaddleNLP's name: array}, with or without the base name as a prefix."""
    prefix = f"{model.base_name}."
    tensors = {OLD_PADDLENLP.get(name, name): value for name, value in tensors.items()}
    prefixed = any(name.startswith(prefix) for name in tensors)
    if prefixed and not hasattr(model, model.base_name):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    elif not prefixed and hasattr(model, model.base_name):
        tensors = {prefix + name: value for name, value in tensors.items()}

    parameters = model.state_dict()
    found = {id(parameters[name]) for name in tensors if name in parameters}  # tied: under one of its names
    missing = [name for name, parameter in parameters.items() if id(parameter) not in found]
    unused = [name for name in tensors if name not in parameters]
    shapes = [
        f"{name} is {list(value.shape)}, not {list(parameters[name].shape)}"
        for name, value in tensors.items()
        if name in parameters and list(value.shape) != list(parameters[name].shape)
    ]
    backbone = tuple(f"{start}{part}." for start in ("", prefix) for part in ("embeddings", "encoder"))
    for problem, names in (
        ("wrong shape", shapes),
        ("missing", [name for name in missing if name.startswith(backbone)]),
        ("unknown", [name for name in unused if name.startswith(backbone)]),
    ):
        if names:
            raise UserError(
                f"{problem}: {source}: {first_names(names)}; is the configuration that of these weights?"
            )
    if missing:
        logger.warning("initialized at random: %s, not found in %s", first_names(missing), source)
    if unused:
        logger.info(
            "ignored: %s of %s, which %s does not have", first_names(unused), source, type(model).__name__
        )
    for name, value in tensors.items():
        if name in parameters:
            parameters[name].set_value(np.asarray(value, dtype="float32"))


def first_names(names: list[str], most: int = 8) -> str:
    """The first names in words, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
