"""`ernie pretrain` in several processes, seen from the one that the user started: its bar, its signals, its errors."""

from pathlib import Path

import yaml

from ernie_from_scratch.parallel.launch import launch
from ernie_from_scratch.training.build import corpus_prefixes
from ernie_from_scratch.training.device import check_gpu
from ernie_from_scratch.training.interrupt import StopRequest
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.run_folder import make_run_folder
from ernie_from_scratch.utils.files import atomic_write


def pretrain_launched(settings, several, quiet=False):
    """Run or continue the pretraining that `settings` describes in the processes of `several`.

    Args:
        settings: a `PretrainSettings`.
        several: a checked `LaunchSettings`.
        quiet: print nothing.

    Raises:
        UserError: settings that can't work, or a process that failed.
    """
    settings.check(several.processes)
    corpus_prefixes(settings.input_dir)
    if several.gpus is not None:
        for number in several.gpu_numbers:
            check_gpu(f"gpu:{number}", asked=f"--gpus {several.gpus}")
    log_dir = Path(several.log_dir) if several.log_dir else make_run_folder(settings) / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    with atomic_write(log_dir / "settings.yaml") as temporary:
        temporary.write_text(
            yaml.safe_dump(settings.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf8"
        )
    command = ["pretrain", "--config", str(log_dir / "settings.yaml")]
    progress = TrainingProgress(settings.max_steps, quiet)
    progress.metrics = Path(settings.output_dir) / "metrics.jsonl"
    with StopRequest() as stop, progress:
        launch(several, command, log_dir, settings.device == "cpu", stop, progress.follow)
