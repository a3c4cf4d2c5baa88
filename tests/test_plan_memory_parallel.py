"""CPU memory under tensor and pipeline parallel and sharding stage 3: formula and real 2-process steps, within 10 %."""

import json
from pathlib import Path

import pytest
from parallel_helpers import launch

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.planner.memory_cpu import cpu_memory

WORKER = Path(__file__).with_name("plan_measure_parallel.py")
SIZES = {
    "small": {"preset": "tiny", "rows": 8, "seq_len": 128, "num_predictions": 152, "num_hidden_layers": 4},
    "wide": {
        "preset": "tiny",
        "rows": 2,
        "seq_len": 64,
        "num_predictions": 19,
        "hidden_size": 256,
        "intermediate_size": 1024,
    },
    "long": {"preset": "tiny", "rows": 2, "seq_len": 512, "num_predictions": 150, "num_attention_heads": 8},
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.mark.parallel
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("degrees", [{"mp": 2}, {"pp": 2}, {"sharding": 2}], ids=["mp2", "pp2", "stage3"])
def test_within_ten_percent(size, degrees, tmp_path):
    case = SIZES[size] | NO_DROPOUT | {"micro_batches": 4, "degrees": degrees}
    case["sharding_stage"] = 3 if "sharding" in degrees else 1
    (tmp_path / "case.json").write_text(json.dumps(case))
    code, said = launch(WORKER, tmp_path, 2)
    assert code == 0, said
    fields = {
        name: case[name]
        for name in case.keys()
        - {"preset", "rows", "seq_len", "num_predictions", "micro_batches", "degrees", "sharding_stage"}
    }
    config = ErnieConfig.preset(case["preset"], **fields)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        predicted = cpu_memory(
            config,
            case["rows"],
            case["seq_len"],
            case["num_predictions"],
            mp_degree=degrees.get("mp", 1),
            pp_degree=degrees.get("pp", 1),
            stage=found["stage"],
            micro_batches=4,
            sharding_degree=degrees.get("sharding", 1),
        )
        print(size, degrees, rank, f"{predicted.total / found['peak'] - 1:+.1%}", predicted, found["peak"])
        assert predicted.total == pytest.approx(found["peak"], rel=0.1)
