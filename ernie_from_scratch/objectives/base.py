"""What every objective is: the batch keys that it needs, and a Loss from a network's outputs.

Outputs and loss are separate steps, so that a pipeline's last stage, which has only a part of the network, and a static
graph, which has no labels, compute the same loss as the plain network.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from paddle import Tensor

from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.models.outputs import ModelOutput


@dataclass
class Loss:
    """The loss of one micro batch.

    Attributes:
        total: 0-d tensor to minimize.
        metrics: 0-d tensors by the names that logs, progress bars and metrics.jsonl show.
    """

    total: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Objective(ABC):
    """A loss on batches of one kind; call it with a network and a batch of tensors.

    Attributes:
        name: its key in OBJECTIVES.
        input_keys: batch keys that the network's forward takes; one that a batch lacks is passed as None.
        metric_names: keys of `Loss.metrics`, the same for every batch, in the order of the log line.
    """

    name: ClassVar[str]
    input_keys: tuple[str, ...]
    metric_names: tuple[str, ...] = ()

    def __call__(self, network, batch: Batch) -> Loss:
        return self.loss(network, network(**self.network_inputs(batch), return_dict=True), batch)

    def network_inputs(self, batch: Batch) -> Batch:
        """The arguments of the network's forward."""
        return {key: batch.get(key) for key in self.input_keys}

    @abstractmethod
    def loss(self, network: Any, output: ModelOutput, batch: Batch) -> Loss:
        """The Loss of a network's output; `network` (a `TaskModel` or what stands for one)
        gives the losses of its own heads."""

    def weight(self, batch: Batch) -> float | None:
        """The weight of a micro batch in the mean over a step; None is 1."""
        return batch.get("loss_weight")

    def num_predictions(self, batch: Batch) -> int:
        """Positions whose token is predicted."""
        return 0

    def describe(self) -> dict[str, Any]:
        """What `build_objective` makes this objective of again: its name and arguments, JSON-able."""
        return {"name": self.name}
