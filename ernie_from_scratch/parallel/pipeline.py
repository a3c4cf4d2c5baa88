"""Pipeline parallel: each process has some of the layers, micro batches pass through them one after the other.

The schedule is Fleet's 1F1B: a stage begins with a few forward passes, then does one forward and one backward in
turn, so that it never keeps more micro batches in memory than there are stages (Narayanan et al. 2019, section 3.2).
Every process reads the same micro batches from its loader; only hidden states [B, L, H] and their gradients are sent.
A stage runs the parts that a model is composed of: `embed` on the first stage, its share of `layers`, and `head` on
the last.

B batch, L sequence, H hidden.
"""

import itertools
from collections.abc import Callable
from typing import Any

import paddle
import paddle.distributed as dist
from paddle import Tensor, nn
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import LayerDesc, PipelineLayer, SharedLayerDesc
from paddle.distributed.fleet.meta_parallel.pp_utils.p2p_communication import P2pHelper

from ernie_from_scratch.dataset.batch import Batch, pad_to_width
from ernie_from_scratch.models.layers import Dropout
from ernie_from_scratch.models.outputs import ModelOutput
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.parallel import gloo
from ernie_from_scratch.parallel.layer_split import Chunk, stage_chunks
from ernie_from_scratch.parallel.strategy import Strategy


def chunks_of(model: TaskModel, strategy: Strategy) -> list[Chunk]:
    """The chunks of layers that this process's stage runs."""
    layers = model.config.num_hidden_layers
    return stage_chunks(layers, strategy.pp, strategy.pp_rank, strategy.virtual_pp)


def count_dropouts_before(model: TaskModel, chunk: Chunk) -> int:
    """How many dropout layers of a complete model come before the chunk."""
    before = [] if chunk.first else [model.backbone.embeddings, *list(model.layers)[: chunk.layers.start]]
    return sum(isinstance(part, Dropout) and part.p > 0 for layer in before for part in layer.sublayers())


def keep_stage(model: TaskModel, strategy: Strategy) -> None:
    """Remove from a complete model what other stages hold; the parameters that stay keep their names.

    The first stage keeps the embeddings, the last one the pooler and the heads, and both the word embeddings, where
    these are shared with a decoder.
    """
    backbone, chunks = model.backbone, chunks_of(model, strategy)
    kept = nn.LayerList()
    for number in sorted(number for chunk in chunks for number in chunk.layers):
        kept.add_sublayer(str(number), model.layers._sub_layers[str(number)])
    backbone.encoder.layers = kept
    if not strategy.first_stage:
        keeps_words = strategy.last_stage and model.vocabulary_outputs
        shared = backbone.embeddings.word_embeddings if keeps_words else None
        for name in list(backbone.embeddings._sub_layers):
            setattr(backbone.embeddings, name, None)
        backbone.embeddings.word_embeddings = shared
    if not strategy.last_stage:
        backbone.pooler = None
        for name, part in list(model._sub_layers.items()):
            if part is not backbone:
                setattr(model, name, None)


def run_chunk(model: TaskModel, chunk: Chunk, batch: Batch, received: Any) -> Tensor:
    """Hidden states [B, L, H] after the layers of a chunk, from the states before it, or from the batch."""
    states = model.embed(batch) if chunk.first else received
    return model.run_layers(
        states, batch, [model.layers._sub_layers[str(number)] for number in chunk.layers]
    )[0]


class Stage(nn.Layer):
    """What Fleet's engine calls for each micro batch, with the hidden states that the chunk before has sent."""

    def __init__(self, model: TaskModel, pipeline: "Pipeline", number: int):
        super().__init__()
        self.model, self.step = model, pipeline.step
        self.chunk = next(chunk for chunk in pipeline.chunks if chunk.number == number)

    @property
    def weight(self) -> Tensor:
        """What first and last stage share: each has a copy, and their gradients are added up."""
        return self.model.backbone.embeddings.word_embeddings.weight

    def forward(self, received: Tensor | None) -> Tensor:
        return self.step(self.chunk, received)


class Pipeline:
    """This process's stage and Fleet's schedule around it.

    Args:
        model: a complete model; the parts of other stages are removed from it.
        loss: from (outputs of the model's head, batch of tensors) to the loss of a micro batch.
    """

    def __init__(self, model: TaskModel, strategy: Strategy, loss: Callable[[ModelOutput, Batch], Tensor]):
        self.model, self.strategy, self.loss = model, strategy, loss
        self.chunks = chunks_of(model, strategy)
        self.dropouts = {chunk: count_dropouts_before(model, chunk) for chunk in self.chunks}
        keep_stage(model, strategy)
        self.queues: dict[Chunk, list] = {}
        self.precision: Any = None
        count = strategy.pp * strategy.virtual_pp
        stages = [LayerDesc(Stage, model, self, number) for number in range(count)]
        if model.vocabulary_outputs:
            for number in (0, count - 1):
                stages[number] = SharedLayerDesc("words", Stage, None, "weight", model, self, number)
        layers = PipelineLayer(
            stages,
            num_stages=strategy.pp,
            topology=fleet.get_hybrid_communicate_group().topology(),
            loss_fn=_first_argument,  # the last stage has computed the loss already
            seg_method="layer:Stage",  # one each
            num_virtual_pipeline_stages=strategy.virtual_pp,
        )
        if strategy.last_stage and model.vocabulary_outputs:
            # Fleet means to set this, but compares a parameter's name with "weight": without it, clipping counts
            # the gradient of the shared weights twice
            model.backbone.embeddings.word_embeddings.weight.is_firstly_shared = False
        gloo.connect_ring(strategy.pp_group)
        self.engine: Any = fleet.distributed_model(layers)

    def forward_backward(self, batches: list[Batch], seeds: list[int], precision: Any) -> None:
        """Both passes of all micro batches; gradients are those of the mean loss times the loss scale."""
        self.precision = precision
        interleaved = self.strategy.virtual_pp > 1
        if interleaved:
            batches = same_width(batches)  # Fleet's interleaved schedule needs tensors of one shape
        micro_batches = list(zip(batches, seeds, strict=True))
        self.queues = {chunk: list(micro_batches) for chunk in self.chunks}
        if self.engine.accumulate_steps != len(micro_batches):
            self.engine.accumulate_steps = len(micro_batches)
            self.engine._init_user_hooks()  # of which it has one for each micro batch
        # rows are as long as their longest text: shapes of what is sent differ, and are not cached
        self.engine._p2p_helper = P2pHelper(use_cache=interleaved, dynamic_shape=not interleaved)
        self.engine.forward_backward_pipeline(
            itertools.repeat((None, None)), precision
        )  # the batches come from the queues
        gloo.wait_for_sends()

    def step(self, chunk: Chunk, received: Tensor | None) -> Tensor:
        """The forward pass of the chunk's next micro batch: hidden states, or the loss after the last chunk."""
        batch, seed = self.queues[chunk].pop(0)
        paddle.seed(seed)
        # skip the draws of the chunks before, so that these dropouts draw what they would in one process
        for _ in range(self.dropouts[chunk]):
            Dropout(0.5).random_bits([0])
        with self.precision.autocast():
            states = run_chunk(self.model, chunk, batch, received)
            return self.loss(self.model.head(states, batch), batch) if chunk.last else states

    def evaluate(self, inputs: Batch, complete: Callable[[ModelOutput], ModelOutput]) -> ModelOutput:
        """The outputs of the model's head, passed through `complete` on the last stage, on every process."""
        group, rank, output = self.strategy.pp_group, self.strategy.pp_rank, None
        input_ids = self.model.backbone_batch(inputs)["input_ids"]  # [B, L]
        shape = [*input_ids.shape, self.model.config.hidden_size]  # [B, L, H]
        for chunk in self.chunks:
            received = None
            if not chunk.first:
                received = paddle.empty(shape)
                dist.recv(received, group.ranks[rank - 1], group=group)
            states = run_chunk(self.model, chunk, inputs, received)
            if chunk.last:
                output = complete(self.model.head(states, inputs))
            else:
                dist.send(states.astype("float32"), group.ranks[(rank + 1) % group.nranks], group=group)
        return _broadcast(self.model.output_class, output, group)


def _broadcast(cls: type[ModelOutput], output: ModelOutput | None, group) -> ModelOutput:
    """The output of the last process of a group on all of them."""
    source = group.ranks[-1]
    shapes = paddle.zeros(
        [len(cls.FIELDS), 8], dtype="int64"
    )  # of each field: number of axes, then their sizes
    if output is not None:
        for row, name in enumerate(cls.FIELDS):
            if name in output:
                sizes = output[name].shape
                shapes[row, : len(sizes) + 1] = paddle.to_tensor([len(sizes), *sizes])
    dist.broadcast(shapes, source, group=group)
    values = {}
    rows: Any = shapes.tolist()
    for name, (axes, *sizes) in zip(cls.FIELDS, rows, strict=True):
        if axes:
            values[name] = paddle.empty(sizes[:axes]) if output is None else output[name]
            dist.broadcast(values[name], source, group=group)
    return cls(**values)


def same_width(batches: list[Batch]) -> list[Batch]:
    """Micro batches padded to the widest of them.

    The losses stay the same but for dropout: in a wider row it draws another mask than in one process.
    """
    widest = max(batch["input_ids"].shape[1] for batch in batches)
    return [pad_to_width(batch, widest) for batch in batches]


def _first_argument(loss, labels):
    return loss
