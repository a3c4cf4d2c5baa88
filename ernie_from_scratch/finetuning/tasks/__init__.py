"""What differs from task to task; training, evaluation and checkpoints are the same for all.

A new task is one file and one entry in TASKS, which maps the names of `--task` to their classes.
"""

from ernie_from_scratch.config import UserError
from ernie_from_scratch.finetuning.tasks.base import Task, labels_of
from ernie_from_scratch.finetuning.tasks.sequence_classification import SequenceClassification

TASKS: dict[str, type[Task]] = {task.name: task for task in (SequenceClassification,)}

__all__ = ["TASKS", "SequenceClassification", "Task", "find_task", "labels_of"]


def find_task(name: str) -> type[Task]:
    """The class of a `--task` name; UserError when there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task: {name}; choose one of {', '.join(TASKS)}")
    return TASKS[name]
