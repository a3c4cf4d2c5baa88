"""Fine-tuning that is killed, stopped or called wrongly: it resumes bit for bit, or ends in one line."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import paddle
import pytest
import slow_ernie
from deployment_helpers import figures_of, run_settings, same_weights, write_text
from process_helpers import HANG_SECONDS, start, wait_until

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import UserError
from ernie_from_scratch.finetuning import finetune as finetuning
from ernie_from_scratch.finetuning.finetune import CHECKPOINTS, BestModelEvaluator, finetune
from ernie_from_scratch.training import checkpoint, run_folder, trainer
from ernie_from_scratch.training.checkpoint import newest_checkpoint, step_folders
from ernie_from_scratch.training.trainer import Trainer

OWNERS = {
    "_step": Trainer,
    "_write_model": BestModelEvaluator,
    "write_checkpoint": checkpoint,
    "write_results": finetuning,
}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program handles it."""


@pytest.mark.parametrize(
    "where, after",
    [
        ("_step", 7),
        ("_step", 15),
        ("_step", 33),
        ("_write_model", 1),
        ("write_checkpoint", 1),
        ("write_results", 0),
    ],
)
def test_killed_anywhere_it_resumes_bit_for_bit(review_task, finetuned, tmp_path, where, after):
    chosen = run_settings(review_task, tmp_path / "run", test=str(review_task / "test.tsv"))
    kill(chosen, where, after)
    paddle.seed(999)  # what the process drew meanwhile must not matter
    assert_same_run(tmp_path / "run", finetune(chosen, quiet=True), finetuned)


def kill(settings, where, after):
    """Run until the function `where` of OWNERS has been called `after` times, and is called again."""
    calls, original = [0], getattr(OWNERS[where], where)

    def dying(*args, **kwargs):
        if calls[0] == after:
            raise Killed
        calls[0] += 1
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OWNERS[where], where, dying)
        with pytest.raises(Killed):
            finetune(settings, quiet=True)


def assert_same_run(folder, results, finetuned):
    assert same_weights(folder, finetuned[0]) and figures_of(folder) == figures_of(finetuned[0])
    assert {**results, "model": ""} == {**finetuned[1], "model": "", "test_file": results["test_file"]}


def test_resumed_in_the_middle_of_an_epoch_bit_for_bit(review_task, finetuned, tmp_path, capfd):
    """Dropout on; an epoch has 15 steps."""
    values = dict(test=str(review_task / "test.tsv"), checkpoint_steps=3)
    chosen = run_settings(review_task, tmp_path / "run", **values)
    for after, newest in ((8, 6), (2, 6), (15, 21)):  # steps of each attempt, its newest checkpoint
        kill(chosen, "_step", after)
        paddle.seed(999)
        assert newest_checkpoint(tmp_path / "run" / CHECKPOINTS).name == f"model_{newest}"
    capfd.readouterr()
    results = finetune(chosen)
    assert "run from step 21" in capfd.readouterr().err
    assert_same_run(tmp_path / "run", results, finetuned)


def test_keep_and_save_steps(review_task, tmp_path):
    chosen = run_settings(review_task, tmp_path / "run", checkpoint_steps=1, keep=3, save_steps=4)
    kill(chosen, "_step", 10)
    assert [step for step, _ in step_folders(tmp_path / "run" / CHECKPOINTS)] == [10, 9, 8, 4]
    finetune(chosen, quiet=True)
    assert not (tmp_path / "run" / CHECKPOINTS).exists()  # a finished run needs none


def test_a_second_run_in_the_same_folder_waits_and_gives_up(review_task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_folder, "WAIT_SECONDS", 1)
    settings = run_settings(review_task, tmp_path / "run", num_train_epochs=1)
    with run_folder.locked_run_folder(run_folder.make_run_folder(settings)):
        with pytest.raises(UserError, match=f"process {os.getpid()} trains in .*another --output_dir"):
            finetune(settings)
    assert "waiting up to 1 s" in capsys.readouterr().err
    assert finetune(settings, quiet=True)["best_epoch"] == 1


def test_a_run_that_waited_for_one_that_finished_does_not_begin_again(review_task, tmp_path, monkeypatch):
    """The other run writes its results while this one waits for the folder."""
    settings, real, expected = run_settings(review_task, tmp_path / "run"), run_folder.locked_run_folder, []

    @contextlib.contextmanager
    def wait(folder, log):
        with monkeypatch.context() as patched:
            patched.setattr(trainer, "locked_run_folder", real)
            expected.append(finetune(settings, quiet=True))
        with real(folder, log):
            yield

    monkeypatch.setattr(trainer, "locked_run_folder", wait)
    assert [finetune(settings, quiet=True)] == expected
    assert len([row for row in figures_of(tmp_path / "run") if row.get("eval") == "dev"]) == 3


@pytest.mark.parallel
def test_sigterm_stops_and_the_same_command_resumes(review_task, finetuned, tmp_path):
    folder = tmp_path / "run"
    flags = [
        f"--{n}={v}"
        for n, v in run_settings(review_task, folder).to_dict().items()
        if v is not None and n not in ("task", "device")
    ]
    command = [sys.executable, str(slow_ernie.SCRIPT), "finetune", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run, metrics = start(command, env=environment), folder / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.stat().st_size > 0, run)
    run.send_signal(signal.SIGTERM)
    _, error = run.communicate(timeout=HANG_SECONDS)
    assert run.returncode == 130 and "the same command resumes" in error
    command[1:2] = ["-m", "ernie_from_scratch"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANG_SECONDS)
    assert done.returncode == 0 and "resuming" in done.stderr and "best epoch" in done.stdout
    assert [row["step"] for row in figures_of(folder)] == [row["step"] for row in figures_of(finetuned[0])]


def test_other_settings_or_data_are_refused(review_task, tmp_path, monkeypatch):
    shutil.copytree(review_task, tmp_path / "task")
    review_task, folder = tmp_path / "task", tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "write_results", lambda *args: None)
        finetune(run_settings(review_task, folder, num_train_epochs=1), quiet=True)
    with pytest.raises(UserError, match="max_lr was 0.01"):
        finetune(run_settings(review_task, folder, num_train_epochs=1, learning_rate=1e-3), quiet=True)
    with open(review_task / "train.tsv", "a", encoding="utf-8") as file:
        file.write("good\t好\n")
    with pytest.raises(UserError, match="has changed since"):
        finetune(run_settings(review_task, folder, num_train_epochs=1), quiet=True)


def bad_calls(review_task, tmp_path):
    """name -> (flags, what the error must contain)"""
    no_weights = tmp_path / "no_weights"
    no_weights.mkdir()
    for name in ("config.json", "vocab.txt"):
        shutil.copy(review_task / "pretrained" / name, no_weights / name)
    (tmp_path / "a_file").write_text("x")
    one_label = write_text(tmp_path / "one.tsv", "label\ttext_a\n1\t车\n1\t房\n")
    other_label = write_text(tmp_path / "other.tsv", "label\ttext_a\ngood\t车\nugly\t房\n")
    return {
        "missing train": (dict(train=tmp_path / "none.tsv"), "no such file"),
        "missing model": (dict(model_name_or_path=tmp_path / "none"), "none"),
        "no weights": (dict(model_name_or_path=no_weights), "no_weights"),
        "one label": (dict(train=one_label), "only one label"),
        "unknown label": (dict(dev=other_label), "unknown label 'ugly'"),
        "unwritable": (dict(output_dir=tmp_path / "a_file" / "run"), "a_file"),
        "too long": (dict(max_seq_len=65), "64 positions"),
        "itself": (dict(output_dir=review_task / "pretrained"), "pretrained model itself"),
        "no rate": (dict(learning_rate=0), "learning_rate"),
        "no epochs": (dict(num_train_epochs=0), "num_train_epochs"),
        "task": (dict(task="seq_clas"), "seq_cls"),
        "misspelt": (dict(learning_rat=1), "learning_rate"),
        "word for number": (dict(batch_size="many"), "batch_size"),
    }


@pytest.mark.parametrize("case", [
    "missing train", "missing model", "no weights", "one label", "unknown label", "unwritable", "too long",
    "itself", "no rate", "no epochs", "task", "misspelt", "word for number",
])  # fmt: skip
def test_mistakes_get_one_line_and_exit_code_2(review_task, tmp_path, capsys, case):
    changes, message = bad_calls(review_task, tmp_path)[case]
    values = {**run_settings(review_task, tmp_path / "run").to_dict(), **changes}
    flags = [f"--{name}={value}" for name, value in values.items() if value is not None]
    assert main(["finetune", *flags]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]
    assert not (tmp_path / "run").exists()
