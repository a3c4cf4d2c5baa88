"""The tasks that `ernie predict`, `export` and `serve` know: one entry of TASKS each.

A new task is one entry here and one file in pipelines/. Importing this module is cheap (no Paddle, no numpy), since
`ernie ... --help` lists the names; classes are therefore given as "module:Class".
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.imports import load_object

if TYPE_CHECKING:
    from ernie_from_scratch.config import EncoderConfig
    from ernie_from_scratch.deployment.pipelines.base import Pipeline
    from ernie_from_scratch.deployment.server.requests import TextRequest

# Orders in which the [MASK] tokens of a text are filled; the first is the default. See pipelines/beam_search.py.
STRATEGIES = ("left_to_right", "all_at_once", "most_confident")


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a network. A letter in `shape` is a dynamic axis: B rows, L sequence length,
    M masked positions; C classes and V vocabulary are fixed by the model.
    """

    name: str
    shape: tuple[str, ...]
    dtype: Literal["int64", "float32"]


@dataclass(frozen=True)
class Task:
    """What deployment needs to know about a task."""

    name: str  # as in --task and in export.json
    inputs: tuple[TensorSpec, ...]  # what a backend is given, in this order; padding is recognized by its id
    outputs: tuple[TensorSpec, ...]  # what it returns
    heads: tuple[str, ...]  # of models.registry; the first one that the model's family has is built
    pipeline: str  # class of its pipeline, which also parses input lines and formats answers
    request: str  # pydantic model of a request of the server
    options: tuple[str, ...]  # options of Pipeline.predict that `ernie predict` may set
    warmup: str  # a short text that the model can answer, for the first call
    example: str  # the text that the page of the server starts with

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    def inputs_for(self, config: "EncoderConfig") -> tuple[TensorSpec, ...]:
        """The inputs that a network reads: no token_type_ids where it has no embeddings for them."""
        return tuple(spec for spec in self.inputs if spec.name != "token_type_ids" or config.type_vocab_size)

    def pipeline_class(self) -> "type[Pipeline]":
        return load_object(self.pipeline)

    def request_class(self) -> "type[TextRequest]":
        """Needs the extra [deploy] (pydantic)."""
        return load_object(self.request)


_IDS = (TensorSpec("input_ids", ("B", "L"), "int64"), TensorSpec("token_type_ids", ("B", "L"), "int64"))
_POSITIONS = TensorSpec("masked_positions", ("M",), "int64")  # indices into the flattened B * L

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="text-classification",
            inputs=_IDS,
            outputs=(TensorSpec("logits", ("B", "C"), "float32"),),
            heads=("sequence-classification",),
            pipeline="ernie_from_scratch.deployment.pipelines.text_classification:TextClassificationPipeline",
            request="ernie_from_scratch.deployment.server.requests:TextClassificationRequest",
            options=("top_k",),
            warmup="。",
            example="房间干净，服务也很周到，下次还来。",
        ),
        Task(
            name="fill-mask",
            inputs=(*_IDS, _POSITIONS),
            outputs=(TensorSpec("logits", ("M", "V"), "float32"),),
            heads=("masked-lm", "pretraining"),
            pipeline="ernie_from_scratch.deployment.pipelines.fill_mask:FillMaskPipeline",
            request="ernie_from_scratch.deployment.server.requests:FillMaskRequest",
            options=("top_k", "strategy"),
            warmup="[MASK]",
            example="[MASK][MASK][MASK]是黑龙江的省会",
        ),
    )
}


def get_task(name: str) -> Task:
    """The entry of TASKS; UserError when there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task: {name}; choose one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of_head(head: str) -> Task | None:
    """The task that a network with this head of `models.registry` does, or None."""
    return next((task for task in TASKS.values() if head in task.heads), None)
