"""tools/compare_runs.py: equal runs are identical whatever their speed; one bit more or less is a difference."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import paddle
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "compare_runs.py"
ROWS = [
    {"step": 10, "loss": 2.5, "sop_loss": 0.7, "tokens_per_second": 900.0, "mfu": 0.2},
    {"step": 10, "eval": "valid", "loss": 2.25},
]
WEIGHTS = {"b.weight": np.ones([2, 3], "float32"), "a.bias": np.zeros([3], "float32")}


def write_run(folder, rows=ROWS, weights=WEIGHTS):
    (folder / "model_10").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tensors = {name: paddle.to_tensor(value) for name, value in weights.items()}
    paddle.save(tensors, str(folder / "model_10" / "model_state.pdparams"))
    (folder / "model_last").symlink_to("model_10")
    return folder


@pytest.fixture
def compare(capsys):
    """Exit code and output of the script for these arguments."""
    spec = importlib.util.spec_from_file_location("compare_runs", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments):
        code = script.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_identical_but_for_the_speed_and_the_order_of_tensors(tmp_path, compare):
    before = write_run(tmp_path / "before")
    rows = [ROWS[0] | {"tokens_per_second": 1.0, "mfu": 0.5}, ROWS[1]]
    after = write_run(tmp_path / "after", rows, dict(reversed(WEIGHTS.items())))
    code, out = compare(before, after)
    assert code == 0 and out.endswith("identical\n")
    assert "model_10/model_state.pdparams: 2 tensors" in out and "model_last" not in out


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([ROWS[0] | {"loss": 2.5000002}, ROWS[1]], "metrics.jsonl: step 10: loss 2.5 and 2.5000002"),
        ([ROWS[0], ROWS[1] | {"loss": None}], "metrics.jsonl: step 10, valid: loss 2.25 and None"),
        (ROWS[:1], "metrics.jsonl: 2 rows and 1 rows"),
    ],
)
def test_different_metrics(tmp_path, compare, rows, line):
    code, out = compare(write_run(tmp_path / "before"), write_run(tmp_path / "after", rows))
    assert code == 1 and line in out.splitlines()


def test_different_weights(tmp_path, compare):
    changed = WEIGHTS | {"b.weight": np.nextafter(WEIGHTS["b.weight"], np.float32(2)), "c": np.zeros([1])}
    after = write_run(tmp_path / "after", weights=changed)
    code, out = compare(write_run(tmp_path / "before"), after)
    assert code == 1
    assert "b.weight: largest difference 1.19e-07" in out and "c is only in one run" in out
    assert "a.bias" not in out


def test_a_missing_checkpoint_is_a_difference(tmp_path, compare):
    before, after = write_run(tmp_path / "before"), write_run(tmp_path / "after")
    (after / "model_10" / "model_state.pdparams").unlink()
    code, out = compare(before, after)
    assert code == 1 and "model_10/model_state.pdparams is only in one run" in out


def test_a_renamed_metric(tmp_path, compare):
    renamed = [
        {("pair_loss" if name == "sop_loss" else name): value for name, value in ROWS[0].items()},
        ROWS[1],
    ]
    before, after = write_run(tmp_path / "before"), write_run(tmp_path / "after", renamed)
    assert compare(before, after)[0] == 1
    assert compare(before, after, "--rename", "sop_loss=pair_loss")[0] == 0


def test_a_folder_that_is_no_run(tmp_path, compare):
    code, out = compare(write_run(tmp_path / "before"), tmp_path)
    assert code == 2 and "has no metrics.jsonl" in out
