"""Runs in several processes started from a notebook: a short script, and what each process found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import paddle
import psutil

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import first_failure, on_cpu_alone

LEAVE = "\n\nfrom ernie_from_scratch.parallel.processes import leave\n\nleave()\n"


def run_script(script: str, folder, processes: int = 2, seconds: float = 240) -> list[dict]:
    """Run the Python text `script` in several processes, connected by Paddle's launcher, until all have ended.

    On GPUs where there are as many, else on the CPU. The script finds `folder` in sys.argv[1]; the last line that
    each process prints is a JSON object.

    Args:
        folder: for the script and what the processes print.

    Returns:
        These objects, in the order of ranks.

    Raises:
        UserError: a process failed, with the last line that it printed, or they took longer than `seconds`.
    """
    folder = Path(folder)
    log_dir = folder / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    (folder / "script.py").write_text(script + LEAVE, encoding="utf8")
    environment = dict(os.environ)
    if paddle.device.cuda.device_count() < processes:
        environment |= on_cpu_alone(processes) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
    command += ["--log_dir", str(log_dir), str(folder / "script.py"), str(folder)]
    with open(log_dir / "launcher.log", "wb") as output:
        launcher = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        launcher.wait(seconds)
    except subprocess.TimeoutExpired:
        raise UserError(f"not done after {seconds} s; {log_dir} holds what they printed") from None
    finally:
        if launcher.poll() is None:  # its processes are in sessions of their own
            for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
                process.kill()
            launcher.wait()
    logs = [log_dir / f"workerlog.{rank}" for rank in range(processes)]
    logs = [log.read_text(errors="replace") if log.exists() else "" for log in logs]
    if launcher.returncode:
        rank, code = first_failure(log_dir, launcher.returncode)
        lines = [] if rank is None else logs[rank].splitlines()
        errors = [line for line in lines if "Error: " in line or "error: " in line]
        raise UserError(f"a process failed: {errors[0] if errors else f'exit code {code}'}")
    return [_last_object(log, rank) for rank, log in enumerate(logs)]


def _last_object(log, rank):
    lines = [line for line in log.splitlines() if line.startswith("{")]
    if not lines:
        raise UserError(f"process {rank} printed no JSON object; end the script with print(json.dumps(...))")
    return json.loads(lines[-1])
