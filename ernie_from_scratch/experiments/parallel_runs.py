"""Scripts that run in several processes, started from a notebook; each process reports one JSON object."""

import json
import os
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel import launch

LEAVE = "\n\nfrom ernie_from_scratch.parallel.processes import leave\n\nleave()\n"


def run_script(
    script: str | Path, folder: str | os.PathLike, processes: int = 2, seconds: float = 240
) -> list[dict]:
    """Run `script` in several connected processes until all have ended.

    They run on GPUs if this machine has one for each process, else on the CPU. The script finds `folder` in
    sys.argv[1]. The last line starting with "{" that a process prints is its report, a JSON object.

    Args:
        script: Python source code, or the path of a Python file, which must end with `parallel.processes.leave()`.
        folder: working folder of the script; `folder/logs` receives what the processes print.
        seconds: limit of the running time.

    Returns:
        The reports, in the order of ranks.

    Raises:
        UserError: a process failed (the message holds its error), reported nothing, or took longer than `seconds`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(script, str):
        (folder / "script.py").write_text(script + LEAVE, encoding="utf8")
        script = folder / "script.py"
    log_dir = folder / "logs"
    code = launch.run_script(script, [folder], processes, log_dir, seconds=seconds)
    logs = [log_dir / f"workerlog.{rank}" for rank in range(processes)]
    logs = [log.read_text(errors="replace") if log.exists() else "" for log in logs]
    if code:
        rank, code = launch.first_failure(log_dir, code)
        lines = [] if rank is None else logs[rank].splitlines()
        errors = [line for line in lines if "Error: " in line or "error: " in line]
        raise UserError(f"a process failed: {errors[0] if errors else f'exit code {code}'}")
    return [_last_object(log, rank) for rank, log in enumerate(logs)]


def _last_object(log: str, rank: int) -> dict:
    lines = [line for line in log.splitlines() if line.startswith("{")]
    if not lines:
        raise UserError(f"process {rank} printed no JSON object; end the script with print(json.dumps(...))")
    return json.loads(lines[-1])
