"""Fine-tuning under any degrees, and with accumulation, is the fine-tuning of one process."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from deployment_helpers import figures_of, run_settings, weights_of, write_model, write_reviews
from process_helpers import HANG_SECONDS, start, wait_until

from ernie_from_scratch.finetuning.finetune import CHECKPOINTS, finetune, read_results
from ernie_from_scratch.training.checkpoint import step_folders

CLOSE = 1e-5


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A model without dropout, and 120 examples: steps of 16 rows, the last one of an epoch has 8."""
    folder = tmp_path_factory.mktemp("task")
    dropout = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    write_model(folder / "pretrained", initializer_range=0.1, **dropout)
    for name, count, seed in (("train", 120, 1), ("dev", 30, 2)):
        write_reviews(folder / f"{name}.tsv", count, seed)
    return folder


def settings_of(task, folder, **changes):
    values = dict(global_batch_size=16, learning_rate=3e-3, num_train_epochs=4, logging_steps=1, device="cpu")
    return run_settings(task, folder, **{**values, **changes})


@pytest.fixture(scope="module")
def single(task, tmp_path_factory):
    """(folder, results) of the run in one process without accumulation."""
    folder = tmp_path_factory.mktemp("single") / "run"
    results = finetune(settings_of(task, folder, batch_size=16), quiet=True)
    losses = [row["loss"] for row in figures_of(folder) if "eval" not in row]
    assert len(losses) == 32 and losses[-1] < 0.5 * losses[0]  # otherwise equal runs would say little
    return folder, results


def assert_same_training(folder, results, single):
    expected_folder, expected = single
    for row, there in zip(figures_of(folder), figures_of(expected_folder), strict=True):
        assert list(row) == list(there)
        for name, value in row.items():
            assert value == pytest.approx(there[name], abs=CLOSE), (name, row, there)
    assert results["best_epoch"] == expected["best_epoch"]
    for scores, there in zip(results["epochs"], expected["epochs"], strict=True):
        assert scores == pytest.approx(there, abs=CLOSE)
    found, weights = weights_of(folder), weights_of(expected_folder)
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        if name.endswith("k_proj.bias"):
            continue  # their gradient is zero but for rounding, of which AdamW makes whole steps
        np.testing.assert_allclose(found[name], value, atol=CLOSE, err_msg=name)


@pytest.mark.parametrize("micro_batch_size", [8, 2])
def test_accumulation(task, single, tmp_path, micro_batch_size):
    """The last step of an epoch leaves half of the micro batches without a row."""
    chosen = settings_of(task, tmp_path / "run", batch_size=micro_batch_size)
    results = finetune(chosen, quiet=True)
    assert chosen.accumulation == 16 // micro_batch_size
    assert_same_training(tmp_path / "run", results, single)


def start_two(settings):
    """`ernie finetune` with these settings in two processes."""
    file = Path(settings.output_dir).with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings.to_dict()), encoding="utf-8")
    command = [sys.executable, "-m", "ernie_from_scratch", "finetune", "--config", str(file), "--nproc", "2"]
    return start(command, stdout=subprocess.PIPE)


def stop_after(process, folder, step):
    """SIGTERM once there is a checkpoint of `step`."""
    wait_until(lambda: any(done >= step for done, _ in step_folders(folder / CHECKPOINTS)), process)
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 130 and "the same command resumes" in log and "error" not in log, log
    assert not (folder / "results.json").exists()


@pytest.mark.parallel
@pytest.mark.parametrize(
    "first, second",
    [
        (dict(dp_degree=2), dict(mp_degree=2)),
        (dict(pp_degree=2), dict(sharding_degree=2)),
    ],
    ids=["dp2 then mp2", "pp2 then sharding2"],
)
def test_begun_under_some_degrees_and_resumed_under_others(task, single, tmp_path, first, second):
    """Each in two processes, with evaluations under both."""
    folder, values = tmp_path / "run", dict(batch_size=4, checkpoint_steps=1)
    stop_after(start_two(settings_of(task, folder, **values, **first)), folder, 9)
    stopped = [row["step"] for row in figures_of(folder) if "eval" in row]
    assert 1 <= len(stopped) < 4
    process = start_two(settings_of(task, folder, **values, **second))
    output, log = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0 and "resuming" in log and "best epoch" in output, log
    assert_same_training(folder, read_results(folder), single)
