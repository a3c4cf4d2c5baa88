"""Run by Paddle's launcher as `plan_measure_parallel.py FOLDER`: memory of real parallel steps, for the planner.

FOLDER/case.json holds {preset, rows, seq_len, num_predictions, micro_batches, degrees, sharding_stage, …fields of the
config}; each process writes the peak bytes of its third step, by Paddle's allocator, to FOLDER/RANK.json.
"""

import json
import sys
from pathlib import Path

import ernie_from_scratch as efs  # isort: skip
import paddle
from paddle.base import core
from plan_measure import random_batch

from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.parallel.network import Float32, ParallelNetwork
from ernie_from_scratch.parallel.processes import leave
from ernie_from_scratch.parallel.sharding import parallel_optimizer
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training.optimizer import build_optimizer


def measure(preset, rows, seq_len, num_predictions, micro_batches, degrees, sharding_stage, **fields):
    paddle.distributed.init_parallel_env()
    strategy = Strategy.start(**degrees)
    before = core.host_memory_stat_current_value("Allocated", 0)
    config = efs.ErnieConfig.preset(preset, **fields)
    model = efs.ErnieForPretraining(config)
    network = ParallelNetwork(model, strategy, MaskedLMWithPair(), sharding_stage)
    network.train()
    optimizer = parallel_optimizer(network, build_optimizer(network.model, 1e-4), sharding_stage)
    batch = random_batch(config, rows, seq_len, num_predictions) | {"attention_mask": None}
    batches = [batch] * micro_batches
    for _ in range(3):
        core.host_memory_stat_reset_peak_value("Allocated", 0)
        network.train_step(batches, range(micro_batches), Float32())
        optimizer.step()
        optimizer.clear_grad()
        peak = core.host_memory_stat_peak_value("Allocated", 0) - before
    return {"rank": paddle.distributed.get_rank(), "stage": strategy.pp_rank, "peak": peak}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = measure(**json.loads((folder / "case.json").read_text()))
    (folder / f"{found['rank']}.json").write_text(json.dumps(found))
    leave()
