"""Imports that happen when a value is used: classes named in registries, and optional libraries."""

import importlib
from types import ModuleType
from typing import Any

from ernie_from_scratch.config import UserError


def load_object(path: str) -> Any:
    """The object that `path` names as "package.module:name"; registries name classes so and stay light."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def import_extra(module: str, extra: str = "deploy") -> ModuleType:
    """Import an optional library.

    Raises:
        UserError: it is not installed; the message names the extra of this package that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f'{module} is not installed; run `pip install "ernie_from_scratch[{extra}]"`'
        ) from error
