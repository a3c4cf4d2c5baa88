"""Labelled examples: the loss is that of the network's own head (classification, labelling, question answering)."""

from typing import Any

from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.models.outputs import ModelOutput
from ernie_from_scratch.objectives.base import Loss, Objective


class SupervisedObjective(Objective):
    """The mean loss of a `TaskModel` over the labels of a batch, under the names of its `label_names`."""

    name = "supervised"
    input_keys = ("input_ids", "token_type_ids", "position_ids", "attention_mask")  # [B, L] each

    def __init__(self, input_keys: tuple[str, ...] | list[str] | None = None):
        self.input_keys = tuple(input_keys or type(self).input_keys)

    def loss(self, network: Any, output: ModelOutput, batch: Batch) -> Loss:
        return Loss(network.loss(output, batch))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "input_keys": list(self.input_keys)}
