"""The runner of experiments: a finished stage is not repeated, a failed one is, other settings are refused."""

import json

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.experiments.runner import Experiment

TITLES = {"one": "first", "two": "second"}


def experiment(folder, settings=None):
    return Experiment(folder, settings or {"seed": 1}, TITLES)


def fail():
    raise RuntimeError("broken")


def test_a_stage_runs_once(tmp_path):
    calls = []

    def stage():
        calls.append(1)
        return {"summary": "七", "value": 7}

    first = experiment(tmp_path).run("one", stage)
    again = experiment(tmp_path).run("one", stage)
    assert calls == [1] and again == first and first["value"] == 7 and first["seconds"] >= 0
    assert experiment(tmp_path).result("two") is None and experiment(tmp_path).results() == {"one": first}


def test_a_failed_stage_runs_again(tmp_path):
    with pytest.raises(RuntimeError):
        experiment(tmp_path).run("one", fail)
    assert experiment(tmp_path).run("one", lambda: {"value": 1})["value"] == 1


def test_many_models_resume_at_the_one_that_failed(tmp_path):
    trained = []
    titles = {f"train_{name}": f"training {name}" for name in "abc"}

    def train_all(broken=()):
        models = Experiment(tmp_path, {"seed": 1}, titles)
        for name in "abc":
            models.run(
                f"train_{name}", fail if name in broken else lambda n=name: trained.append(n) or {"name": n}
            )
        return models.results()

    with pytest.raises(RuntimeError):
        train_all(broken="b")
    assert [result["name"] for result in train_all().values()] == trained == ["a", "b", "c"]


def test_other_settings_are_refused(tmp_path):
    experiment(tmp_path, {"seed": 1, "facts": 20})
    with pytest.raises(UserError, match="facts was 20 and is now 30"):
        experiment(tmp_path, {"seed": 1, "facts": 30})


def test_results_of_version_0_1_are_read(tmp_path):
    experiment(tmp_path)
    (tmp_path / "stages" / "one.json").write_text(json.dumps({"said": "done", "seconds": 2.0}))
    assert experiment(tmp_path).run("one", fail) == {"summary": "done", "seconds": 2.0}
