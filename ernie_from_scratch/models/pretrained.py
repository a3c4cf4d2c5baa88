"""What all models share: a configuration, and folders of weights to come from and go to."""

import logging
import shutil
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.weights.files import (
    find_weights,
    read_weights,
    write_pdparams,
    write_safetensors,
)
from ernie_from_scratch.weights.names import OLD_PADDLENLP, from_huggingface, is_huggingface
from ernie_from_scratch.weights.published import fetch

logger = logging.getLogger("ernie_from_scratch")


class PretrainedModel(nn.Layer):
    """A network that can be saved and loaded. The network without its heads is the attribute `base_name`."""

    config_class = ErnieConfig
    base_name = "ernie"

    def __init__(self, config):
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(cls, name_or_folder, **overrides):
        """A model with the weights of a folder (PaddleNLP's, Hugging Face's or `save_pretrained`'s), or of a
        published model, which PaddleNLP downloads into its cache.

        `overrides` replace fields of the configuration (num_labels=3). Heads that the folder does not have
        start with random numbers, heads that the model does not have are left aside: a log line names both.
        Raises UserError when the network's own tensors are missing, too many or of another shape.
        """
        folder = Path(name_or_folder)
        if folder.is_dir():
            config, path = cls.config_class.from_file(folder), find_weights(folder)
        else:
            config, path = fetch(cls.config_class, str(name_or_folder))
        if "num_labels" in overrides:
            config.id2label = None
        model = cls(cls.config_class.from_dict({**config.to_dict(), **overrides}))
        tensors = read_weights(path)
        if is_huggingface(tensors, cls.base_name):
            tensors = from_huggingface(tensors, cls.base_name)
        model.load_weights(tensors, path)
        return model

    def save_pretrained(self, folder, safetensors=False, vocab_file=None, weights=None):
        """Writes config.json and model_state.pdparams (or model.safetensors), and copies `vocab_file` there.

        weights: {name: tensor} to write, where this network holds a part of itself only; default: its own.
        PaddleNLP's from_pretrained reads it too. Raises UserError when it cannot be written.
        """
        folder = Path(folder)
        try:
            self.config.save(folder, architectures=[type(self).__name__])
            tensors = self.numpy_weights(weights)
            if safetensors:
                write_safetensors(folder / "model.safetensors", tensors, {"format": "pd"})
            else:
                write_pdparams(folder / "model_state.pdparams", tensors)
            if vocab_file is not None and Path(vocab_file).resolve() != (folder / "vocab.txt").resolve():
                shutil.copyfile(vocab_file, folder / "vocab.txt")
        except OSError as error:
            raise UserError(f"cannot write: {folder}; {(error.strerror or str(error)).lower()}") from error

    def numpy_weights(self, weights=None) -> dict[str, np.ndarray]:
        """All tensors by name; half-precision ones as float32, since numpy has no bfloat16."""
        half = (paddle.float16, paddle.bfloat16)
        return {
            name: (tensor.astype("float32") if tensor.dtype in half else tensor).numpy()
            for name, tensor in (weights or self.state_dict()).items()
        }

    def load_weights(self, tensors: dict[str, np.ndarray], source) -> None:
        """Sets the parameters from {PaddleNLP's name: array}, with or without the base name in front."""
        prefix = f"{self.base_name}."
        tensors = {OLD_PADDLENLP.get(name, name): value for name, value in tensors.items()}
        prefixed = any(name.startswith(prefix) for name in tensors)
        if prefixed and not hasattr(self, self.base_name):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        elif not prefixed and hasattr(self, self.base_name):
            tensors = {prefix + name: value for name, value in tensors.items()}

        parameters = self.state_dict()
        given = {
            id(parameters[name]) for name in tensors if name in parameters
        }  # tied: under one of its names
        missing = [name for name, parameter in parameters.items() if id(parameter) not in given]
        unused = [name for name in tensors if name not in parameters]
        shapes = [
            f"{name} is {list(value.shape)}, not {list(parameters[name].shape)}"
            for name, value in tensors.items()
            if name in parameters and list(value.shape) != list(parameters[name].shape)
        ]
        network = tuple(f"{start}{part}." for start in ("", prefix) for part in ("embeddings", "encoder"))
        for what, names in (
            ("wrong shape", shapes),
            ("missing", [name for name in missing if name.startswith(network)]),
            ("unknown", [name for name in unused if name.startswith(network)]),
        ):
            if names:
                raise UserError(
                    f"{what}: {source}: {name_some(names)}; is the configuration that of these weights?"
                )
        if missing:
            logger.warning("starts with random numbers: %s, not found in %s", name_some(missing), source)
        if unused:
            logger.info(
                "left aside: %s of %s, which %s does not have", name_some(unused), source, type(self).__name__
            )
        for name, value in tensors.items():
            if name in parameters:
                parameters[name].set_value(np.asarray(value, dtype="float32"))


def name_some(names: list[str], most: int = 8) -> str:
    """The first names in words, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
