"""`python -m ernie_from_scratch` is `ernie`."""

import sys

from ernie_from_scratch.commands.main import main

sys.exit(main())
