"""Replaces the C++ helpers by those built with sanitizers (by fuzz.sh): import it first.

A read or write out of bounds, a use after free, an overflow or a shift too far then ends the process with a
report.
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path

BUILT = Path(__file__).resolve().parents[2] / "build" / "sanitized"

path = BUILT / f"_helpers{sysconfig.get_config_var('EXT_SUFFIX')}"
spec = importlib.util.spec_from_file_location("ernie_from_scratch._helpers", path)
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
sys.modules["ernie_from_scratch._helpers"] = helpers
