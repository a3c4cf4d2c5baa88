"""`ernie convert`: a model through all layouts and back with the same outputs, and invalid arguments."""

import json
import re

import numpy as np
import paddle
import pytest
from models_helpers import CLASSES, build, largest_difference, outputs

import ernie_from_scratch as efs
from ernie_from_scratch.config import UserError
from ernie_from_scratch.weights import conversion
from ernie_from_scratch.weights.files import variable_bytes
from ernie_from_scratch.weights.names import static_names, to_huggingface
from ernie_from_scratch.weights.pretrained import numpy_weights


@pytest.fixture
def only_our_package(monkeypatch):
    """This package runs both folders, whatever else is installed: quick, and the same everywhere."""
    monkeypatch.setattr(conversion, "is_installed", lambda *packages: False)


@pytest.mark.parametrize("cls", [CLASSES[0], CLASSES[1], CLASSES[2], CLASSES[3], CLASSES[5]])
def test_convert_through_all_layouts_and_back(cls, only_our_package, tmp_path):
    model = build(cls)
    model.save_pretrained(tmp_path / "start")
    (tmp_path / "start" / "vocab.txt").write_text("[PAD]\n")
    at = "start"
    for number, to in enumerate(("huggingface", "static", "persistables", "paddlenlp")):
        source, output, difference = conversion.convert(tmp_path / at, tmp_path / str(number), to)
        assert (source.architecture, output.layout) == (cls.__name__, to) and difference <= 1e-6
        assert (tmp_path / str(number) / "vocab.txt").is_file()
        at = str(number)
    assert largest_difference(outputs(cls.from_pretrained(tmp_path / at)), outputs(model)) == 0


def test_convert_finds_the_class_of_bare_variables(only_our_package, tmp_path):
    for cls in (
        efs.ErnieModel,
        efs.ErnieForPretraining,
        efs.ErnieForMaskedLM,
        efs.ErnieForSequenceClassification,
    ):
        model = build(cls)
        folder = tmp_path / cls.__name__
        conversion.write_model(model, folder, "persistables")
        (folder / "static_vars" / "linear_0.b_0_moment1_0").write_bytes(variable_bytes(np.ones(3)))
        (folder / "config.json").rename(tmp_path / "config.json")
        config = json.loads((tmp_path / "config.json").read_text())
        del config["architectures"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        source, _, difference = conversion.convert(
            folder / "static_vars", tmp_path / f"to{cls.__name__}", "paddlenlp", tmp_path / "config.json"
        )
        assert source.skipped == ["linear_0.b_0_moment1_0"] and source.converted == len(static_names(model))
        assert source.architecture == cls.__name__ and difference == 0


def test_convert_reads_a_graph_with_other_layers_before(only_our_package, tmp_path):
    """Layers built earlier (a teacher model) shift the numbers in the names; the order of layers is the same."""
    model = build(efs.ErnieForPretraining)
    tensors = numpy_weights(model.state_dict())
    shifted = {
        re.sub(r"_(\d+)\.", lambda number: f"_{int(number[1]) + 7}.", name): tensors[ours]
        for ours, name in static_names(model).items()
    }
    assert "linear_7.w_0" in shifted and "linear_0.w_0" not in shifted
    model.config.save(tmp_path / "graph")
    paddle.save(shifted, str(tmp_path / "graph" / "static_vars.pdparams"))
    conversion.convert(tmp_path / "graph", tmp_path / "out", "paddlenlp")
    assert (
        largest_difference(outputs(efs.ErnieForPretraining.from_pretrained(tmp_path / "out")), outputs(model))
        == 0
    )


def test_different_outputs_are_an_error(only_our_package, monkeypatch, tmp_path):
    build(efs.ErnieModel).save_pretrained(tmp_path / "start")
    monkeypatch.setattr(
        conversion,
        "to_huggingface",
        lambda *args, **_: {k: v * 1.01 for k, v in to_huggingface(*args).items()},
    )
    with pytest.raises(UserError, match="outputs differ"):
        conversion.convert(tmp_path / "start", tmp_path / "out", "huggingface")


@pytest.mark.parametrize(
    ("source", "to", "model_config", "words"),
    [
        ("nowhere", "paddlenlp", None, ["no such folder"]),
        ("start", "torch", None, ["unknown layout: torch", "huggingface"]),
        ("start", "static", "nowhere.json", ["no configuration"]),
        ("start", "static", "ernie-3.0-tiny-pico-v2-zh", ["wrong shape"]),
        ("empty", "static", None, ["no config.json", "--model_config"]),
        ("empty", "static", "tiny", ["no weights"]),
    ],
)
def test_convert_errors(source, to, model_config, words, tmp_path):
    build(efs.ErnieModel).save_pretrained(tmp_path / "start")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        conversion.convert(tmp_path / source, tmp_path / "out", to, model_config)
    assert all(word in str(error.value) for word in words)
