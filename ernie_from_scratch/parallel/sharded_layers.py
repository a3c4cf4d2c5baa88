"""Sharding stage 3: each process holds a shard of every encoder layer, and the complete layer only while it runs.

ZeRO's third stage (Rajbhandari et al. 2020, section 5.3). The shards of a layer are gathered for its forward pass and
freed; backward gathers them again, runs the layer again (recomputation), and leaves each process the gradient of its
shard. Embeddings, pooler and heads are replicated. Paddle's own stage 3 runs on GPUs only, and does not support
weights that two layers share, as word embeddings and decoder do here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import paddle
import paddle.distributed as dist
from paddle import Tensor, nn
from paddle.autograd import PyLayer
from paddle.distributed.fleet.utils import recompute

from ernie_from_scratch.models.cpu.layers import on_cpu
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.parallel.strategy import Strategy


@dataclass(frozen=True)
class FlatShards:
    """A parameter of `shape`, flattened and divided into equal shards, the last one padded with zeros."""

    shape: tuple[int, ...]

    def place(self, strategy: Strategy) -> tuple[int, int]:
        """(number of the shard that this process holds, number of shards)."""
        return strategy.sharding_rank, strategy.sharding

    def split(self, tensor: Tensor, rank: int, ranks: int, padding: bool = True) -> Tensor:
        """Shard `rank` of `ranks` of a complete tensor: [ceil(size / ranks)]."""
        width = -(-tensor.size // ranks)
        own = tensor.reshape([-1])[rank * width : (rank + 1) * width]
        missing = width - own.shape[0]
        return paddle.concat([own, paddle.zeros([missing], dtype=tensor.dtype)]) if missing else own

    def merge(self, shards: Sequence[Tensor]) -> Tensor:
        """The complete tensor from the shards of all processes, in the order of their ranks."""
        return paddle.concat(list(shards))[: prod(self.shape)].reshape(list(self.shape))


def shard_layers(model: TaskModel, strategy: Strategy) -> dict[str, FlatShards]:
    """Keep a shard of each encoder layer in this process; parameters keep their names.

    Returns:
        {parameter's name: `FlatShards`} of what is sharded.
    """
    splits = {}
    for number, layer in enumerate(model.layers):
        prefix = f"{model.base_name}.encoder.layers.{number}"
        held = [_shard(owner, name, strategy) for owner in layer.sublayers() for name in owner._parameters]
        splits |= {
            f"{prefix}.{name}": shards
            for (name, _), (*_, shards) in zip(layer.named_parameters(), held, strict=True)
        }
        layer.forward = _GatheredForward(layer, held, strategy.sharding_group)
    model.backbone.encoder.enable_recompute = False  # the layers recompute themselves
    return splits


def _shard(owner: nn.Layer, name: str, strategy: Strategy) -> tuple[nn.Layer, str, Tensor, FlatShards]:
    """Replace a parameter by this process's shard: (layer, name in it, shard, how it is sharded)."""
    complete = owner._parameters[name]
    shards = FlatShards(tuple(complete.shape))
    value = shards.split(complete.detach(), *shards.place(strategy))
    shard = paddle.create_parameter(
        value.shape, complete.dtype, default_initializer=nn.initializer.Constant(0.0)
    )
    shard.set_value(value)
    shard.is_shard = True
    owner._parameters[name] = shard
    return owner, name, shard, shards


class _GatheredForward:
    """The forward pass of an encoder layer whose parameters are sharded."""

    def __init__(self, layer, held, group):
        self.layer, self.held, self.group = layer, held, group
        self.plain_forward = layer.forward  # the class's own

    def __call__(self, hidden_states, mask=None, past_key_value=None, output_attentions=False, packing=None):
        if self.layer.training and paddle.is_grad_enabled():

            def states_alone(states):  # recomputation passes nothing but tensors
                return self.run(states, mask, None, False, packing)[0]

            return recompute(states_alone, hidden_states), None, None
        return self.run(hidden_states, mask, past_key_value, output_attentions, packing)

    def run(self, *inputs):
        try:
            for owner, name, shard, shards in self.held:
                owner._parameters[name] = _Gather.apply(shard, shards, self.group)
            return self.plain_forward(*inputs)
        finally:
            for owner, name, shard, _ in self.held:
                owner._parameters[name] = shard


class _Gather(PyLayer):
    """A parameter from its shards; in backward each process gets the mean gradient of its own."""

    @staticmethod
    def forward(ctx, shard, shards, group):
        gathered = []
        dist.all_gather(gathered, shard, group=group)
        ctx.shards, ctx.group = shards, group
        return shards.merge(gathered)

    @staticmethod
    def backward(ctx, grad):
        group, rank = ctx.group, ctx.group.rank
        parts = [ctx.shards.split(grad, number, group.nranks) for number in range(group.nranks)]
        if on_cpu(grad):  # Gloo has no reduce_scatter
            total = paddle.concat(parts)
            dist.all_reduce(total, group=group)
            own = total.reshape([group.nranks, -1])[rank]
        else:
            own = paddle.empty_like(parts[rank])
            dist.reduce_scatter(own, parts, group=group)
        return own / group.nranks


class GlobalNormClip(nn.ClipGradByGlobalNorm):
    """Clipping by the norm over the gradients of all processes, sharded and replicated ones."""

    def __init__(self, clip_norm: float, network):
        super().__init__(clip_norm)
        self.network = network

    @paddle.no_grad()
    def __call__(self, params_grads):
        factor = self.clip_norm / max(self.network.gradient_norm(), self.clip_norm)
        return [(parameter, None if grad is None else grad * factor) for parameter, grad in params_grads]
