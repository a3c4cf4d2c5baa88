"""Checkpoints: complete or absent, damaged ones named and skipped, a full disk leaves the last good one."""

import errno
import json
import os
import shutil

import numpy as np
import paddle
import pytest

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.processes import Processes
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training import checkpoint
from ernie_from_scratch.training.checkpoint import Checkpoints, newest_checkpoint, prune, step_folders
from ernie_from_scratch.training.optimizer import build_optimizer
from ernie_from_scratch.utils import folders
from ernie_from_scratch.utils.checksums import check_manifest


def checkpoints(folder, model, optimizer):
    network = ParallelNetwork(model, Strategy(), MaskedLMWithPair())
    return Checkpoints(folder, network, optimizer, Processes())


def save(folder, step, model, optimizer, state):
    checkpoints(folder, model, optimizer).save(step, state, keep=10, milestone_every=0)
    return folder / f"model_{step}"


@pytest.fixture
def trained():
    paddle.seed(0)
    model = ErnieForPretraining(
        ErnieConfig.preset("tiny", vocab_size=60, hidden_size=16, num_hidden_layers=1)
    )
    optimizer = build_optimizer(model, 1e-3)
    step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    paddle.seed(5)
    ids = paddle.to_tensor(np.arange(5, 25).reshape(2, 10))
    model(ids, labels=ids)[0].backward()
    optimizer.step()
    optimizer.clear_grad()


def state_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_round_trip(tmp_path, trained):
    model, optimizer = trained
    folder = save(tmp_path, 3, model, optimizer, {"metrics_offset": 17})
    paddle.seed(99)
    other = ErnieForPretraining(model.config)
    other_optimizer = build_optimizer(other, 1e-3)
    found = checkpoints(tmp_path, other, other_optimizer)
    assert found.newest() == folder and found.load(folder) == {"step": 3, "metrics_offset": 17}
    step(model, optimizer)
    step(other, other_optimizer)
    for name, value in state_of(model).items():
        assert np.array_equal(value, state_of(other)[name]), name


def test_model_last_points_at_the_newest(tmp_path, trained):
    for number in (1, 2):
        save(tmp_path, number, *trained, {})
    assert os.readlink(tmp_path / "model_last") == "model_2"
    assert ErnieForPretraining.from_pretrained(str(tmp_path / "model_last")).config.hidden_size == 16


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove", "no manifest", "half manifest"])
def test_damaged_is_named_and_skipped(tmp_path, trained, harm):
    for number in (1, 2):
        save(tmp_path, number, *trained, {})
    weights, manifest = tmp_path / "model_2" / "model_state.pdparams", tmp_path / "model_2" / "manifest.json"
    if harm == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "flip":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif harm == "remove":
        weights.unlink()
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:20])
    lines = []
    assert newest_checkpoint(tmp_path, lines.append).name == "model_1"
    assert len(lines) == 1 and "model_2" in lines[0]


def test_killed_while_writing(tmp_path, trained, monkeypatch):
    """Whatever call of the operating system is the last one, the newest checkpoint is 1 or 2, and undamaged."""
    model, optimizer = trained
    save(tmp_path / "good", 1, model, optimizer, {})
    points = 0
    for last in range(1, 100):
        folder = tmp_path / f"run{last}"
        shutil.copytree(tmp_path / "good", folder, symlinks=True)
        calls = {"left": last}

        class Killed(BaseException):
            pass

        def counted(real, calls=calls, killed=Killed):
            def call(*args, **kwargs):
                if calls["left"] == 0:
                    raise killed
                calls["left"] -= 1
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", counted(os.rename))
            patch.setattr(os, "replace", counted(os.replace))
            patch.setattr(folders, "_flush", counted(folders._flush))
            patch.setattr(folders, "_discard", lambda temporary: None)  # a killed process cleans up nothing
            patch.setattr(checkpoint.paddle, "save", counted(paddle.save))
            try:
                save(folder, 2, model, optimizer, {})
                finished = True
            except Killed:
                finished = False
        found = newest_checkpoint(folder, log=pytest.fail)
        assert found.name in ("model_1", "model_2") and check_manifest(found) is None
        assert (folder / "model_last").resolve().is_dir()
        save(folder, 3, model, optimizer, {})  # nothing that was left behind is in the way
        assert newest_checkpoint(folder, log=pytest.fail).name == "model_3"
        assert not list(folder.glob(".writing_model_3*"))
        if finished:
            break
        points += 1
    assert points >= 8 and found.name == "model_2"


def test_full_disk(tmp_path, trained, monkeypatch):
    save(tmp_path, 1, *trained, {})

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.paddle, "save", full)
    with pytest.raises(UserError, match="disk full"):
        save(tmp_path, 2, *trained, {})
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["model_1", "model_last"]
    assert check_manifest(tmp_path / "model_1") is None


def test_prune_keeps_newest_and_milestones(tmp_path):
    for number in (10, 20, 30, 40, 50):
        (tmp_path / f"model_{number}").mkdir()
    prune(tmp_path, keep=2, milestone_every=20)
    assert [number for number, _ in step_folders(tmp_path)] == [50, 40, 20]


def test_manifest_covers_every_file(tmp_path, trained):
    folder = save(tmp_path, 1, *trained, {})
    named = set(json.loads((folder / "manifest.json").read_text()))
    assert named | {"manifest.json"} == {file.name for file in folder.iterdir()}


def test_half_precision_weights_come_back_exactly(tmp_path, trained):
    """As under O2: the folder holds float32, so that from_pretrained reads it, and nothing is lost on the way."""
    model, optimizer = trained
    model.to(dtype="bfloat16")
    expected = {name: t.astype("float32").numpy() for name, t in model.state_dict().items()}
    folder = save(tmp_path, 1, model, optimizer, {})
    model.save_pretrained(tmp_path / "final")
    for source in (folder, tmp_path / "final"):
        read = ErnieForPretraining.from_pretrained(str(source)).state_dict()
        assert all(np.array_equal(read[name].numpy(), value) for name, value in expected.items())
    other = ErnieForPretraining(model.config)
    other.to(dtype="bfloat16")
    checkpoints(tmp_path, other, build_optimizer(other, 1e-3)).load(folder)
    for name, tensor in other.state_dict().items():
        assert tensor.dtype == paddle.bfloat16
        assert np.array_equal(tensor.astype("float32").numpy(), expected[name]), name
