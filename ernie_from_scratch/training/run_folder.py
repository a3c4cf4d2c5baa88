"""A run's folder: settings as resolved, environment, metrics, checkpoints, and `final/` when it is done."""

import json
import os
import platform
from pathlib import Path

import paddle
import yaml

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.files import atomic_write


def open_run_folder(settings):
    """Create or reopen `settings.output_dir`.

    Raises:
        UserError: the folder can't be written, or holds a run with other settings (the first difference is named).
    """
    folder = Path(settings.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}; choose another --output_dir") from error
    config_file = folder / "config.yaml"
    if config_file.exists():
        earlier = yaml.safe_load(config_file.read_text(encoding="utf8")) or {}
        different = settings.differences(earlier)
        if different:
            name = different[0]
            raise UserError(
                f"{folder} holds a run with other settings: {name} was {earlier[name]!r} and is now "
                f"{getattr(settings, name)!r}; use another --output_dir, or the same settings to continue"
            )
    with atomic_write(config_file) as temporary:
        temporary.write_text(
            yaml.safe_dump(settings.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf8"
        )
    with atomic_write(folder / "environment.json") as temporary:
        temporary.write_text(json.dumps(environment(), indent=1))
    return folder


def environment():
    """Versions and hardware that a figure needs beside it."""
    return {
        "python": platform.python_version(),
        "paddle": paddle.__version__,
        "device": paddle.get_device(),
        "machine": platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
    }


def processor_name():
    """The processor's name as the kernel gives it, or the architecture where it doesn't."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
