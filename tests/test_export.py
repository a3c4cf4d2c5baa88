"""Export: every backend computes what the network computes, folders are complete, errors leave nothing behind."""

import json
from pathlib import Path

import numpy as np
import pytest
from deployment_helpers import TOKENS, tiny_config, tiny_vocabulary, write_model

import ernie_from_scratch as efs
from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.deployment import export as export_module
from ernie_from_scratch.deployment.backends.paddle_dynamic import PaddleBackend
from ernie_from_scratch.deployment.backends.registry import BACKENDS, EXPORT_FORMATS, load_backend
from ernie_from_scratch.deployment.export import export, max_difference, random_inputs
from ernie_from_scratch.deployment.folders import read_config
from ernie_from_scratch.deployment.tasks import TASKS, get_task
from ernie_from_scratch.models import ErnieForPretraining, ErnieModel, registry
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

LABELS = {0: "差评", 1: "好评"}
CLASSIFICATION = get_task("text-classification")
EXPORT_BACKENDS = [(task, entry.name) for task in TASKS for entry in BACKENDS.values() if entry.format]
FORMAT_OF = {entry.name: entry.format for entry in BACKENDS.values()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model folder for each task, and its exports in both formats: NAME, NAME-paddle, NAME-onnx."""
    root = tmp_path_factory.mktemp("export")
    write_model(root / "text-classification", "text-classification", id2label=LABELS)
    write_model(root / "fill-mask", "pretraining")
    for task in TASKS:
        for name in EXPORT_FORMATS:
            export(root / task, root / f"{task}-{name}", name, quiet=True)
    return root


@pytest.mark.parametrize("task, backend", EXPORT_BACKENDS)
def test_backends_compute_what_the_network_computes(folders, task, backend):
    chosen = get_task(task)
    network = load_backend(folders / task, chosen, "paddle")
    exported = load_backend(folders / f"{task}-{FORMAT_OF[backend]}", chosen, backend, num_threads=1)
    config = read_config(folders / task)
    assert exported.name == backend
    for rows, length in (
        (1, 1),
        (1, 64),
        (5, 9),
        (32, 33),
        (2, 16),
    ):  # shapes that the export itself does not check
        inputs = random_inputs(chosen, config, rows, length, seed=7)
        if task == "fill-mask" and not len(inputs["masked_positions"]):
            inputs["masked_positions"] = np.zeros(1, dtype=np.int64)
        one, other = network.run(**inputs)["logits"], exported.run(**inputs)["logits"]
        assert other.shape == one.shape and other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=2e-5)


def test_padding_in_an_exported_graph_changes_nothing(folders):
    backend = load_backend(folders / "text-classification-paddle", CLASSIFICATION)
    ids = np.array([[1, 9, 10, 11, 2]])
    padded = np.pad(ids, ((0, 0), (0, 7)))
    short, long = (
        backend.run(input_ids=rows, token_type_ids=np.zeros_like(rows))["logits"] for rows in (ids, padded)
    )
    np.testing.assert_allclose(long, short, atol=1e-5)


@pytest.mark.parametrize("task, backend", EXPORT_BACKENDS)
def test_pipelines_give_the_same_answers_on_every_backend(folders, task, backend):
    texts = {
        "text-classification": ["我的车很好。", "一二三", ("书", "他的菜很丑")],
        "fill-mask": ["[MASK][MASK]是我的车。", "很[MASK]"],
    }[task]
    expected = efs.pipeline(model=folders / task)(texts, top_k=2)
    found = efs.pipeline(model=folders / f"{task}-{FORMAT_OF[backend]}", backend=backend)(texts, top_k=2)
    name = "label" if task == "text-classification" else "token_str"
    assert [[entry[name] for entry in answer] for answer in found] == [
        [entry[name] for entry in answer] for answer in expected
    ]
    for one, other in zip(expected, found, strict=True):
        assert [e["score"] for e in other] == pytest.approx([e["score"] for e in one], rel=1e-3)


def test_an_export_folder_is_complete(folders):
    for name, files in (("paddle", {"model.json", "model.pdiparams"}), ("onnx", {"model.onnx"})):
        folder = folders / f"text-classification-{name}"
        assert {f.name for f in folder.iterdir()} == files | {
            "config.json",
            "vocab.txt",
            "tokenizer_config.json",
            "export.json",
        }
        about = json.loads((folder / "export.json").read_text())
        assert (
            about["task"] == "text-classification"
            and about["format"] == name
            and about["max_difference"] < 1e-5
        )
        assert read_config(folder).id2label == LABELS
        assert [line for line in (folder / "vocab.txt").read_text().split("\n") if line] == TOKENS
    assert not [f for f in folders.iterdir() if f.name.startswith(".")]


def test_graphs_have_dynamic_batch_and_length(folders):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(folders / "fill-mask-onnx" / "model.onnx"))
    assert model.opset_import[0].version == 17
    shapes = {
        i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input
    }
    assert list(shapes) == ["input_ids", "token_type_ids", "masked_positions"]
    assert all(not isinstance(d, int) or d <= 0 for dims in shapes.values() for d in dims)


def test_models_with_task_embeddings_are_exported(tmp_path):
    write_model(
        tmp_path / "model", "text-classification", use_task_id=True, task_type_vocab_size=3, task_id=2
    )
    about = export(tmp_path / "model", tmp_path / "out", quiet=True)
    assert about["max_difference"] < 1e-5


def test_a_second_export_replaces_the_first(tmp_path):
    write_model(tmp_path / "one", "text-classification", seed=1)
    write_model(tmp_path / "two", "text-classification", seed=2)
    for name in ("one", "two"):
        export(tmp_path / name, tmp_path / "out", quiet=True)
    two = PaddleBackend(CLASSIFICATION, tmp_path / "two")
    exported = load_backend(tmp_path / "out", CLASSIFICATION)
    assert max_difference(two, exported, two.network.config) < 1e-5


def test_a_graph_that_disagrees_is_not_kept(folders, tmp_path, monkeypatch):
    """A graph with other weights than the network's is detected, and the output folder stays as it was."""

    def other_weights(network, *args):
        original(type(network)(network.config), *args)

    original = export_module._write_graph
    monkeypatch.setattr(export_module, "_write_graph", other_weights)
    with pytest.raises(UserError, match="wrong export"):
        export(folders / "text-classification", tmp_path / "out", quiet=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "difference, kept", [(0.0, True), (0.9e-3, True), (1.1e-3, False), (float("nan"), False)]
)
def test_the_tolerance_holds_for_nan_too(folders, tmp_path, monkeypatch, difference, kept):
    monkeypatch.setattr(export_module, "max_difference", lambda *args: difference)
    try:
        export(folders / "text-classification", tmp_path / "out", quiet=True)
    except UserError:
        pass
    assert (tmp_path / "out" / "model.json").exists() == kept


def test_random_inputs_are_valid(folders):
    config = read_config(folders / "fill-mask")
    inputs = random_inputs(get_task("fill-mask"), config, 6, 40, seed=1)
    ids, positions = inputs["input_ids"], inputs["masked_positions"]
    assert ids.shape == (6, 40) and 0 <= ids.min() and ids.max() < config.vocab_size
    used = (ids != config.pad_token_id).sum(-1)
    assert (used < 40).any() and all(
        (row[n:] == config.pad_token_id).all() for row, n in zip(ids, used, strict=True)
    )
    assert (ids.reshape(-1)[positions] != config.pad_token_id).all()
    assert len(set(positions.tolist())) == len(positions) > 0


def invalid_calls(folders, tmp_path):
    """name -> (flags of `ernie export`, text of the error)"""
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    model = write_model(tmp_path / "no_weights", "text-classification")
    (model / "model_state.pdparams").unlink()
    good = folders / "text-classification"
    return {
        "missing": (["--model", tmp_path / "none", "--output", tmp_path / "out"], "no such model folder"),
        "no weights": (["--model", model, "--output", tmp_path / "out"], "no_weights"),
        "under a file": (["--model", good, "--output", tmp_path / "a_file" / "out"], "cannot write"),
        "a file": (["--model", good, "--output", tmp_path / "a_file"], "is a file"),
        "other files": (["--model", good, "--output", tmp_path / "full"], "other files"),
        "itself": (["--model", good, "--output", good], "the model itself"),
        "format": (["--model", good, "--output", tmp_path / "out", "--format", "onyx"], "onnx"),
        "task": (["--model", good, "--output", tmp_path / "out", "--task", "ner"], "fill-mask"),
        "flag": (["--model", good, "--outputs", tmp_path / "out"], "--output"),
    }


@pytest.mark.parametrize(
    "case",
    ["missing", "no weights", "under a file", "a file", "other files", "itself", "format", "task", "flag"],
)
def test_errors_are_one_line_and_leave_nothing_behind(folders, tmp_path, capsys, case):
    flags, message = invalid_calls(folders, tmp_path)[case]
    assert main(["export", *map(str, flags)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]
    assert not (tmp_path / "out").exists() and (tmp_path / "full" / "notes.txt").exists()
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


@pytest.mark.parametrize("change, message", [
    (dict(task=get_task("fill-mask")), "exported for text-classification"),
    (dict(name="openvino"), "openvino can't read it"),
    (dict(name="paddle"), "use paddle_inference"),
])  # fmt: skip
def test_errors_of_loading(folders, change, message):
    with pytest.raises(UserError, match=message):
        load_backend(folders / "text-classification-paddle", **{"task": CLASSIFICATION, **change})


def test_an_incomplete_export_is_an_error(folders, tmp_path):
    export(folders / "text-classification", tmp_path / "out", quiet=True)
    (tmp_path / "out" / "model.pdiparams").unlink()
    with pytest.raises(UserError, match="model.pdiparams"):
        efs.pipeline(model=tmp_path / "out")


def test_export_command_prints_the_folder_and_the_difference(folders, tmp_path, capfd):
    assert (
        main(
            [
                "export",
                "--model",
                str(folders / "fill-mask"),
                "--output",
                str(tmp_path / "out"),
                "--format",
                "onnx",
            ]
        )
        == 0
    )
    out, err = capfd.readouterr()
    assert out == "" and f"{Path(tmp_path) / 'out'}: fill-mask, onnx" in err and "at most" in err


class OtherConfig(ErnieConfig):
    MODEL_TYPE = "other"


class OtherForPretraining(ErnieForPretraining):
    config_class = OtherConfig


def test_another_model_family_is_one_entry_of_the_registry(tmp_path, monkeypatch):
    """It has no masked LM network, so that its pretraining network, with two outputs, fills the masks."""
    family = registry.ModelFamily(
        model_type="other",
        config_class=OtherConfig,
        backbone=ErnieModel,
        heads={"pretraining": OtherForPretraining},
        tokenizer="ernie_from_scratch.text.tokenizers.wordpiece:ErnieTokenizer",
    )
    monkeypatch.setitem(registry.FAMILIES, "other", family)
    network = OtherForPretraining(OtherConfig(**tiny_config().to_dict()))
    network.save_pretrained(tmp_path / "model")
    ErnieTokenizer(tiny_vocabulary()).save_pretrained(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "other"
    expected = efs.pipeline(model=tmp_path / "model")("[MASK]是我的车。", top_k=3)
    for format in EXPORT_FORMATS:
        assert export(tmp_path / "model", tmp_path / format, format, quiet=True)["task"] == "fill-mask"
        found = efs.pipeline(model=tmp_path / format)("[MASK]是我的车。", top_k=3)
        assert [answer["token_str"] for answer in found] == [answer["token_str"] for answer in expected]
