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
DEGREES = {"mp2": {"mp": 2}, "pp2": {"pp": 2}, "stage3": {"sharding": 2}}


@pytest.fixture(scope="module", params=DEGREES)
def measured(request, tmp_path_factory):
    """What both processes found under some degrees, all sizes one after another: (degrees, [of rank 0, of rank 1])."""
    degrees, folder = DEGREES[request.param], tmp_path_factory.mktemp(request.param)
    cases = [size | NO_DROPOUT | {"micro_batches": 4} for size in SIZES.values()]
    asked = {"degrees": degrees, "sharding_stage": 3 if "sharding" in degrees else 1, "cases": cases}
    (folder / "cases.json").write_text(json.dumps(asked))
    code, said = launch(WORKER, folder, 2)
    assert code == 0, said
    return degrees, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parallel
@pytest.mark.parametrize("size", SIZES)
def test_within_ten_percent(measured, size):
    degrees, processes = measured
    case = SIZES[size] | NO_DROPOUT
    fields = case.keys() - {"preset", "rows", "seq_len", "num_predictions"}
    config = ErnieConfig.preset(case["preset"], **{name: case[name] for name in fields})
    for rank, found in enumerate(processes):
        peak = found["peaks"][list(SIZES).index(size)]
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
        print(size, degrees, rank, f"{predicted.total / peak - 1:+.1%}", predicted, peak)
        assert predicted.total == pytest.approx(peak, rel=0.1)
