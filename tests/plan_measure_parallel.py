"""Run by Paddle's launcher as `plan_measure_parallel.py FOLDER`: memory of real parallel steps, for the planner.

FOLDER/cases.json holds {degrees, sharding_stage, cases}, and each case {preset, rows, seq_len, num_predictions,
micro_batches, …fields of the config}; each process writes its stage and the peak bytes of the third step of each case,
by Paddle's allocator, to FOLDER/RANK.json.
"""

import gc
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


def measure(strategy, sharding_stage, preset, rows, seq_len, num_predictions, micro_batches, **fields):
    gc.collect()
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
    return peak


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "cases.json").read_text())
    paddle.distributed.init_parallel_env()
    started = Strategy.start(**asked["degrees"])
    peaks = [measure(started, asked["sharding_stage"], **case) for case in asked["cases"]]
    found = {"stage": started.pp_rank, "peaks": peaks}
    (folder / f"{paddle.distributed.get_rank()}.json").write_text(json.dumps(found))
    leave()
