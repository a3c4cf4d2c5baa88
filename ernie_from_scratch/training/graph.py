"""`--to_static`: the network as Paddle's static graph, with the dynamic network's parameters."""

from collections.abc import Callable
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from ernie_from_scratch.models.outputs import ModelOutput
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import Objective


class StaticNetwork(nn.Layer):
    """One graph for all batch shapes; takes a batch of the objective's inputs."""

    def __init__(self, model: TaskModel):
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return self.model(**inputs)


def static_network(model: TaskModel, objective: Objective) -> Callable[..., ModelOutput]:
    """A callable with the signature and the outputs of `model`, backed by one static graph of it.

    Dropout draws other masks than on the dynamic graph; everything else is equal up to rounding.
    """
    graphs = []  # made from the first batch, which tells number types and axes

    def network(return_dict: bool = True, **inputs: Any) -> ModelOutput:
        if inputs.get("attention_mask") is None:  # nothing is padded; the graph always adds a mask
            inputs["attention_mask"] = paddle.ones_like(inputs["input_ids"])
        given = {name: inputs[name] for name in objective.input_keys if inputs.get(name) is not None}
        if not graphs:
            spec: Any = {
                name: InputSpec([None] * value.ndim, value.dtype, name) for name, value in given.items()
            }
            to_static: Any = paddle.jit.to_static
            graphs.append(to_static(StaticNetwork(model), input_spec=[spec], full_graph=True))
        values = graphs[0](given)
        values = values if isinstance(values, tuple | list) else (values,)
        return model.output_class(**dict(zip(model.output_class.FIELDS[1:], values, strict=False)))

    return network
