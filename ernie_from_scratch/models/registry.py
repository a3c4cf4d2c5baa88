"""Families of networks: `model_type` of a config.json -> configuration, backbone, heads and tokenizer.

A new family is one entry in FAMILIES, made where its classes are defined.
"""

import os
from dataclasses import dataclass

from ernie_from_scratch.config import (
    CONFIG_CLASSES,
    DEFAULT_MODEL_TYPE,
    EncoderConfig,
    ErnieConfig,
    UserError,
    nearest_choice,
    read_config_file,
)
from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.pretrained import PretrainedModel
from ernie_from_scratch.models.pretraining import ErnieForMaskedLM, ErnieForPretraining
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.models.tasks import (
    ErnieForMultipleChoice,
    ErnieForQuestionAnswering,
    ErnieForSequenceClassification,
    ErnieForTokenClassification,
)


@dataclass(frozen=True)
class ModelFamily:
    """What belongs to one `model_type`.

    Attributes:
        heads: name of a head -> class of the network with it; names are those of `HEADS`.
        tokenizer: "module:Class" of its tokenizer, which is imported when it is needed.
    """

    model_type: str
    config_class: type[EncoderConfig]
    backbone: type[PretrainedModel]
    heads: dict[str, type[TaskModel]]
    tokenizer: str = "ernie_from_scratch.text.tokenizers.wordpiece:ErnieTokenizer"

    def head(self, name: str) -> type[TaskModel]:
        """The class with the head called `name`; UserError where this family has none."""
        if name not in self.heads:
            raise UserError(
                f"no {name} head: model_type {self.model_type} has heads for {', '.join(self.heads)}"
            )
        return self.heads[name]

    @property
    def classes(self) -> dict[str, type[PretrainedModel]]:
        """All classes of the family by their names, as config.json's `architectures` has them."""
        return {cls.__name__: cls for cls in (self.backbone, *self.heads.values())}


FAMILIES: dict[str, ModelFamily] = {}


def register(family: ModelFamily) -> ModelFamily:
    """Add a family under its model_type."""
    FAMILIES[family.model_type] = family
    CONFIG_CLASSES[family.model_type] = family.config_class
    return family


register(
    ModelFamily(
        "ernie",
        ErnieConfig,
        ErnieModel,
        {
            "pretraining": ErnieForPretraining,
            "masked-lm": ErnieForMaskedLM,
            "sequence-classification": ErnieForSequenceClassification,
            "token-classification": ErnieForTokenClassification,
            "question-answering": ErnieForQuestionAnswering,
            "multiple-choice": ErnieForMultipleChoice,
        },
    )
)


def find_family(model_type: str) -> ModelFamily:
    """The family of a model_type; UserError where there is none."""
    if model_type not in FAMILIES:
        raise UserError(f"unknown model_type: {model_type}; {nearest_choice(model_type, FAMILIES)}")
    return FAMILIES[model_type]


def family_of_folder(folder: str | os.PathLike) -> ModelFamily:
    """The family that the folder's config.json names; a folder that names none holds an ERNIE."""
    return find_family(read_config_file(folder).get("model_type") or DEFAULT_MODEL_TYPE)


def family_of_preset(name: str) -> ModelFamily | None:
    """The family that has a preset of this name, which is also a published model's name."""
    return next((family for family in FAMILIES.values() if name in family.config_class.PRESETS), None)


def head_of_architecture(name: str) -> tuple[ModelFamily, str] | None:
    """Family and head of a class name (Hugging Face's spelling too); None for other names, backbones too."""
    wanted = name.lower()  # PaddleNLP and Hugging Face differ in one capital: ForPretraining, ForPreTraining
    for family in FAMILIES.values():
        for head, cls in family.heads.items():
            if wanted == cls.__name__.lower():
                return family, head
    return None


def class_of_folder(folder: str | os.PathLike) -> type[PretrainedModel]:
    """The class that was saved in a folder, as config.json's `architectures` names it; else the backbone."""
    named = read_config_file(folder).get("architectures") or [""]
    found = head_of_architecture(named[0])
    return found[0].head(found[1]) if found else family_of_folder(folder).backbone
