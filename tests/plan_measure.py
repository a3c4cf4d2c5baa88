"""Run as a program: the memory of real training steps on a CPU, for test_plan_memory_cpu.py.

Takes a JSON list of cases {preset, rows, seq_len, num_predictions, …fields of the config}; prints a JSON list of bytes:
the peak of the third step by Paddle's allocator, which counts every tensor, and numpy's dropout masks after forward.
"""

import gc
import json
import sys
import tracemalloc

import ernie_from_scratch as efs  # isort: skip
import numpy as np
import paddle
from paddle.base import core

from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.training.optimizer import build_optimizer


def allocated():
    return core.host_memory_stat_current_value("Allocated", 0)


def random_batch(config, rows, seq_len, num_predictions):
    rng = np.random.default_rng(1)
    return {
        "input_ids": rng.integers(1, config.vocab_size, (rows, seq_len)),  # [B, L]
        "token_type_ids": np.zeros((rows, seq_len), "int64"),  # [B, L]
        "masked_positions": np.sort(rng.choice(rows * seq_len, num_predictions, replace=False)),  # [M]
        "masked_lm_labels": rng.integers(0, config.vocab_size, num_predictions),  # [M]
        "next_sentence_label": np.zeros(rows, "int64"),  # [B]
    }


def measure(preset, rows, seq_len, num_predictions, **fields):
    gc.collect()
    before = allocated()
    config = efs.ErnieConfig.preset(preset, **fields)
    model = efs.ErnieForPretraining(config)
    model.train()
    optimizer = build_optimizer(model, 1e-4)
    batch = random_batch(config, rows, seq_len, num_predictions)
    for _ in range(3):
        core.host_memory_stat_reset_peak_value("Allocated", 0)
        tracemalloc.start()
        tensors = {key: paddle.to_tensor(value) for key, value in batch.items()} | {"attention_mask": None}
        total = MaskedLMWithPair()(model, tensors).total  # as in training, the logits are not held
        dropout_masks = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        total.backward()
        del total, tensors
        optimizer.step()
        optimizer.clear_grad()
        peak = core.host_memory_stat_peak_value("Allocated", 0) - before
    return peak + (dropout_masks if config.hidden_dropout_prob and not config.enable_recompute else 0)


if __name__ == "__main__":
    print(json.dumps([measure(**case) for case in json.loads(sys.argv[1])]))
