"""The training loop under `ernie pretrain`: learns, resumes bit for bit after any kill, refuses what can't work."""

import dataclasses
import errno
import json
import os
import random
import signal
import sys
import time

import paddle
import pytest
import slow_ernie
import yaml
from process_helpers import HANG_SECONDS, start, wait_until
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.experiments.demo.text_stages import write_prepared
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.training import checkpoint
from ernie_from_scratch.training.checkpoint import newest_checkpoint, step_folders
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import pretrain
from ernie_from_scratch.utils.files import sha256_file

TIMES = ("tokens_per_second", "samples_per_second", "mfu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def outcome(folder):
    """What must be equal between runs: checksum of the weights, and metrics rows without times."""
    rows = [
        {k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(folder / "metrics.jsonl")
    ]
    return sha256_file(folder / "final" / "model_state.pdparams"), rows


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert pretrain(run_settings(corpus, folder), quiet=True).finished
    return outcome(folder)


def command(settings, file):
    file.write_text(yaml.safe_dump(settings.to_dict()))
    return [sys.executable, str(slow_ernie.SCRIPT), "pretrain", "--config", str(file)]


def test_metrics_rows(straight):
    rows = straight[1]
    assert [row["step"] for row in rows if "eval" not in row] == [2, 4, 6, 8, 10, 12]
    assert [(row["step"], row["eval"]) for row in rows if "eval" in row] == [
        (s, e) for s in (6, 12) for e in ("valid", "test")
    ]
    for row in rows:
        assert row["loss"] == pytest.approx(row["lm_loss"] + row["sop_loss"], rel=1e-5)


def test_learns(corpus, tmp_path):
    settings = run_settings(corpus, tmp_path / "run", max_steps=60, logging_freq=10, eval_freq=0, max_lr=3e-3)
    pretrain(settings, quiet=True)
    losses = [row["lm_loss"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_anywhere_changes_nothing(corpus, straight, tmp_path, workers):
    """SIGKILL at random moments, also while a checkpoint is written, until the run ends: the same weights and rows."""
    settings = run_settings(corpus, tmp_path / "run", num_workers=workers, checkpoint_steps=1, keep=3)
    chance, kills = random.Random(workers), 0
    for _ in range(30):
        process = start(command(settings, tmp_path / "run.yaml"))
        if kills < 3:
            wait_for_progress(process, tmp_path / "run", kills)
            time.sleep(chance.random() * 0.2)
            process.kill()
            kills += process.wait() == -signal.SIGKILL
        else:
            said = process.communicate(timeout=HANG_SECONDS)[1]
            assert process.returncode == 0, said
            break
    assert kills == 3
    assert outcome(tmp_path / "run") == straight


def wait_for_progress(process, folder, kills):
    """Until the run has got past two checkpoints per kill, or has ended."""
    while process.poll() is None and not any(step > 2 * kills for step, _ in step_folders(folder)):
        time.sleep(0.005)


def test_sigterm_checkpoints_and_says_how_to_resume(corpus, straight, tmp_path):
    settings = run_settings(corpus, tmp_path / "run", checkpoint_steps=100)
    process, metrics = start(command(settings, tmp_path / "run.yaml")), tmp_path / "run" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and read_metrics(metrics), process)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 0 and "the same command resumes" in errors
    assert not (tmp_path / "run" / "final").exists()
    assert pretrain(settings, quiet=True).finished
    assert outcome(tmp_path / "run") == straight


@pytest.mark.parametrize("harm", ["truncated", "flipped byte", "missing file", "half written"])
def test_damaged_checkpoint_is_skipped(corpus, straight, tmp_path, capfd, harm):
    """The damaged one is named, the one before is used, and the run comes out the same."""
    settings = run_settings(corpus, tmp_path / "run")
    pretrain(settings, quiet=True)
    last = tmp_path / "run" / "model_12"
    file = last / "optimizer.pdopt"
    content = bytearray(file.read_bytes())
    if harm == "truncated":
        file.write_bytes(content[:-1])
    elif harm == "flipped byte":
        content[len(content) // 3] ^= 4
        file.write_bytes(content)
    elif harm == "missing file":
        file.unlink()
    else:
        (tmp_path / "run" / ".writing_model_12.abc").mkdir()
        last.rename(tmp_path / "run" / ".writing_model_12.abc" / "new")
    pretrain(settings)
    log = capfd.readouterr().err
    assert "from step 8" in log and ("skipping damaged checkpoint" in log) == (harm != "half written")
    assert harm == "half written" or f"{file}" in log
    assert outcome(tmp_path / "run") == straight and not list((tmp_path / "run").glob(".writing_*"))
    assert newest_checkpoint(tmp_path / "run", pytest.fail) == last  # written again


def test_full_disk_leaves_the_last_good_checkpoint(corpus, straight, tmp_path, monkeypatch, capfd):
    """The disk fills while model_8 is written: one line says so; with space again the run ends the same."""
    settings, real = run_settings(corpus, tmp_path / "run"), paddle.save

    def save(content, path, *more):
        if ".writing_model_8" in path and path.endswith("pdopt"):
            open(path, "wb").write(b"a part")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(content, path, *more)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.paddle, "save", save)
        code = main(command(settings, tmp_path / "run.yaml")[2:])
    assert code == 2 and capfd.readouterr().err.splitlines()[-1].startswith("error: disk full while writing")
    assert newest_checkpoint(tmp_path / "run", pytest.fail).name == "model_4"
    assert os.readlink(tmp_path / "run" / "model_last") == "model_4"
    assert pretrain(settings, quiet=True).finished
    assert outcome(tmp_path / "run") == straight


def test_keep(corpus, tmp_path):
    """The newest 3, and those of save_steps for good."""
    pretrain(run_settings(corpus, tmp_path / "run", checkpoint_steps=1, keep=3, save_steps=4), quiet=True)
    assert [step for step, _ in step_folders(tmp_path / "run")] == [12, 11, 10, 8, 4]


def test_final_is_a_model_folder(corpus, tmp_path):
    result = pretrain(run_settings(corpus, tmp_path / "run", max_steps=2), quiet=True)
    model = ErnieForPretraining.from_pretrained(str(result.folder / "final"))
    assert model.config.hidden_size == 32 and (result.folder / "final" / "vocab.txt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(max_seq_len=32), "max_seq_len was 48 and is now 32"),
        (dict(global_batch_size=16), "global_batch_size was 8 and is now 16"),
        (dict(masking="char"), "masking was 'entity' and is now 'char'"),
    ],
)
def test_other_settings_are_refused(corpus, tmp_path, changes, message):
    pretrain(run_settings(corpus, tmp_path / "run", max_steps=2), quiet=True)
    before = sorted(os.listdir(tmp_path / "run"))
    with pytest.raises(UserError, match=message):
        pretrain(run_settings(corpus, tmp_path / "run", max_steps=2, **changes), quiet=True)
    assert sorted(os.listdir(tmp_path / "run")) == before


def test_another_network_or_corpus_is_refused(corpus, tmp_path):
    """Under the same file names: what counts is what they hold."""
    prefix = make_corpus(tmp_path)
    settings = run_settings(prefix, tmp_path / "run", max_steps=2, eval_freq=0)
    pretrain(settings, quiet=True)
    config = ErnieConfig.from_file(tmp_path)
    dataclasses.replace(config, intermediate_size=96).save(tmp_path)
    with pytest.raises(UserError, match="another network: intermediate_size was 64 and is now 96"):
        pretrain(settings, quiet=True)
    dataclasses.replace(config, enable_recompute=True).save(tmp_path)  # a switch that changes no result
    assert pretrain(settings, quiet=True).finished
    rows = (tmp_path / "corpus.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "corpus.jsonl").write_text("".join(rows[:-20]))
    write_prepared(tmp_path / "corpus.jsonl", prefix, tmp_path / "vocab.txt", segmenter="none")
    with pytest.raises(UserError, match="trained on other data"):
        pretrain(settings, quiet=True)
    assert newest_checkpoint(tmp_path / "run").name == "model_2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(global_batch_size=6), "not a multiple"),
        (dict(ernie_config_file=None), "give one of"),
        (dict(max_steps=0), "at least 1"),
        (dict(input_dir="nowhere/corpus"), "no prepared corpus"),
        (dict(input_dir="x corpus"), "not a number"),
        (dict(warmup_rate=1.5), "warmup_rate"),
        (dict(split="0,50,50"), "train split is empty"),
    ],
)
def test_bad_settings(corpus, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        pretrain(run_settings(corpus, tmp_path / "run", **changes), quiet=True)
    assert not (tmp_path / "run").exists()


def test_unwritable_output(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        pretrain(run_settings(corpus, tmp_path / "file" / "run"), quiet=True)


def test_the_log_line_is_that_of_paddlenlp(corpus, tmp_path, capfd):
    pretrain(run_settings(corpus, tmp_path / "run", max_steps=2, eval_freq=0))
    line = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("global step"))
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    losses = ", ".join(f"{name}: {row[name]:.6f}" for name in ("loss", "lm_loss", "sop_loss"))
    assert line.startswith(f"global step 2, {losses}, speed: ")
    assert line.endswith(f"learning rate: {row['learning_rate']:.5e}")
