"""`ernie` whose training loop waits a little for each micro batch: still running when a test sends it a signal.

The results are those of `ernie`, and so are the commands: `python slow_ernie.py pretrain …`.
"""

import sys
import time
from pathlib import Path

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.parallel import launch

SCRIPT = Path(__file__)
SECONDS = 0.1

_next = BatchLoader.__next__


def slow_next(loader: BatchLoader):
    time.sleep(SECONDS)
    return _next(loader)


if __name__ == "__main__":
    BatchLoader.__next__ = slow_next
    launch.SCRIPT = SCRIPT  # of the processes that it starts
    sys.exit(main())
