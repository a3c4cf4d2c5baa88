"""Pipeline parallel: each process has some of the layers, micro batches pass through them one after the other.

The schedule is Fleet's 1F1B: a stage begins with a few forward passes, then does one forward and one backward in
turn, so that it never keeps more micro batches in memory than there are stages (Narayanan et al. 2019, section 3.2).
Every process reads the same micro batches from its loader; only hidden states [B, L, H] and their gradients travel.

B batch, L sequence, H hidden.
"""

import contextlib
import itertools

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import LayerDesc, PipelineLayer, SharedLayerDesc
from paddle.distributed.fleet.meta_parallel.pp_utils.p2p_communication import P2pHelper

from ernie_from_scratch.models.layers import Dropout
from ernie_from_scratch.parallel import gloo
from ernie_from_scratch.parallel.layer_split import stage_chunks


class Elsewhere(nn.Layer):
    """In the place of a part of the network that lies on another stage: gives what it has received from there."""

    def __init__(self):
        super().__init__()
        self.receive(None)

    def receive(self, states):
        self.held = [states]  # in a list, since nn.Layer makes buffers of tensors

    def forward(self, *inputs):
        return self.held[0]


def dropouts_before(model, chunk):
    """How many dropouts of a whole `ErnieForPretraining` come before the chunk."""
    before = (
        [] if chunk.first else [model.ernie.embeddings, *model.ernie.encoder.layers[: chunk.layers.start]]
    )
    return sum(isinstance(part, Dropout) and part.p > 0 for layer in before for part in layer.sublayers())


def keep_stage(model, strategy):
    """Take the parts that lie on other stages out of an `ErnieForPretraining`; what stays keeps its name.

    The first stage embeds, the last has pooler and heads, and a copy of the word embeddings, which are its decoder.
    """
    num_layers = model.config.num_hidden_layers
    chunks = stage_chunks(num_layers, strategy.pp, strategy.pp_rank, strategy.virtual_pp)
    ernie = model.ernie
    ernie.encoder.layers = _pick(
        ernie.encoder.layers, [number for chunk in chunks for number in chunk.layers]
    )
    if not strategy.first_stage:
        embeddings, ernie.embeddings = ernie.embeddings, _no_embeddings(model)
        if strategy.last_stage:
            ernie.embeddings.word_embeddings = embeddings.word_embeddings
    if not strategy.last_stage:
        ernie.pooler, model.cls = Elsewhere(), Elsewhere()


def _pick(layers, numbers):
    picked = nn.LayerList()
    for number in numbers:
        picked.add_sublayer(str(number), layers._sub_layers[str(number)])
    return picked


def _no_embeddings(model):
    elsewhere = Elsewhere()
    elsewhere.pad_token_id = model.ernie.embeddings.pad_token_id
    return elsewhere


@contextlib.contextmanager
def only(model, chunk, received):
    """For the time being `model`, which holds a stage, is `chunk` alone, with the states that it has received."""
    ernie = model.ernie
    held = ernie.embeddings, ernie.encoder.layers, ernie.pooler, model.cls
    ernie.encoder.layers = _pick(ernie.encoder.layers, chunk.layers)
    if not chunk.first and not isinstance(ernie.embeddings, Elsewhere):
        ernie.embeddings = _no_embeddings(model)
    if not chunk.first:
        ernie.embeddings.receive(received)
    if not chunk.last:
        ernie.pooler, model.cls = Elsewhere(), Elsewhere()
    try:
        yield
    finally:
        if not chunk.first:
            ernie.embeddings.receive(None)
        ernie.embeddings, ernie.encoder.layers, ernie.pooler, model.cls = held


class Stage(nn.Layer):
    """What Fleet's engine calls for each micro batch, with the hidden states that the chunk before has sent."""

    def __init__(self, model, pipeline, number):
        super().__init__()
        self.model, self.step = model, pipeline.step
        self.chunk = next(chunk for chunk in pipeline.chunks if chunk.number == number)

    @property
    def weight(self):
        """What first and last stage share: each has a copy, and their gradients are added up."""
        return self.model.ernie.embeddings.word_embeddings.weight

    def forward(self, received):
        return self.step(self.chunk, received)


class Pipeline:
    """This process's stage and Fleet's schedule around it.

    Args:
        model: an `ErnieForPretraining`; the parts on other stages are taken out of it.
        forward: the forward pass of a micro batch (of tensors) through `only` a chunk: gives the loss after the
            last, else `states`.
    """

    def __init__(self, model, strategy, forward):
        self.model, self.strategy, self.forward = model, strategy, forward
        num_layers = model.config.num_hidden_layers
        self.chunks = stage_chunks(num_layers, strategy.pp, strategy.pp_rank, strategy.virtual_pp)
        self.dropouts = {chunk: dropouts_before(model, chunk) for chunk in self.chunks}
        keep_stage(model, strategy)
        self.waiting = {}
        count = strategy.pp * strategy.virtual_pp
        stages = [LayerDesc(Stage, model, self, number) for number in range(count)]
        for number in (0, count - 1):
            stages[number] = SharedLayerDesc("words", Stage, None, "weight", model, self, number)
        layers = PipelineLayer(
            stages,
            num_stages=strategy.pp,
            topology=_topology(),
            loss_fn=_the_loss_itself,
            seg_method="layer:Stage",  # one each
            num_virtual_pipeline_stages=strategy.virtual_pp,
        )
        if strategy.last_stage:
            # Fleet means to say this, but compares a parameter's name with "weight": without it, clipping counts
            # the gradient of the shared weights twice
            model.ernie.embeddings.word_embeddings.weight.is_firstly_shared = False
        gloo.connect_ring(strategy.pp_group)
        self.engine = fleet.distributed_model(layers)

    def forward_backward(self, batches, seeds, scaler):
        """Both passes of all micro batches; gradients are those of the mean loss times the scaler's factor."""
        interleaved = self.strategy.virtual_pp > 1
        if interleaved:
            batches = same_width(batches)  # Fleet's interleaved schedule wants one shape of what travels
        micro_batches = list(zip(batches, seeds, strict=True))
        self.waiting = {chunk: list(micro_batches) for chunk in self.chunks}
        if self.engine.accumulate_steps != len(micro_batches):
            self.engine.accumulate_steps = len(micro_batches)
            self.engine._init_user_hooks()  # of which it wants one for each micro batch
        # rows are as long as their longest text: the shape of what travels goes with it, and is not kept
        self.engine._p2p_helper = P2pHelper(use_cache=interleaved, dynamic_shape=not interleaved)
        self.engine.forward_backward_pipeline(
            itertools.repeat((None, None)), scaler
        )  # data come by `waiting`
        gloo.wait_for_sends()

    def step(self, chunk, received):
        """The forward pass of the chunk's next micro batch."""
        batch, seed = self.waiting[chunk].pop(0)
        paddle.seed(seed)
        # the draws of the chunks before, so that this one's dropouts draw what they would in one process
        for _ in range(self.dropouts[chunk]):
            Dropout(0.5).random_bits([0])
        with only(self.model, chunk, received):
            return self.forward(batch, chunk.last)

    def states(self, batch):
        """Hidden states [B, L, H] after the layers of `only` a chunk, of a batch of tensors."""
        ids, types, mask = (batch[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
        return self.model.ernie(ids, types, attention_mask=mask)[0]


def same_width(batches):
    """Micro batches padded to the widest of them; positions [M] count on in the wider rows.

    The losses stay, but for dropout: in a wider row it draws other marks than in one process.
    """
    widest = max(batch["input_ids"].shape[1] for batch in batches)
    return [_widened(batch, widest - batch["input_ids"].shape[1]) for batch in batches]


def _widened(batch, more):
    if more == 0:
        return batch
    ids = batch["input_ids"]
    mask = batch["attention_mask"]
    places = batch["masked_positions"]
    wide = {name: F.pad(batch[name], [0, 0, 0, more]) for name in ("input_ids", "token_type_ids")}
    wide["attention_mask"] = F.pad(paddle.ones_like(ids) if mask is None else mask, [0, 0, 0, more])
    wide["masked_positions"] = places + places // ids.shape[1] * more
    return {**batch, **wide}


def _topology():
    return fleet.get_hybrid_communicate_group().topology()


def _the_loss_itself(loss, labels):
    return loss
