"""`ernie pretrain` in several processes: the result of one, the same after any kill, and one line when one dies."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import process_helpers
import psutil
import pytest
import slow_ernie
import yaml
from process_helpers import HANG_SECONDS, wait_until
from small_corpus import make_corpus, run_settings
from test_trainer import outcome

from ernie_from_scratch.parallel.launch import SCRIPT
from ernie_from_scratch.training.checkpoint import step_folders
from ernie_from_scratch.training.metrics import read_metrics

LAUNCHER = [sys.executable, "-m", "paddle.distributed.launch"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def command(settings, *more, script=SCRIPT):
    """`ernie pretrain` with these settings."""
    file = Path(settings.output_dir).with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings.to_dict()))
    return [sys.executable, str(script), "pretrain", "--config", str(file), *more]


def start(settings, *more):
    return process_helpers.start(command(settings, *more, script=slow_ernie.SCRIPT))


def finish(settings, *more):
    done = subprocess.run(command(settings, *more), capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def two(corpus, tmp_path_factory):
    """An uninterrupted run in two processes, each with accumulation: 4 micro batches of 4 rows a step."""
    folder = tmp_path_factory.mktemp("two") / "run"
    log = finish(run_settings(corpus, folder, global_batch_size=16, device="cpu"), "--nproc", "2")
    assert "global step 12, loss" in log and "FLAGS" not in log
    return folder


def losses(folder):
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "eval" not in row]


def weights(folder):
    return paddle.load(str(folder / "final" / "model_state.pdparams"))


def assert_same_training(folder, other):
    """Losses and final weights differ by rounding only."""
    assert losses(folder) == pytest.approx(losses(other), rel=1e-6)
    one, another = weights(folder), weights(other)
    for name in one:
        assert np.abs(one[name].numpy() - another[name].numpy()).max() < 1e-5, name


def test_two_processes_train_like_one(corpus, two, tmp_path):
    """Dropout included: its masks belong to the micro batch, not to the process."""
    finish(run_settings(corpus, tmp_path / "run", global_batch_size=16))
    assert_same_training(two, tmp_path / "run")
    row = read_metrics(two / "metrics.jsonl")[-3]
    assert row["tokens"] == read_metrics(tmp_path / "run" / "metrics.jsonl")[-3]["tokens"] and row["mfu"] > 0


def test_resumed_in_another_number_of_processes(corpus, two, tmp_path):
    settings = run_settings(corpus, tmp_path / "run", global_batch_size=16, checkpoint_steps=2)
    stop_after(start(settings, "--nproc", "2"), tmp_path / "run", 2)
    assert "resuming" in finish(settings)
    assert_same_training(two, tmp_path / "run")


@pytest.mark.parametrize(
    "degrees",
    [{"mp_degree": 2}, {"pp_degree": 2}, {"sharding_degree": 2}, {"sharding_degree": 2, "sharding_stage": 3}],
)
def test_any_degrees_train_like_one_process(corpus, two, tmp_path, degrees):
    """Evaluation, `final/` and metrics included; files are complete."""
    finish(run_settings(corpus, tmp_path / "run", global_batch_size=16, **degrees), "--nproc", "2")
    assert_same_training(two, tmp_path / "run")
    rows = zip(*(read_metrics(folder / "metrics.jsonl") for folder in (two, tmp_path / "run")), strict=True)
    for there, here in rows:
        assert there.keys() == here.keys() and there.get("tokens") == here.get("tokens")
        if "eval" in there:
            assert here["perplexity"] == pytest.approx(there["perplexity"], rel=1e-5)


def test_resumed_under_other_degrees(corpus, two, tmp_path):
    """Begun under tensor parallel, resumed as a pipeline, ended in one process."""
    values = dict(global_batch_size=16, checkpoint_steps=2)
    for step, degrees in ((2, {"mp_degree": 2}), (6, {"pp_degree": 2})):
        process = start(run_settings(corpus, tmp_path / "run", **values, **degrees), "--nproc", "2")
        stop_after(process, tmp_path / "run", step)
    assert "resuming" in finish(run_settings(corpus, tmp_path / "run", **values))
    assert_same_training(two, tmp_path / "run")


@pytest.mark.parallel_all
def test_resumed_with_sharded_layers_and_interleaved(corpus, tmp_path):
    """Begun with a shard of each layer in each process, resumed as an interleaved pipeline, ended in one process."""
    deep = json.loads((corpus.parent / "config.json").read_text()) | {"num_hidden_layers": 6}
    config = tmp_path / "deep.json"
    config.write_text(json.dumps(deep | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    values = dict(global_batch_size=24, micro_batch_size=4, checkpoint_steps=2, ernie_config_file=str(config))
    finish(run_settings(corpus, tmp_path / "plain", **values))
    shared = run_settings(corpus, tmp_path / "run", **values, sharding_degree=2, sharding_stage=3)
    stop_after(start(shared, "--nproc", "2"), tmp_path / "run", 2)
    interleaved = run_settings(corpus, tmp_path / "run", **values, pp_degree=3, virtual_pp_degree=2)
    stop_after(start(interleaved, "--nproc", "3"), tmp_path / "run", 6)
    assert "resuming" in finish(run_settings(corpus, tmp_path / "run", **values))
    assert_same_training(tmp_path / "plain", tmp_path / "run")


@pytest.mark.parallel_all
def test_published_degrees_in_eight_processes(corpus, two, tmp_path):
    """--num_mp=2 --num_sharding=2 --num_pp=2 --num_dp=1, and back to one process in the middle."""
    values = dict(global_batch_size=16, checkpoint_steps=2, use_sharding=True)
    degrees = dict(mp_degree=2, sharding_degree=2, pp_degree=2, dp_degree=1)
    stop_after(
        start(run_settings(corpus, tmp_path / "run", **values, **degrees), "--nproc", "8"),
        tmp_path / "run",
        4,
    )
    finish(run_settings(corpus, tmp_path / "run", **values))
    assert_same_training(two, tmp_path / "run")


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ({"mp_degree": 2, "to_static": True}, "--to_static: works with dp_degree only"),
        ({"mp_degree": 3}, "--mp_degree 3 does not divide 2 attention heads"),
    ],
)
def test_degrees_that_cannot_work(corpus, tmp_path, degrees, message):
    """Noticed before the processes start, or in them; test_dry_run.py has the other errors that only they notice."""
    processes = max(value for name, value in degrees.items() if name.endswith("degree"))
    line = command(
        run_settings(corpus, tmp_path / "run", global_batch_size=8, **degrees), "--nproc", str(processes)
    )
    done = subprocess.run(line, capture_output=True, text=True, timeout=HANG_SECONDS)
    errors = [text for text in done.stderr.splitlines() if text.startswith("error: ") and message in text]
    assert done.returncode == 2 and errors, done.stderr


def stop_after(process, folder, step):
    """SIGTERM once there is a checkpoint of `step`; the log must tell how to resume, and the exit code is 0."""
    wait_until(lambda: any(done >= step for done, _ in step_folders(folder)), process)
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 0 and "the same command resumes" in log, log
    assert not (folder / "final").exists()


def test_killed_anywhere_changes_nothing(corpus, two, tmp_path):
    """SIGKILL to each training process and to the one that the user started, and the same command again."""
    settings = run_settings(corpus, tmp_path / "run", global_batch_size=16, checkpoint_steps=1, keep=3)
    chance = random.Random(2)
    for kills, victim in enumerate(["first", "second", "parent"]):
        process = start(settings, "--nproc", "2")
        past = 3 * kills
        wait_until(lambda: any(step > past for step, _ in step_folders(tmp_path / "run")), process)  # noqa: B023
        time.sleep(chance.random() * 0.2)
        family = psutil.Process(process.pid).children(recursive=True)
        if victim == "parent":
            process.kill()
        else:
            trainers = [
                p
                for p in family
                if str(slow_ernie.SCRIPT) in p.cmdline() and "paddle.distributed.launch" not in p.cmdline()
            ]
            trainers[victim == "second"].kill()
        process.wait(HANG_SECONDS)
        psutil.wait_procs(family, HANG_SECONDS)
        assert not any(p.is_running() for p in family)
    finish(settings, "--nproc", "2")
    assert outcome(tmp_path / "run") == outcome(two)


def test_a_killed_process_ends_all_with_one_line(corpus, tmp_path):
    process = start(run_settings(corpus, tmp_path / "run", max_steps=10_000, logging_freq=1), "--nproc", "2")
    wait_until((tmp_path / "run" / "model_4").exists, process)
    family = psutil.Process(process.pid).children(recursive=True)
    victim = next(
        p
        for p in family
        if p.environ().get("PADDLE_TRAINER_ID") == "1" and str(slow_ernie.SCRIPT) in p.cmdline()
    )
    victim.kill()
    log = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 2
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "process 1 of this machine" in errors[0] and "SIGKILL" in errors[0]
    assert "workerlog.1" in errors[0] and not any(p.is_running() for p in family)


def test_a_dead_data_worker_ends_all_with_one_line(corpus, tmp_path):
    """The thread that makes batches fails in the second process."""
    script = tmp_path / "failing.py"
    script.write_text(
        "import os, sys\n"
        "from ernie_from_scratch.dataset.pretraining_data import PretrainingSplit as Split\n"
        "from ernie_from_scratch.commands.main import main\n"
        "real = Split.batch\n"
        "def batch(self, numbers):\n"
        "    if numbers[0] > 30 and os.environ['PADDLE_TRAINER_ID'] == '1':\n"
        "        raise OSError('the disk went away')\n"
        "    return real(self, numbers)\n"
        "Split.batch = batch\n"
        "sys.exit(main())\n"
    )
    starter = (
        "import sys\nfrom ernie_from_scratch.parallel import launch\n"
        "from ernie_from_scratch.commands.main import main\n"
        f"launch.SCRIPT = {str(script)!r}\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    settings = run_settings(corpus, tmp_path / "run", max_steps=10_000)
    done = subprocess.run(
        [sys.executable, "-c", starter, *command(settings, "--nproc", "2")[2:]],
        capture_output=True, text=True, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "process 1" in errors[0] and "the disk went away" in errors[0]


def test_under_the_launcher(corpus, two, tmp_path):
    """As published: `python -m paddle.distributed.launch --gpus "0,1" --log_dir L`, here on CPU processes."""
    settings = run_settings(corpus, tmp_path / "run", global_batch_size=16, device="cpu")
    line = [*LAUNCHER, "--nproc_per_node", "2", "--log_dir", str(tmp_path / "L"), *command(settings)[1:]]
    done = subprocess.run(line, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome(tmp_path / "run") == outcome(two)
    assert (tmp_path / "L" / "workerlog.1").exists()


def test_a_second_run_in_the_same_folder(corpus, tmp_path, monkeypatch, capsys):
    import ernie_from_scratch.training.run_folder as run_folder
    from ernie_from_scratch.config import UserError
    from ernie_from_scratch.training.pretrain import pretrain

    monkeypatch.setattr(run_folder, "WAIT_SECONDS", 1)
    settings = run_settings(corpus, tmp_path / "run")
    with run_folder.locked_run_folder(run_folder.make_run_folder(settings)):
        with pytest.raises(UserError, match=f"process {os.getpid()} trains in .*another --output_dir"):
            pretrain(settings)
    assert "waiting up to 1 s" in capsys.readouterr().err
    assert pretrain(settings, quiet=True).finished


def test_visualdl_curves_are_those_of_metrics_jsonl(two):
    from visualdl import LogReader

    file = next((two / "visualdl").glob("vdlrecords*.log"))
    points = LogReader(file_path=str(file)).get_data("scalar", "train/loss")
    rows = [row for row in read_metrics(two / "metrics.jsonl") if "eval" not in row]
    assert [point.id for point in points] == [row["step"] for row in rows]
    assert [point.value for point in points] == pytest.approx([row["loss"] for row in rows], rel=1e-6)
    assert json.loads((two / "environment.json").read_text())["processes"] == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nproc", "0"], "--nproc is 0"),
        (["--nproc", "2", "--gpus", "0"], "contradict"),
        (["--gpus", "a,b"], "give numbers"),
        (["--nnodes", "2", "--nproc", "1"], "--master HOST:PORT"),
        (["--gpus", "0,1"], "no GPU support; use --device cpu"),
        (["--nproc", "3", "--dp_degree", "2"], "asks for 2 processes and there are 3"),
        (["--nproc", "3"], "global_batch_size 8 is not a multiple"),
    ],
)
def test_bad_flags(corpus, tmp_path, flags, message):
    done = subprocess.run(
        command(run_settings(corpus, tmp_path / "run"), *flags), capture_output=True, text=True
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and message in lines[0], done.stderr
    assert not (tmp_path / "run").exists()
