"""Checks of degrees and batch sizes: errors before anything is built, with the values that would work."""

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.degrees import check_mp_degree, check_product, check_sharding_stage
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
def test_a_batch_that_is_not_divisible(batch, nearest):
    with pytest.raises(UserError, match=nearest):
        settings(micro_batch_size=8, global_batch_size=batch).check()


def test_rows_are_divided_by_dp_and_sharding():
    """global = micro x dp x sharding x accumulation: mp and pp processes read the same rows."""
    parallel = settings(micro_batch_size=4, dp_degree=2, sharding_degree=3, mp_degree=5, pp_degree=7)
    assert parallel.rows_per_pass == 24
    parallel.global_batch_size = 96
    assert parallel.accumulation == 4
    parallel.global_batch_size = 100
    with pytest.raises(UserError, match="nearest: 96 or 120"):
        parallel.check()


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
    """The product of the degrees must be the number of processes; dp_degree is derived if it is not given."""
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "4")
    checked = settings(micro_batch_size=3).check()
    assert (checked.dp_degree, checked.global_batch_size, checked.accumulation) == (4, 12, 1)
    assert settings(micro_batch_size=3, global_batch_size=24, dp_degree=4).check().accumulation == 2
    with pytest.raises(UserError, match="asks for 2 processes and there are 4; the product must be 4"):
        settings(dp_degree=2).check()
    assert settings(dp_degree=2).check(processes=2).dp_degree == 2
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "1")
    assert settings().check().dp_degree == 1


def test_a_product_that_fits_and_one_that_does_not():
    check_product((2, 3, 4, 5), 120, advice="")
    with pytest.raises(UserError, match="--pp_degree 1 asks for 1 GPU and there are 8; change one$"):
        check_product((1, 1, 1, 1), 8, "change one", unit="GPU")


def test_tensor_parallel_needs_divisible_heads_and_feed_forward():
    check_mp_degree(12, 3072, 6)
    for heads, inner in ((12, 3076), (10, 3072)):  # one of the two is not divisible by 3 or 8
        with pytest.raises(
            UserError, match=f"{heads} attention heads and intermediate_size {inner}; degrees"
        ):
            check_mp_degree(heads, inner, 3 if heads == 12 else 8)


@pytest.mark.parametrize(
    ("stage", "offload", "degrees", "message"),
    [
        (
            1,
            True,
            (1, 4, 1, 1),
            "with --offload: optimizer state can be kept in host memory with --sharding_stage 2",
        ),
        (2, False, (1, 1, 1, 1), "--sharding_stage 2 needs a --sharding_degree above 1"),
        (2, True, (2, 2, 1, 1), "--sharding_stage 2 with --offload takes all processes as sharding_degree"),
        (3, False, (1, 2, 1, 2), "--sharding_stage 3 works with dp_degree and sharding_degree only"),
    ],
)
def test_sharding_stages_with_the_wrong_degrees(stage, offload, degrees, message):
    with pytest.raises(UserError, match=message):
        check_sharding_stage(stage, offload, degrees, on_cpu=False)


def test_sharding_stages_on_gpus_and_on_a_cpu():
    for stage, offload, degrees in (
        (1, False, (2, 2, 2, 2)),
        (2, True, (1, 4, 1, 1)),
        (3, False, (2, 2, 1, 1)),
    ):
        check_sharding_stage(stage, offload, degrees, on_cpu=False)
    check_sharding_stage(3, False, (2, 2, 1, 1), on_cpu=True)
    with pytest.raises(UserError, match="on GPUs only; on a CPU use --sharding_stage 1 or 3"):
        check_sharding_stage(2, False, (1, 4, 1, 1), on_cpu=True)
