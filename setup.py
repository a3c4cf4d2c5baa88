"""Builds the optional C++ helpers; everything else about the package is in pyproject.toml.

Without a compiler (or without pybind11) the install succeeds all the same and numpy versions of the
helpers take over; `ernie doctor` says which of the two runs. Typed by hand, `python setup.py build_ext
--inplace` fails loudly instead.
"""

import sys
from pathlib import Path

from setuptools import setup

TYPED_BY_HAND = "build_ext" in sys.argv

try:
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
except ImportError:
    if TYPED_BY_HAND:
        raise
    extensions = []
else:
    ParallelCompile(default=0).install()  # one compiler per core
    helpers = Pybind11Extension(
        "ernie_from_scratch._helpers",
        sorted(str(path) for path in Path("helpers_cpp").glob("*.cpp")),
        depends=sorted(str(path) for path in Path("helpers_cpp").glob("*.h")),
        cxx_std=17,
        extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
    )
    helpers.optional = not TYPED_BY_HAND  # a failed build becomes a warning
    extensions = [helpers]

setup(ext_modules=extensions)
