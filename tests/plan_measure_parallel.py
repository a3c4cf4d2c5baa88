"""Run by Paddle's launcher as `plan_measure_parallel.py FOLDER`: memory of real parallel steps, for the planner.

FOLDER/case.json holds {preset, rows, seq_len, asked, micro_batches, degrees, …fields of the config}; each process
writes the bytes of its peak in the third step, by Paddle's allocator, to FOLDER/RANK.json.
"""

import contextlib
import json
import sys
from pathlib import Path

import ernie_from_scratch as efs  # isort: skip
import numpy as np
import paddle
from paddle.base import core

from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.sharding import parallel_optimizer
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training.objectives import pretraining_losses
from ernie_from_scratch.training.optimizer import build_optimizer


class Float32:
    def autocast(self):
        return contextlib.nullcontext()

    def scale(self, loss):
        return loss


def batch(config, rows, seq_len, asked):
    rng = np.random.default_rng(1)
    return {
        "input_ids": rng.integers(1, config.vocab_size, (rows, seq_len)),  # [B, L]
        "token_type_ids": np.zeros((rows, seq_len), "int64"),  # [B, L]
        "attention_mask": None,
        "masked_positions": np.sort(rng.choice(rows * seq_len, asked, replace=False)),  # [M]
        "masked_lm_labels": rng.integers(0, config.vocab_size, asked),  # [M]
        "next_sentence_label": np.zeros(rows, "int64"),  # [B]
    }


def measure(preset, rows, seq_len, asked, micro_batches, degrees, **fields):
    paddle.distributed.init_parallel_env()
    strategy = Strategy.start(**degrees)
    before = core.host_memory_stat_current_value("Allocated", 0)
    config = efs.ErnieConfig.preset(preset, **fields)
    network = ParallelNetwork(efs.ErnieForPretraining(config), strategy, pretraining_losses)
    network.train()
    optimizer = parallel_optimizer(network, build_optimizer(network.model, 1e-4))
    batches = [batch(config, rows, seq_len, asked)] * micro_batches
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
