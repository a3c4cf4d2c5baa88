"""A script of a notebook in two processes: what each found comes back, and a failure says why."""

import psutil
import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.experiments.parallel_runs import run_script

RANK = "import json, os, sys\nrank = int(os.environ['PADDLE_TRAINER_ID'])\n"


def test_each_process_reports(tmp_path):
    script = RANK + "print('noise')\nprint(json.dumps({'rank': rank, 'folder': sys.argv[1]}))\nprint('bye')"
    assert run_script(script, tmp_path / "run") == [
        {"rank": rank, "folder": str(tmp_path / "run")} for rank in (0, 1)
    ]


def test_a_failure_says_why_and_not_that_the_others_were_taken_down(tmp_path):
    waits = "import time\nimport paddle\n"
    script = f"{RANK}{waits}if rank: raise ValueError('too warm')\ntime.sleep(60)"
    with pytest.raises(UserError, match="a process failed: ValueError: too warm"):
        run_script(script, tmp_path)
    assert "Termination signal" in (tmp_path / "logs" / "workerlog.0").read_text()


def test_none_is_left_when_the_time_is_over(tmp_path):
    script = (
        RANK
        + "import pathlib, time\npathlib.Path(sys.argv[1], str(rank)).write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    with pytest.raises(UserError, match="not done after 30 s"):
        run_script(script, tmp_path, seconds=30)
    for rank in "01":
        assert not runs(int((tmp_path / rank).read_text()))


def runs(number):
    """Whether the process is there, and not only its entry, which init may leave."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
