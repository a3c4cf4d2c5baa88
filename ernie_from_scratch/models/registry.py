"""The model families: model_type -> configuration, network without a head, networks with a head, tokenizer."""

import json
from dataclasses import dataclass
from pathlib import Path

from ernie_from_scratch.config import ErnieConfig, ModelConfig, UserError
from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.pretrained import PretrainedModel
from ernie_from_scratch.models.pretraining import ErnieForMaskedLM, ErnieForPretraining
from ernie_from_scratch.models.tasks import (
    ErnieForMultipleChoice,
    ErnieForQuestionAnswering,
    ErnieForSequenceClassification,
    ErnieForTokenClassification,
)

DEFAULT_MODEL_TYPE = "ernie"  # of a config.json that names none


@dataclass(frozen=True)
class ModelFamily:
    """A family of networks.

    Attributes:
        model_type: as in config.json.
        config_class: its configuration.
        backbone: the network without a head.
        heads: name of a head -> the network with that head.
        tokenizer: class of its tokenizer, as "module:Class".
    """

    model_type: str
    config_class: type[ModelConfig]
    backbone: type[PretrainedModel]
    heads: dict[str, type[PretrainedModel]]
    tokenizer: str


FAMILIES: dict[str, ModelFamily] = {
    family.model_type: family
    for family in (
        ModelFamily(
            model_type="ernie",
            config_class=ErnieConfig,
            backbone=ErnieModel,
            heads={
                "pretraining": ErnieForPretraining,
                "masked-lm": ErnieForMaskedLM,
                "sequence-classification": ErnieForSequenceClassification,
                "token-classification": ErnieForTokenClassification,
                "question-answering": ErnieForQuestionAnswering,
                "multiple-choice": ErnieForMultipleChoice,
            },
            tokenizer="ernie_from_scratch.text.tokenizers.wordpiece:ErnieTokenizer",
        ),
    )
}


def find_family(model_type: str) -> ModelFamily:
    """The family of a model_type; UserError when there is none."""
    if model_type not in FAMILIES:
        raise UserError(f"unknown model_type: {model_type}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def family_of_preset(name: str) -> ModelFamily | None:
    """The family that has a preset of this name, or None."""
    return next((f for f in FAMILIES.values() if name in f.config_class.preset_names()), None)


def family_of_folder(folder: str | Path) -> ModelFamily:
    """The family that config.json of a model folder (or the file itself) names; ERNIE where it names none.

    Raises:
        UserError: an unknown family, or a file that is not JSON.
    """
    path = Path(folder) / "config.json" if Path(folder).is_dir() else Path(folder)
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"not JSON: {path}; {error}") from error
    named = values.get("model_type") if isinstance(values, dict) else None
    try:
        return find_family(named or DEFAULT_MODEL_TYPE)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def head_of_architecture(name: str) -> tuple[ModelFamily, str] | None:
    """The family and head of a class that config.json names (Hugging Face writes ForPreTraining), or None."""
    for family in FAMILIES.values():
        for head, network in family.heads.items():
            if network.__name__.lower() == name.lower():
                return family, head
    return None
