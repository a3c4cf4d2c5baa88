"""A loss or gradient that is not finite: the run stops before the step, and `ernie replay` shows where it began."""

import contextlib
import json
import math

import numpy as np
import paddle
import pytest
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import UserError
from ernie_from_scratch.diagnostics.replay import replay
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.training import trainer
from ernie_from_scratch.training.bad_steps import save_bad_step
from ernie_from_scratch.training.checkpoint import newest_checkpoint
from ernie_from_scratch.training.metrics import MetricsLog, read_metrics
from ernie_from_scratch.training.optimizer import gradient_norm
from ernie_from_scratch.training.pretrain import pretrain
from ernie_from_scratch.training.trainer import Trainer
from ernie_from_scratch.utils.checksums import check_manifest

LAYER = "ernie.encoder.layers.1.linear1"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def poison_at(monkeypatch, step, value=float("nan"), times=1):
    """From `step` on, `times` steps find a weight of LAYER at `value`; what it was comes back after each."""
    real = Trainer.add_gradients

    def add_gradients(self, batches):
        if step <= self.step + 1 < step + times:
            weight = dict(self.network.model.named_parameters())[f"{LAYER}.weight"]
            before = weight.clone()
            with paddle.no_grad():
                weight[3, 5] = value
            result = real(self, batches)
            if times > 1:
                weight.set_value(before)
            return result
        return real(self, batches)

    monkeypatch.setattr(Trainer, "add_gradients", add_gradients)


@pytest.fixture(scope="module")
def stopped(corpus, tmp_path_factory):
    """The folder and message of a run that met a NaN in step 7, after checkpoints at 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        poison_at(patch, 7)
        with pytest.raises(UserError) as error:
            pretrain(run_settings(corpus, folder, checkpoint_steps=2), quiet=True)
    return folder, str(error.value)


def test_it_stops_and_names_the_step(stopped):
    folder, message = stopped
    assert "not finite at step 7" in message and f"ernie replay {folder / 'bad_step_7'}" in message
    assert "\n" not in message and "--max_lr" in message
    assert not (folder / "final").exists()


def test_nothing_of_the_step_is_kept(stopped):
    folder, _ = stopped
    newest = newest_checkpoint(folder)
    assert newest.name == "model_6" and check_manifest(newest) is None
    weights = ErnieForPretraining.from_pretrained(str(newest)).state_dict()
    assert all(bool(paddle.isfinite(w).all()) for w in weights.values())
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if "eval" not in row]
    assert [row["step"] for row in rows] == [2, 4, 6]


def test_replay_finds_the_layer(stopped):
    found = replay(stopped[0] / "bad_step_7")
    assert found["step"] == 7 and all(math.isnan(loss) for loss in found["losses"])
    assert found["first_layer"]["name"] == LAYER and math.isfinite(found["first_layer"]["largest_input"])
    assert found["bad_weights"] == [f"{LAYER}.weight"] and f"{LAYER}.weight" in found["bad_gradients"]


def test_the_command_prints_it(stopped, capsys):
    assert main(["replay", str(stopped[0] / "bad_step_7")]) == 0
    output = capsys.readouterr().out
    assert f"the first layer whose output is not finite is {LAYER}" in output and "step 7" in output


def test_replay_computes_the_same_numbers(corpus, tmp_path, monkeypatch):
    """Of a step that is well: the same losses and gradient norm to the last digit, dropout included."""
    seen = {}

    def check(self, loss, norm, batches):
        if self.step + 1 == 5:
            seen.update(loss=loss, norm=norm, folder=save_bad_step(self, batches, loss, norm))

    monkeypatch.setattr(Trainer, "_check_finite", check)
    pretrain(run_settings(corpus, tmp_path / "run", max_steps=6, eval_freq=0), quiet=True)
    found = replay(seen["folder"])
    assert len(found["losses"]) == 2  # micro batches
    assert np.mean(found["losses"], dtype="float32") == pytest.approx(seen["loss"], rel=1e-7)
    assert found["grad_norm"] == seen["norm"] == found["recorded_grad_norm"]
    assert found["first_layer"] is None and not found["bad_weights"] and not found["bad_gradients"]


def test_a_gradient_alone(corpus, tmp_path, monkeypatch):
    """The loss is finite and the gradient is not: the weights must not see it."""
    real = Trainer.add_gradients

    def add_gradients(self, batches):
        result = real(self, batches)
        if self.step + 1 == 3:
            with paddle.no_grad():
                self.network.model.ernie.pooler.dense.bias.grad[0] = float("inf")
        return result

    monkeypatch.setattr(Trainer, "add_gradients", add_gradients)
    with pytest.raises(UserError, match=r"not finite at step 3 \(loss \d.*gradient norm inf\)"):
        pretrain(run_settings(corpus, tmp_path / "run"), quiet=True)


def test_a_learning_rate_far_too_high(corpus, tmp_path, capsys):
    settings = run_settings(corpus, tmp_path / "run", max_lr=1e30, warmup_rate=0.0, grad_clip=0.0)
    with pytest.raises(UserError, match="not finite at step 2"):
        pretrain(settings, quiet=True)
    assert replay(tmp_path / "run" / "bad_step_2")["largest_weight"][1] > 1e20


class FakeScaling:
    """Stands for a GPU's loss scale: a step with a gradient that is not finite is left out."""

    scaling, loss_scale, product_type = True, 8.0, "float32"

    def __init__(self, settings, model, optimizer, log):
        self.model, self.left_out = model, 0

    def wrap_scaler(self, wrap):
        pass

    def autocast(self):
        return contextlib.nullcontext()

    def scale(self, loss):
        return loss

    def unscale(self, optimizer):
        self.bad = not math.isfinite(gradient_norm(self.model))

    def step(self, optimizer):
        self.left_out += self.bad
        if not self.bad:
            optimizer.step()

    def state(self):
        return {"left_out": self.left_out}

    def load(self, state):
        self.left_out = state["left_out"] if state else 0


def test_under_scaling_bad_steps_are_skipped_and_counted(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "Precision", FakeScaling)
    poison_at(monkeypatch, 5, times=3)
    settings = run_settings(corpus, tmp_path / "run", max_bad_steps=4, logging_freq=1, eval_freq=0)
    assert pretrain(settings, quiet=True).finished
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["skipped_steps"] for row in rows] == [0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3]
    assert [row["step"] for row in rows if row["loss"] is None] == [5, 6, 7]
    state = json.loads((tmp_path / "run" / "model_12" / "trainer_state.json").read_text())
    assert state["skipped"] == [3, 0] and state["scaler"] == {"left_out": 3}


def test_too_many_in_a_row_stop_the_run(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "Precision", FakeScaling)
    poison_at(monkeypatch, 5, times=3)
    with pytest.raises(UserError, match="not finite at step 7, number 3 in a row"):
        pretrain(run_settings(corpus, tmp_path / "run", max_bad_steps=3), quiet=True)
    assert (tmp_path / "run" / "bad_step_7").is_dir()


@pytest.mark.parametrize("kind", ["missing", "a run", "a file"])
def test_wrong_folders_are_one_line(corpus, tmp_path, capsys, kind):
    path = {"missing": tmp_path / "no", "a run": tmp_path, "a file": corpus.parent / "vocab.txt"}[kind]
    assert main(["replay", str(path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "bad_step_N" in lines[0]


def test_rows_stay_json(tmp_path):
    log = MetricsLog(tmp_path)
    log.append(step=1, loss=float("nan"), grad_norm=float("inf"), lm_loss=1.25)
    assert '"loss": null' in (tmp_path / "metrics.jsonl").read_text()
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": None, "grad_norm": None, "lm_loss": 1.25}
    ]
