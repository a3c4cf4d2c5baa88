"""Batch and process arithmetic: refused before anything is built, with the numbers that would work."""

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.settings import PretrainSettings


def settings(**changes):
    return PretrainSettings(**{"input_dir": "i", "output_dir": "o", "config_name": "tiny", **changes})


def test_accumulation_fills_the_global_batch():
    checked = settings(micro_batch_size=8, global_batch_size=64).check()
    assert (checked.accumulation, checked.rows_per_pass) == (8, 8)
    assert settings(micro_batch_size=8).check().global_batch_size == 8


@pytest.mark.parametrize(
    ("batch", "nearest"), [(6, "nearest: 8$"), (20, "nearest: 16 or 24$"), (23, "nearest: 16 or 24$")]
)
def test_a_batch_that_does_not_divide(batch, nearest):
    with pytest.raises(UserError, match=nearest):
        settings(micro_batch_size=8, global_batch_size=batch).check()


def test_the_degrees_share_out_the_rows():
    """global = micro x dp x sharding x accumulation: mp and pp processes see the same rows."""
    spread = settings(micro_batch_size=4, dp_degree=2, sharding_degree=3, mp_degree=5, pp_degree=7)
    assert spread.rows_per_pass == 24
    spread.global_batch_size = 96
    assert spread.accumulation == 4
    spread.global_batch_size = 100
    with pytest.raises(UserError, match="nearest: 96 or 120"):
        spread.check()


@pytest.mark.parametrize("name", ["dp_degree", "sharding_degree", "mp_degree", "pp_degree"])
def test_a_degree_without_processes(name):
    with pytest.raises(
        UserError, match=f"--{name} 2 .*asks for 2 processes and there is 1; start 2 with --gpus 0,1"
    ):
        settings(**{name: 2}, global_batch_size=32).check()
    with pytest.raises(UserError, match=f"--{name} is 0"):
        settings(**{name: 0}).check()


def test_an_interleaved_pipeline_needs_stages_and_micro_batches():
    pipeline = dict(virtual_pp_degree=2, micro_batch_size=4)
    with pytest.raises(UserError, match="--virtual_pp_degree 2: --pp_degree is 2, and must be 3 or more"):
        settings(**pipeline, pp_degree=2, global_batch_size=64).check(2)
    with pytest.raises(
        UserError, match="5 micro batches a step, .* needs 6 .*raise --global_batch_size to 48"
    ):
        settings(**pipeline, pp_degree=3, dp_degree=2, global_batch_size=40).check(6)
    assert settings(**pipeline, pp_degree=3, dp_degree=2, global_batch_size=48).check(6).accumulation == 6
    with pytest.raises(UserError, match="--virtual_pp_degree is 0"):
        settings(virtual_pp_degree=0).check()


def test_use_sharding_and_its_degree():
    assert settings(use_sharding=True).check() and settings(use_sharding=False).check()
    with pytest.raises(UserError, match="contradict"):
        settings(use_sharding=False, sharding_degree=2).check()


def test_started_by_the_launcher(monkeypatch):
    """The degrees must make up the processes that there are; left open, dp_degree fills up."""
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "4")
    checked = settings(micro_batch_size=3).check()
    assert (checked.dp_degree, checked.global_batch_size, checked.accumulation) == (4, 12, 1)
    assert settings(micro_batch_size=3, global_batch_size=24, dp_degree=4).check().accumulation == 2
    with pytest.raises(UserError, match="asks for 2 processes and there are 4; the product must be 4"):
        settings(dp_degree=2).check()
    assert settings(dp_degree=2).check(processes=2).dp_degree == 2
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "1")
    assert settings().check().dp_degree == 1
