"""The optimizer under a strategy; with sharding, each process updates its shard (ZeRO: Rajbhandari et al. 2020).

Stage 1 shards AdamW's moments; stage 2 the gradients too; stage 3 the encoder layers too (sharded_layers.py).
Stage 2, offload and loss scaling are Paddle's for GPUs: no test of this project runs them.
"""

from typing import Any

import paddle
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel.sharding.group_sharded_utils import GroupShardedScaler
from paddle.distributed.sharding import group_sharded_parallel

from ernie_from_scratch.parallel.degrees import check_sharding_stage
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.sharded_layers import GlobalNormClip
from ernie_from_scratch.parallel.strategy import Strategy


def check_sharding(strategy: Strategy, stage: int, offload: bool = False) -> None:
    """Raise for a sharding stage that can't run under these degrees on this device.

    Args:
        strategy: a `Strategy`, or anything with its degrees.
        stage: 1, 2 or 3.
        offload: keep the optimizer state in host memory.

    Raises:
        UserError: in one line.
    """
    degrees = (strategy.dp, strategy.sharding, strategy.mp, strategy.pp)
    check_sharding_stage(stage, offload, degrees, on_cpu=paddle.get_device() == "cpu")


def parallel_optimizer(
    network: ParallelNetwork, optimizer: Any, stage: int = 1, offload: bool = False
) -> Any:
    """`optimizer`, made for the parameters of `network.model`, as Fleet runs it.

    Clipping takes the norm over the complete network; with a sharding degree, each process updates its shard of the
    parameters and sends it to the others.

    Args:
        network: a `ParallelNetwork`.
        stage, offload: checked by `check_sharding`.
    """
    strategy = network.strategy
    if strategy.processes == 1:
        return optimizer
    if stage == 3:
        if optimizer._grad_clip:
            optimizer._grad_clip = GlobalNormClip(optimizer._grad_clip.clip_norm, network)
        return optimizer
    if stage == 2:
        sharded, optimizer, _ = group_sharded_parallel(
            network.model, optimizer, "os_g", group=strategy.sharding_group, offload=offload
        )
        network.shard_gradients(sharded)
        return optimizer
    distributed: Any = fleet.distributed_optimizer(optimizer)
    # train_step has averaged the gradients already, since their norm is needed before the step
    distributed._dp_enable = distributed._sharding_enable = False
    return distributed


def parallel_scaler(scaler: Any, strategy: Strategy, stage: int = 1) -> Any:
    """A `paddle.amp.GradScaler` whose processes agree whether a gradient of any of them is not finite."""
    if strategy.processes == 1:
        return scaler
    return GroupShardedScaler(scaler) if stage == 2 else fleet.distributed_scaler(scaler)
