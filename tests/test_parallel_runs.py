"""A script of a notebook in two processes: what each found comes back, and a failure says why."""

import subprocess

import pytest
from process_helpers import runs, wait_until

from ernie_from_scratch.config import UserError
from ernie_from_scratch.experiments.parallel_runs import run_script
from ernie_from_scratch.parallel import launch

RANK = "import json, os, sys\nrank = int(os.environ['PADDLE_TRAINER_ID'])\n"


def test_each_process_reports(tmp_path):
    script = RANK + "print('noise')\nprint(json.dumps({'rank': rank, 'folder': sys.argv[1]}))\nprint('bye')"
    assert run_script(script, tmp_path / "run") == [
        {"rank": rank, "folder": str(tmp_path / "run")} for rank in (0, 1)
    ]


def test_a_failure_says_why_and_not_that_the_others_were_taken_down(tmp_path):
    waits = "import time\nimport paddle\n"
    script = f"{RANK}{waits}if rank: raise ValueError('too warm')\ntime.sleep(3600)"
    with pytest.raises(UserError, match="a process failed: ValueError: too warm"):
        run_script(script, tmp_path)
    assert "Termination signal" in (tmp_path / "logs" / "workerlog.0").read_text()


def test_none_is_left_when_the_time_is_over(tmp_path, monkeypatch):
    """The limit is over as soon as both processes run."""
    script = RANK + (
        "import pathlib, time\n"
        "pathlib.Path(sys.argv[1], f'{rank}.new').write_text(str(os.getpid()))\n"
        "os.rename(os.path.join(sys.argv[1], f'{rank}.new'), os.path.join(sys.argv[1], str(rank)))\n"
        "time.sleep(3600)"
    )

    class Launcher(subprocess.Popen):
        def wait(self, timeout=None):
            if timeout == 30:
                wait_until(lambda: all((tmp_path / rank).exists() for rank in "01"), self)
                raise subprocess.TimeoutExpired(self.args, timeout)
            return super().wait(timeout)

    monkeypatch.setattr(launch.subprocess, "Popen", Launcher)
    with pytest.raises(UserError, match="not done after 30 s"):
        run_script(script, tmp_path, seconds=30)
    for rank in "01":
        assert not runs(int((tmp_path / rank).read_text()))
