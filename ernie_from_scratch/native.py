"""The one door to the C++ helpers.

Each helper has a plain Python or numpy twin with identical results; callers write

    fast = native.helpers()
    words = fast.segment(text) if fast else segment_in_python(text)
"""

import functools
import importlib
import os
from types import ModuleType


def helpers() -> ModuleType | None:
    """The compiled module `_helpers`; None when it is not built or when EFS_NO_CPP=1 is set."""
    return None if os.environ.get("EFS_NO_CPP", "") not in ("", "0") else _load()[0]


def why_missing() -> str:
    """Why `helpers()` is None, in a few words; empty when it is not."""
    if os.environ.get("EFS_NO_CPP", "") not in ("", "0"):
        return "switched off by EFS_NO_CPP"
    return _load()[1]


@functools.cache
def _load() -> tuple[ModuleType | None, str]:
    try:
        return importlib.import_module("ernie_from_scratch._helpers"), ""
    except ModuleNotFoundError:
        return None, "not built"
    except ImportError as error:  # built for another Python or libstdc++
        return None, f"built, but does not load: {error}"
