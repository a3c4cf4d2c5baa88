"""The memory formula for a CPU against the peak that Paddle's allocator counts in real steps, within 10 %."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.planner.memory_cpu import cpu_memory

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SMALL = {"preset": "tiny", "rows": 8, "seq_len": 128, "num_predictions": 152}
CASES = {
    "tiny": SMALL,
    "tiny, no dropout": SMALL | NO_DROPOUT,
    "more rows, more layers": SMALL
    | {"rows": 16, "num_predictions": 304, "num_hidden_layers": 6}
    | NO_DROPOUT,
    "long rows, many heads": SMALL | {"rows": 2, "seq_len": 512, "num_attention_heads": 8},
    "mostly attention": SMALL
    | {"num_attention_heads": 32, "vocab_size": 200, "num_predictions": 20}
    | NO_DROPOUT,
    "wide feed-forward": SMALL
    | {"intermediate_size": 1024, "vocab_size": 200, "num_predictions": 20}
    | NO_DROPOUT,
    "relu": SMALL | {"hidden_act": "relu", "vocab_size": 200, "num_predictions": 20},
    "recompute": SMALL | {"enable_recompute": True, "num_hidden_layers": 6} | NO_DROPOUT,
    "recompute, few words": SMALL
    | {"enable_recompute": True, "num_hidden_layers": 6, "vocab_size": 200, "num_predictions": 20}
    | NO_DROPOUT,
    "mostly weights": SMALL
    | {
        "rows": 2,
        "num_predictions": 20,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
    },
    "mini": {"preset": "ernie-3.0-mini-zh", "rows": 4, "seq_len": 128, "num_predictions": 77},
}


@pytest.fixture(scope="module")
def measured():
    """In a process of its own, where the allocator counts nothing of earlier tests."""
    program = Path(__file__).with_name("plan_measure.py")
    command = [sys.executable, program, json.dumps(list(CASES.values()))]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(CASES, json.loads(run.stdout.splitlines()[-1]), strict=True))


def predicted(preset, rows, seq_len, num_predictions, **fields):
    return cpu_memory(ErnieConfig.preset(preset, **fields), rows, seq_len, num_predictions)


@pytest.mark.parametrize("name", CASES)
def test_within_ten_percent(measured, name):
    assert predicted(**CASES[name]).total == pytest.approx(measured[name], rel=0.1)


def test_the_cases_are_diverse(measured):
    """Activations are a small part of the memory in some, and most of it in others."""
    shares = [predicted(**case).activations / measured[name] for name, case in CASES.items()]
    assert min(shares) < 0.25 and max(shares) > 0.8


def test_degrees_divide():
    config = ErnieConfig.preset("tiny", num_hidden_layers=4, num_attention_heads=8)
    one = cpu_memory(config, 8, 128, 152)
    two = cpu_memory(config, 8, 128, 152, mp_degree=2)
    assert one.weights / 2 < two.weights < 0.52 * one.weights
    assert one.activations / 2 < two.activations < 0.8 * one.activations
    stages = [cpu_memory(config, 8, 128, 152, pp_degree=2, stage=stage, micro_batches=4) for stage in (0, 1)]
    layers = 2 * 8 * 128 * 4 * (8 * 128 + 2 * 512 + 8 * 128)  # of one micro batch, without dropout masks
    assert stages[0].activations > 2 * layers, "the first stage keeps two micro batches"
    words = config.vocab_size * config.hidden_size * 4
    assert sum(stage.weights for stage in stages) == pytest.approx(one.weights + words, rel=1e-6), (
        "both stages hold the word embeddings"
    )
