"""A run's folder: settings as resolved, environment, metrics, checkpoints, and `final/` when it is done."""

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paddle
import yaml

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.settings import TrainSettings
from ernie_from_scratch.utils.files import atomic_write
from ernie_from_scratch.utils.machine import processor_name

WAIT_SECONDS = 30  # a run that received a stop signal finishes its step and saves
POLL_SECONDS = 0.5


def make_run_folder(settings: TrainSettings) -> Path:
    """`settings.output_dir` as a Path to a folder that can be written; UserError when it can't."""
    folder = Path(settings.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}; choose another --output_dir") from error
    return folder


@contextlib.contextmanager
def locked_run_folder(folder: Path, log: Callable[[str], None] = print) -> Iterator[None]:
    """Holds the run folder for this process, so that no second run writes into it; waits for one that is ending.

    The system lets go of the lock when the process ends, however it does.

    Raises:
        UserError: another process still holds it after WAIT_SECONDS.
    """
    with open(Path(folder) / ".lock", "a+") as lock:
        since = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = f"process {_read_lock(lock) or 'unknown'} trains in {folder}"
                waited = time.monotonic() - since
                if waited > WAIT_SECONDS:
                    raise UserError(f"{holder}; stop it first, or choose another --output_dir") from None
                if waited < POLL_SECONDS:
                    log(f"{holder}; waiting up to {WAIT_SECONDS} s for it to end")
                time.sleep(POLL_SECONDS)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _read_lock(lock):
    lock.seek(0)
    return lock.read()


def open_run_folder(settings: TrainSettings, processes: int = 1) -> Path:
    """Create or reopen `settings.output_dir`, and write the settings and the environment into it.

    Raises:
        UserError: the folder can't be written, or holds a run with other settings (the first difference is named).
    """
    folder = make_run_folder(settings)
    config_file = folder / "config.yaml"
    if config_file.exists():
        earlier = yaml.safe_load(config_file.read_text(encoding="utf8")) or {}
        different = settings.differences(earlier)
        if different:
            name, before = next(iter(different.items()))
            raise UserError(
                f"{folder} holds a run with other settings: {name} was {before!r} and is now "
                f"{getattr(settings, name)!r}; use another --output_dir, or the same settings to continue"
            )
    with atomic_write(config_file) as temporary:
        temporary.write_text(settings.to_yaml(), encoding="utf8")
    with atomic_write(folder / "environment.json") as temporary:
        temporary.write_text(json.dumps(environment() | {"processes": processes}, indent=1))
    return folder


def environment() -> dict[str, Any]:
    """Versions and hardware that a figure needs beside it."""
    return {
        "python": platform.python_version(),
        "paddle": paddle.__version__,
        "device": paddle.get_device(),
        "machine": platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
    }
