"""What networks are made of: one flat record of numbers for each family, and presets of the published models."""

import json
import os
from pathlib import Path

from ernie_from_scratch.config.base import (
    ACTIVATIONS,
    EXECUTION_FIELDS,
    ModelConfig,
    UserError,
    nearest_choice,
)
from ernie_from_scratch.config.encoder import EncoderConfig
from ernie_from_scratch.config.ernie import ErnieConfig

CONFIG_CLASSES: dict[str, type[EncoderConfig]] = {cls.MODEL_TYPE: cls for cls in (ErnieConfig,)}
DEFAULT_MODEL_TYPE = "ernie"  # of a config.json that does not say

__all__ = [
    "ACTIVATIONS",
    "CONFIG_CLASSES",
    "DEFAULT_MODEL_TYPE",
    "EXECUTION_FIELDS",
    "EncoderConfig",
    "ErnieConfig",
    "ModelConfig",
    "UserError",
    "config_class_of_file",
    "nearest_choice",
    "read_config_file",
]


def read_config_file(path: str | os.PathLike) -> dict:
    """A config.json, or that of a folder, as a dict; {} where there is none or it is not a JSON object."""
    path = Path(path)
    try:
        values = json.loads((path / "config.json" if path.is_dir() else path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def config_class_of_file(path: str | os.PathLike) -> type[EncoderConfig]:
    """The configuration class that a config.json, or that of a folder, names; UserError for an unknown type."""
    model_type = read_config_file(path).get("model_type") or DEFAULT_MODEL_TYPE
    if model_type not in CONFIG_CLASSES:
        raise UserError(
            f"unknown model_type: {model_type} in {path}; {nearest_choice(model_type, CONFIG_CLASSES)}"
        )
    return CONFIG_CLASSES[model_type]
