"""The tokenizer of a model folder, whatever its family."""

import os
from typing import Any

from ernie_from_scratch.models.registry import family_of_folder
from ernie_from_scratch.utils.imports import load_object


def load_tokenizer(folder: str | os.PathLike) -> Any:
    """The tokenizer saved in a model or export folder, of the class of its family.

    Raises:
        UserError: an unknown model_type, or no vocabulary.
    """
    return load_object(family_of_folder(folder).tokenizer).from_pretrained(folder)
