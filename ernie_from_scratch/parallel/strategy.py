"""Degrees of data, sharded, tensor and pipeline parallel, and where this process stands among them.

Fleet numbers the processes with the tensor parallel rank running fastest, then sharding, pipeline, data: processes
that communicate most are neighbours, on one machine (Narayanan et al. 2021, section 3).
"""

from dataclasses import dataclass
from typing import Any

import paddle
import paddle.distributed as dist
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import model_parallel_random_seed

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel import gloo
from ernie_from_scratch.parallel.degrees import check_product


@dataclass(frozen=True)
class Strategy:
    """The degrees of a run and this process's coordinates; the plain `Strategy()` is a run in one process.

    Attributes:
        dp, sharding, mp, pp: degrees. Processes that differ in dp or sharding read different rows; those that
            differ in mp hold parts of the same layers, those that differ in pp different layers.
        virtual_pp: chunks of layers that each stage of a pipeline holds (Narayanan et al. 2021, section 2.2).
        dp_rank, sharding_rank, mp_rank, pp_rank: this process along each.
        dp_group, sharding_group, mp_group, pp_group: the processes that differ from this one along one axis only;
            None where the degree is 1.
    """

    dp: int = 1
    sharding: int = 1
    mp: int = 1
    pp: int = 1
    dp_rank: int = 0
    sharding_rank: int = 0
    mp_rank: int = 0
    pp_rank: int = 0
    dp_group: Any = None
    sharding_group: Any = None
    mp_group: Any = None
    pp_group: Any = None
    virtual_pp: int = 1

    @classmethod
    def start(
        cls,
        dp: int = 1,
        sharding: int = 1,
        mp: int = 1,
        pp: int = 1,
        virtual_pp: int = 1,
        overlap: bool = False,
    ) -> "Strategy":
        """Start Fleet on the processes that Paddle's launcher has started; one process needs no Fleet.

        Args:
            overlap: tensor parallel exchanges gradients of activations while it computes those of weights; on
                GPUs, where the environment has CUDA_DEVICE_MAX_CONNECTIONS=1. No test runs it.

        Raises:
            UserError: the product of the degrees is not the number of processes, or `overlap` on a CPU.
        """
        product = dp * sharding * mp * pp
        advice = f"start {product}, or change a degree"
        check_product((dp, sharding, mp, pp), dist.get_world_size(), advice)
        on_cpu = paddle.get_device() == "cpu"
        if overlap and on_cpu:
            raise UserError("overlap: Paddle exchanges beside computing on GPUs only; leave it out on a CPU")
        if product == 1:
            return cls()
        gloo.install()
        fleet.init(
            is_collective=True,
            strategy=fleet_strategy(dp, sharding, mp, pp, virtual_pp, overlap, on_cpu),
            log_level="ERROR",
        )
        hybrid = fleet.get_hybrid_communicate_group()
        state = paddle.get_rng_state()
        model_parallel_random_seed(1)  # Fleet's layers draw initial weights, which are then replaced
        paddle.set_rng_state(state)
        return cls(
            dp,
            sharding,
            mp,
            pp,
            hybrid.get_data_parallel_rank(),
            hybrid.get_sharding_parallel_rank(),
            hybrid.get_model_parallel_rank(),
            hybrid.get_stage_id(),
            hybrid.get_data_parallel_group() if dp > 1 else None,
            hybrid.get_sharding_parallel_group() if sharding > 1 else None,
            hybrid.get_model_parallel_group() if mp > 1 else None,
            hybrid.get_pipe_parallel_group() if pp > 1 else None,
            virtual_pp,
        )

    @property
    def processes(self) -> int:
        return self.dp * self.sharding * self.mp * self.pp

    @property
    def data_world(self) -> int:
        """Number of micro batches read at a time: the processes that read the same one hold one copy of the network."""
        return self.dp * self.sharding

    @property
    def data_rank(self) -> int:
        """Which of these micro batches this process reads."""
        return self.dp_rank * self.sharding + self.sharding_rank

    @property
    def first_stage(self) -> bool:
        return self.pp_rank == 0

    @property
    def last_stage(self) -> bool:
        return self.pp_rank == self.pp - 1


def fleet_strategy(
    dp: int, sharding: int, mp: int, pp: int, virtual_pp: int, overlap: bool, on_cpu: bool
) -> fleet.DistributedStrategy:
    """Fleet's configuration."""
    strategy = fleet.DistributedStrategy()
    strategy.hybrid_configs = {
        "dp_degree": dp,
        "sharding_degree": sharding,
        "mp_degree": mp,
        "pp_degree": pp,
    }
    # the processes of one copy read the same rows from the loader: no need to broadcast them
    mp_configs: Any = strategy.hybrid_configs["mp_configs"]  # pyright: ignore
    mp_configs.need_broadcast_data = False
    mp_configs.mp_async_allreduce = overlap
    strategy.pipeline_configs = {
        # `Pipeline` sets it for each step; an interleaved pipeline does not start with less than this
        "accumulate_steps": 2 * pp if virtual_pp > 1 else 1,
        "micro_batch_size": 1,  # not used: Fleet does not divide batches here
        # with tensor parallel each process sends a slice to the next stage, which gathers them: not supported by Gloo
        "enable_partial_send_recv": not on_cpu,
    }
    return strategy
