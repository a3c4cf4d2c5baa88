"""`python -m ernie_from_scratch` is `ernie`; Paddle's launcher starts this file by its path."""

import os
import sys

if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    sys.path.pop(0)  # started by path: names of this package's modules would hide others

from ernie_from_scratch.commands.main import main  # noqa: E402

sys.exit(main())
