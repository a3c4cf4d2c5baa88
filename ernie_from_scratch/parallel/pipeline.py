"""Pipeline parallel: each process has some of the layers, micro batches pass through them one after the other.

The schedule is Fleet's 1F1B: a stage begins with a few forward passes, then does one forward and one backward in
turn, so that it never keeps more micro batches in memory than there are stages (Narayanan et al. 2019, section 3.2).
Every process reads the same micro batches from its loader; only hidden states [B, L, H] and their gradients travel.

B batch, L sequence, H hidden.
"""

import itertools

import paddle
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import LayerDesc, PipelineLayer, SharedLayerDesc
from paddle.distributed.fleet.meta_parallel.pp_utils.p2p_communication import P2pHelper

from ernie_from_scratch.config import UserError
from ernie_from_scratch.models.layers import Dropout


class Elsewhere(nn.Layer):
    """In the place of a part of the network that lies on another stage: gives what it has received from there."""

    def __init__(self):
        super().__init__()
        self.receive(None)

    def receive(self, states):
        self.held = [states]  # in a list, since nn.Layer makes buffers of tensors

    def forward(self, *inputs):
        return self.held[0]


def stage_layers(layers, strategy):
    """Numbers of this process's encoder layers; where they don't come out even, the first stages have one more.

    Raises:
        UserError: there are fewer layers than stages.
    """
    if layers < strategy.pp:
        raise UserError(
            f"--pp_degree {strategy.pp}: each stage needs a layer, and there are {layers}; lower it"
        )
    each, more = divmod(layers, strategy.pp)
    first = strategy.pp_rank * each + min(strategy.pp_rank, more)
    return range(first, first + each + (strategy.pp_rank < more))


def keep_stage(model, strategy):
    """Take the parts that lie on other stages out of an `ErnieForPretraining`; what stays keeps its name.

    The first stage embeds, the last has pooler and heads, and a copy of the word embeddings, which are its decoder.

    Returns:
        How many dropouts come before this stage.
    """
    ernie, mine = model.ernie, stage_layers(model.config.num_hidden_layers, strategy)
    layers = list(ernie.encoder.layers)
    before = [] if strategy.first_stage else [ernie.embeddings, *layers[: mine.start]]
    kept = nn.LayerList()
    for number in mine:
        kept.add_sublayer(str(number), layers[number])
    ernie.encoder.layers = kept
    if not strategy.first_stage:
        embeddings, ernie.embeddings = ernie.embeddings, Elsewhere()
        ernie.embeddings.pad_token_id = embeddings.pad_token_id
        if strategy.last_stage:
            ernie.embeddings.word_embeddings = embeddings.word_embeddings
    if not strategy.last_stage:
        ernie.pooler, model.cls = Elsewhere(), Elsewhere()
    return sum(isinstance(part, Dropout) and part.p > 0 for layer in before for part in layer.sublayers())


class Stage(nn.Layer):
    """What Fleet's engine calls for each micro batch, with the hidden states that the stage before has sent."""

    def __init__(self, model, pipeline):
        super().__init__()
        self.model, self.step = model, pipeline.step

    @property
    def weight(self):
        """What first and last stage share: each has a copy, and their gradients are added up."""
        return self.model.ernie.embeddings.word_embeddings.weight

    def forward(self, received):
        return self.step(received)


class Pipeline:
    """This process's stage and Fleet's schedule around it.

    Args:
        model: an `ErnieForPretraining`; the parts on other stages are taken out of it.
        forward: the forward pass of a micro batch (of tensors): gives the loss on the last stage, else `states`.
    """

    def __init__(self, model, strategy, forward):
        self.model, self.strategy, self.forward = model, strategy, forward
        self.dropouts_before = keep_stage(model, strategy)
        self.waiting = []
        stages = [LayerDesc(Stage, model, self) for _ in range(strategy.pp)]
        for end in (0, -1):
            stages[end] = SharedLayerDesc("words", Stage, None, "weight", model, self)
        layers = PipelineLayer(stages, num_stages=strategy.pp, topology=_topology(), loss_fn=_the_loss_itself)
        if strategy.last_stage:
            # Fleet means to say this, but compares a parameter's name with "weight": without it, clipping counts
            # the gradient of the shared weights twice
            model.ernie.embeddings.word_embeddings.weight.is_firstly_shared = False
        self.engine = fleet.distributed_model(layers)

    def forward_backward(self, batches, seeds, scaler):
        """Both passes of all micro batches; gradients are those of the mean loss times the scaler's factor."""
        self.waiting = list(zip(batches, seeds, strict=True))
        if self.engine.accumulate_steps != len(self.waiting):
            self.engine.accumulate_steps = len(self.waiting)
            self.engine._init_user_hooks()  # of which it wants one for each micro batch
        # rows are as long as their longest text: the shape of what travels goes with it, and is not kept
        self.engine._p2p_helper = P2pHelper(use_cache=False, dynamic_shape=True)
        self.engine.forward_backward_pipeline(
            itertools.repeat((None, None)), scaler
        )  # data come by `waiting`
        self.receive(None)

    def step(self, received):
        """The forward pass of the next micro batch."""
        batch, seed = self.waiting.pop(0)
        paddle.seed(seed)
        # the draws of the stages before, so that this stage's dropouts draw what they would in one process
        for _ in range(self.dropouts_before):
            Dropout(0.5).random_bits([0])
        self.receive(received)
        return self.forward(batch)

    def receive(self, states):
        """Put hidden states [B, L, H] of the stage before in the place of embeddings."""
        if not self.strategy.first_stage:
            self.model.ernie.embeddings.receive(states)

    def states(self, batch):
        """Hidden states [B, L, H] after this stage's layers, of a batch of tensors."""
        ids, types, mask = (batch[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
        return self.model.ernie(ids, types, attention_mask=mask)[0]


def _topology():
    return fleet.get_hybrid_communicate_group().topology()


def _the_loss_itself(loss, labels):
    return loss
