"""What is learned: an objective turns the outputs of a network and a batch into a Loss with named metrics.

A new objective is one file and one entry in OBJECTIVES.
"""

from ernie_from_scratch.config import UserError
from ernie_from_scratch.objectives.base import Loss, Objective
from ernie_from_scratch.objectives.mlm_pair import MaskedLMWithPair
from ernie_from_scratch.objectives.supervised import SupervisedObjective

OBJECTIVES: dict[str, type[Objective]] = {cls.name: cls for cls in (MaskedLMWithPair, SupervisedObjective)}

__all__ = ["OBJECTIVES", "Loss", "MaskedLMWithPair", "Objective", "SupervisedObjective", "build_objective"]


def build_objective(description: dict) -> Objective:
    """The objective that `Objective.describe` described; UserError for an unknown name."""
    arguments = dict(description)
    name = arguments.pop("name")
    if name not in OBJECTIVES:
        raise UserError(f"unknown objective: {name}; known: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name](**arguments)
