"""Sharding stage 3: each process holds a share of every encoder layer, and the whole of one only while it runs.

ZeRO's third stage (Rajbhandari et al. 2020, section 5.3). The shares of a layer are gathered for its forward pass and
let go; backward gathers them again, runs the layer again (recomputation), and leaves each process the gradient of its
share. Embeddings, pooler and heads stay whole everywhere. Paddle's own stage 3 runs on GPUs only, and knows no
weights that two layers share, as word embeddings and decoder do here.
"""

from dataclasses import dataclass
from math import prod

import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.autograd import PyLayer
from paddle.distributed.fleet.utils import recompute

from ernie_from_scratch.models.cpu.layers import on_cpu


@dataclass(frozen=True)
class Shares:
    """How processes share out a parameter of `shape`: a row of its numbers in equal pieces, filled up with zeros."""

    shape: tuple

    def place(self, strategy):
        """(which share a process holds, how many there are)."""
        return strategy.sharding_rank, strategy.sharding

    def part(self, whole, rank, ranks, filling=True):
        """Share `rank` of `ranks` of a tensor: [ceil(size / ranks)]."""
        width = -(-whole.size // ranks)
        mine = whole.reshape([-1])[rank * width : (rank + 1) * width]
        missing = width - mine.shape[0]
        return paddle.concat([mine, paddle.zeros([missing], dtype=whole.dtype)]) if missing else mine

    def whole(self, shares):
        """The tensor from the shares of all processes, in the order of their ranks."""
        return paddle.concat(shares)[: prod(self.shape)].reshape(list(self.shape))


def share_layers(model, strategy):
    """Leave a share of each encoder layer of an `ErnieForPretraining` in this process; names stay.

    Returns:
        {parameter's name: `Shares`} of what is shared out.
    """
    shares = {}
    for number, layer in enumerate(model.ernie.encoder.layers):
        prefix = f"ernie.encoder.layers.{number}"
        held = [_share(owner, name, strategy) for owner in layer.sublayers() for name in owner._parameters]
        shares |= {
            f"{prefix}.{name}": how
            for (name, _), (*_, how) in zip(layer.named_parameters(), held, strict=True)
        }
        layer.forward = _WholeWhileItRuns(layer, held, strategy.sharding_group)
    model.ernie.encoder.enable_recompute = False  # the layers do it themselves
    return shares


def _share(owner, name, strategy):
    """Put this process's share in the place of a parameter: (layer, name in it, share, how it is shared out)."""
    whole = owner._parameters[name]
    how = Shares(tuple(whole.shape))
    share = paddle.create_parameter(
        how.part(whole, *how.place(strategy)).shape,
        whole.dtype,
        default_initializer=nn.initializer.Constant(0.0),
    )
    share.set_value(how.part(whole.detach(), *how.place(strategy)))
    share.is_shared_out = True
    owner._parameters[name] = share
    return owner, name, share, how


class _WholeWhileItRuns:
    """The forward pass of an encoder layer whose parameters are shared out."""

    def __init__(self, layer, held, group):
        self.layer, self.held, self.group = layer, held, group
        self.of_whole = layer.forward  # the class's own

    def __call__(self, hidden_states, mask=None, past_key_value=None, output_attentions=False):
        if self.layer.training and paddle.is_grad_enabled():
            return recompute(self.states, hidden_states, mask), None, None
        return self.run(hidden_states, mask, past_key_value, output_attentions)

    def states(self, hidden_states, mask):
        return self.run(hidden_states, mask)[0]

    def run(self, *inputs):
        try:
            for owner, name, share, how in self.held:
                owner._parameters[name] = _Gather.apply(share, how, self.group)
            return self.of_whole(*inputs)
        finally:
            for owner, name, share, _ in self.held:
                owner._parameters[name] = share


class _Gather(PyLayer):
    """A parameter from its shares; in backward each process gets the mean gradient of its own."""

    @staticmethod
    def forward(ctx, share, how, group):
        shares = []
        dist.all_gather(shares, share, group=group)
        ctx.how, ctx.group = how, group
        return how.whole(shares)

    @staticmethod
    def backward(ctx, grad):
        group, rank = ctx.group, ctx.group.rank
        shares = [ctx.how.part(grad, number, group.nranks) for number in range(group.nranks)]
        if on_cpu(grad):  # Gloo has no reduce_scatter
            total = paddle.concat(shares)
            dist.all_reduce(total, group=group)
            mine = total.reshape([group.nranks, -1])[rank]
        else:
            mine = paddle.empty_like(shares[rank])
            dist.reduce_scatter(mine, shares, group=group)
        return mine / group.nranks


class WholeNormClip(nn.ClipGradByGlobalNorm):
    """Clipping by the norm over the gradients that all processes hold, shares and whole ones."""

    def __init__(self, clip_norm, network):
        super().__init__(clip_norm)
        self.network = network

    @paddle.no_grad()
    def __call__(self, params_grads):
        factor = self.clip_norm / max(self.network.gradient_norm(), self.clip_norm)
        return [(parameter, None if grad is None else grad * factor) for parameter, grad in params_grads]
