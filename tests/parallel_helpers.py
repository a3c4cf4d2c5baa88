"""Starting a program of the tests in several CPU processes through Paddle's launcher."""

import os
import subprocess
import sys


def launch(worker, folder, processes, *arguments, seconds=300):
    """Run `worker FOLDER ARGUMENTS` in so many processes; returns the exit code and the end of what they printed."""
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
    done = subprocess.run(
        [*command, "--log_dir", str(folder / "logs"), str(worker), str(folder), *arguments],
        env=dict(os.environ, PADDLE_DISTRI_BACKEND="gloo", OMP_NUM_THREADS="1"),
        capture_output=True,
        timeout=seconds,
    )
    logs = (folder / "logs").glob("workerlog.*")
    return done.returncode, "".join(log.read_text(errors="replace")[-3000:] for log in logs)
