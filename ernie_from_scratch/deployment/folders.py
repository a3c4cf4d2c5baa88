"""What a model folder or an export folder holds: its configuration, its task, and what `ernie export` recorded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ernie_from_scratch.config import EncoderConfig, UserError
from ernie_from_scratch.deployment.tasks import TASKS, Task, get_task, task_of_head

if TYPE_CHECKING:
    from ernie_from_scratch.models.registry import ModelFamily

EXPORT_FILE = "export.json"


def read_export(folder: str | Path) -> dict[str, Any] | None:
    """The export.json of an export folder, or None when the folder is no export.

    Raises:
        UserError: the file is not JSON.
    """
    path = Path(folder) / EXPORT_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise UserError(f"not JSON: {path}; export the model again") from error


def read_family(folder: str | Path) -> "ModelFamily":
    """The model family of a model or export folder; UserError when there is no such folder."""
    from ernie_from_scratch.models.registry import family_of_folder

    if not Path(folder).is_dir():
        raise UserError(f"no such model folder: {folder}; check the spelling of the path")
    return family_of_folder(folder)


def read_config(folder: str | Path) -> EncoderConfig:
    """The config.json of a model or export folder; UserError when it can't be read."""
    return read_family(folder).config_class.from_file(folder)


def find_task(folder: str | Path) -> Task:
    """The task of a model or export folder: the one it was exported for, or that of the architecture in its
    config.json, or, where that names none, of the head whose weights it holds.

    Raises:
        UserError: the folder has a head for none of TASKS.
    """
    from ernie_from_scratch.models.registry import head_of_architecture
    from ernie_from_scratch.weights.files import find_weights, read_weights
    from ernie_from_scratch.weights.names import head_of_weights

    export = read_export(folder)
    if export:
        return get_task(export["task"])
    config = Path(folder) / "config.json"
    names = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config.is_file() else None
    name = names[0] if names else ""
    known = head_of_architecture(name)
    head = known[1] if known else None
    if head is None and "For" not in name:  # a network without a head, or no architecture
        head = head_of_weights(read_weights(find_weights(Path(folder))))
    task = task_of_head(head) if head else None
    if task is None:
        raise UserError(f"no head for {' or '.join(TASKS)}: {folder} holds {name or 'a network without one'}")
    return task
