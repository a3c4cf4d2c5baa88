"""What networks are made of: one flat record of numbers for each family, and presets of the published models."""

from ernie_from_scratch.config.base import ACTIVATIONS, EXECUTION_FIELDS, ModelConfig, UserError
from ernie_from_scratch.config.ernie import ErnieConfig

__all__ = ["ACTIVATIONS", "EXECUTION_FIELDS", "ErnieConfig", "ModelConfig", "UserError"]
