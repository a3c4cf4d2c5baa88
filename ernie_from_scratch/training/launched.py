"""A training command in several processes, seen from the one that the user started: its bar, signals and errors."""

from collections.abc import Callable
from pathlib import Path

from ernie_from_scratch.parallel.launch import LaunchSettings, launch
from ernie_from_scratch.training.device import check_gpu
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.run_folder import make_run_folder
from ernie_from_scratch.training.settings import TrainSettings
from ernie_from_scratch.utils.files import atomic_write


def run_launched(
    command: str,
    settings: TrainSettings,
    several: LaunchSettings,
    quiet: bool = False,
    check: Callable[[], object] = lambda: None,
) -> None:
    """Run or resume `ernie COMMAND` with these settings in the processes of `several`.

    Args:
        several: checked.
        quiet: print nothing.
        check: raises UserError for inputs that can't work, before any process is started.

    Raises:
        UserError: settings that can't work, or a process that failed.
    """
    settings.check(several.processes)
    check()
    if several.gpus is not None:
        for number in several.gpu_numbers:
            check_gpu(f"gpu:{number}", flag=f"--gpus {several.gpus}")
    log_dir = Path(several.log_dir) if several.log_dir else make_run_folder(settings) / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    with atomic_write(log_dir / "settings.yaml") as temporary:
        temporary.write_text(settings.to_yaml(), encoding="utf8")
    arguments = [command, "--config", str(log_dir / "settings.yaml")]
    metrics = Path(settings.output_dir) / "metrics.jsonl"
    progress = TrainingProgress(settings.max_steps, quiet, title=command, metrics=metrics)
    with StopRequest() as stop, progress:
        launch(several, arguments, log_dir, settings.device == "cpu", stop, progress.follow)
