"""Folders of weights in every layout, in and out; damaged, foreign and hostile files end in one clear line."""

import functools
import hashlib
import http.server
import io
import json
import logging
import pickle
import re
import struct
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import paddle
import pytest
from models_helpers import NO_DROPOUT, ids, largest_difference, randomize

import ernie_from_scratch as efs
from ernie_from_scratch.config import UserError
from ernie_from_scratch.models import convert as conversion
from ernie_from_scratch.models import published
from ernie_from_scratch.models.names import from_huggingface, static_names, to_huggingface
from ernie_from_scratch.models.weight_files import read_torch, read_variable, read_weights, variable_bytes

CLASSES = [
    efs.ErnieModel,
    efs.ErnieForPretraining,
    efs.ErnieForMaskedLM,
    efs.ErnieForSequenceClassification,
    efs.ErnieForTokenClassification,
    efs.ErnieForQuestionAnswering,
    efs.ErnieForMultipleChoice,
]
SIZES = {
    "vocab_size": 40, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 20, "num_labels": 3,
    "max_position_embeddings": 20, "use_task_id": True, **NO_DROPOUT,
}  # fmt: skip


def build(cls, **overrides):
    model = cls(efs.ErnieConfig.preset("tiny", **{**SIZES, **overrides}))
    randomize(model, np.random.default_rng(4))
    model.eval()
    return model


def outputs(model):
    shape = (2, 2, 6) if type(model).__name__ == "ErnieForMultipleChoice" else (2, 6)
    model.eval()
    return model(ids(np.random.default_rng(1), model.config, *shape))


@pytest.mark.parametrize("safetensors", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_save_and_load(cls, safetensors, tmp_path):
    model = build(cls)
    (tmp_path / "words").write_text("[PAD]\n")
    model.save_pretrained(tmp_path / "model", safetensors=safetensors, vocab_file=tmp_path / "words")
    written = {path.name for path in (tmp_path / "model").iterdir()}
    assert written == {
        "config.json",
        "vocab.txt",
        "model.safetensors" if safetensors else "model_state.pdparams",
    }
    again = cls.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    assert largest_difference(outputs(again), outputs(model)) == 0


def test_paddlenlp_folders_both_ways(tmp_path):
    nlp = pytest.importorskip("paddlenlp.transformers", reason="PaddleNLP writes and reads the folders")
    for cls in CLASSES:
        model = build(cls)
        model.save_pretrained(tmp_path / "ours")
        theirs = getattr(nlp, cls.__name__).from_pretrained(str(tmp_path / "ours"))
        assert largest_difference(outputs(model), outputs(theirs)) <= 1e-5
        theirs.save_pretrained(str(tmp_path / cls.__name__))
        assert largest_difference(outputs(cls.from_pretrained(tmp_path / cls.__name__)), outputs(model)) == 0


def test_network_moves_between_models_and_log_names_the_heads(tmp_path, caplog):
    caplog.set_level(logging.INFO, "ernie_from_scratch")
    whole = build(efs.ErnieForPretraining)
    whole.save_pretrained(tmp_path / "whole")
    base = efs.ErnieModel.from_pretrained(tmp_path / "whole")
    assert "left aside: cls.predictions.decoder_bias" in caplog.text
    assert largest_difference(outputs(base), outputs(whole.ernie)) == 0
    base.save_pretrained(tmp_path / "base")
    caplog.clear()
    tagger = efs.ErnieForTokenClassification.from_pretrained(tmp_path / "base", num_labels=5)
    assert "classifier.weight, classifier.bias" in caplog.text
    assert tagger.classifier.weight.shape == [12, 5]
    assert largest_difference(outputs(tagger.ernie), outputs(base)) == 0


def change(folder, edit):
    tensors = read_weights(folder / "model_state.pdparams")
    edit(tensors)
    paddle.save(tensors, str(folder / "model_state.pdparams"))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda t: t.pop("ernie.encoder.layers.1.norm2.bias"),
            ["missing", "ernie.encoder.layers.1.norm2.bias"],
        ),
        (
            lambda t: t.update({"ernie.encoder.layers.2.norm2.bias": np.ones(12)}),
            ["unknown", "layers.2.norm2.bias"],
        ),
        (
            lambda t: t.update({"ernie.embeddings.word_embeddings.weight": np.ones((39, 12), "float32")}),
            ["wrong shape", "ernie.embeddings.word_embeddings.weight is [39, 12], not [40, 12]"],
        ),
    ],
)
def test_wrong_tensors_are_named(edit, words, tmp_path):
    build(efs.ErnieForPretraining).save_pretrained(tmp_path)
    change(tmp_path, edit)
    with pytest.raises(UserError) as error:
        efs.ErnieForPretraining.from_pretrained(tmp_path)
    assert all(word in str(error.value) for word in [*words, "model_state.pdparams"])


def test_older_names_and_half_precision(tmp_path):
    """decoder_weight of PaddleNLP before 2.3, bf16 as Paddle's uint16, (name, array) pairs, a file of another name."""
    model = build(efs.ErnieForPretraining)
    model.save_pretrained(tmp_path)

    def older(tensors):
        tensors["cls.predictions.decoder_weight"] = tensors.pop("cls.predictions.decoder.weight")
        del tensors["cls.predictions.decoder.bias"]
        bits = tensors["ernie.pooler.dense.weight"].view("uint32")
        tensors["ernie.pooler.dense.weight"] = (bits >> 16).astype("uint16")
        tensors["ernie.pooler.dense.bias"] = (
            "linear_12.b_0",
            tensors["ernie.pooler.dense.bias"].astype("float16"),
        )

    change(tmp_path, older)
    (tmp_path / "model_state.pdparams").rename(tmp_path / "ernie_v1_chn_base.pdparams")
    again = efs.ErnieForPretraining.from_pretrained(tmp_path)
    assert largest_difference(outputs(again)[0], outputs(model)[0]) == 0
    assert 0 < largest_difference(outputs(again)[1], outputs(model)[1]) < 0.05


# Files of torch, written here by hand: the reader must not need torch, nor run anything.


class Named:
    """Pickles as the name module.name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class TorchPickler(pickle._Pickler):
    """Writes what torch.save writes: storages beside, tensors as calls of torch's functions."""

    def __init__(self, file, storages):
        super().__init__(file, 2)
        self.storages = storages

    def persistent_id(self, obj):
        if isinstance(obj, np.ndarray) and obj.ndim == 1:
            kind = {"f4": "FloatStorage", "f2": "HalfStorage", "u2": "BFloat16Storage"}[obj.dtype.str[1:]]
            self.storages.append(obj)
            return ("storage", Named("torch", kind), str(len(self.storages) - 1), "cpu", obj.size)
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Named):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


def torch_tensor(storage, shape, strides, offset=0):
    hooks = Call(Named("collections", "OrderedDict"))
    return Call(Named("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, False, hooks)


def write_torch(path, values):
    storages, stream = [], io.BytesIO()
    TorchPickler(stream, storages).dump(values)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for number, storage in enumerate(storages):
            archive.writestr(f"archive/data/{number}", storage.tobytes())
    return path


def test_torch_file_with_views_and_number_types(tmp_path):
    numbers = np.arange(12, dtype="float32")
    half = (numbers.view("uint32") >> 16).astype("uint16")
    path = write_torch(
        tmp_path / "pytorch_model.bin",
        {
            "plain": torch_tensor(numbers, (3, 4), (4, 1)),
            "transposed": torch_tensor(numbers, (4, 3), (1, 4)),
            "slice": torch_tensor(numbers, (2, 2), (4, 1), 5),
            "half": torch_tensor(numbers.astype("float16"), (12,), (1,)),
            "bfloat": torch_tensor(half, (12,), (1,)),
            "parameter": Call(
                Named("torch._utils", "_rebuild_parameter"), torch_tensor(numbers, (12,), (1,)), True, ()
            ),
            "note": "not a tensor",
        },
    )
    found = read_torch(path)
    table = numbers.reshape(3, 4)
    expected = {
        "plain": table, "transposed": table.T, "slice": table[1:, 1:3], "half": numbers,
        "bfloat": numbers, "parameter": numbers,
    }  # fmt: skip
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert (found[name] == value).all(), name


@pytest.mark.parametrize("kind", ["pytorch_model.bin", "model_state.pdparams"])
def test_files_that_want_to_run_code_are_refused(kind, tmp_path):
    build(efs.ErnieModel).save_pretrained(tmp_path)
    (tmp_path / "model_state.pdparams").unlink()
    marker = tmp_path / "ran"
    for attack in (
        Call(Named("os", "system"), f"touch {marker}"),
        Call(Named("builtins", "eval"), f"open({str(marker)!r}, 'w')"),
        Call(Named("builtins", "getattr"), "a", "b"),
        Call(Named("torch", "load"), str(marker)),
    ):
        if kind.endswith(".bin"):
            write_torch(tmp_path / kind, {"weight": attack})
        else:
            stream = io.BytesIO()
            TorchPickler(stream, []).dump({"weight": attack})
            (tmp_path / kind).write_bytes(stream.getvalue())
        with pytest.raises(UserError, match="wants to run") as error:
            efs.ErnieModel.from_pretrained(tmp_path)
        assert f"{attack.function.module}.{attack.function.name}" in str(error.value)
    assert not marker.exists()


def test_tensors_that_reach_beyond_their_storage_are_refused(tmp_path):
    numbers = np.arange(12, dtype="float32")
    for shape, strides, offset in (((13,), (1,), 0), ((3, 4), (5, 1), 0), ((12,), (1,), 1), ((2,), (-1,), 3)):
        path = write_torch(tmp_path / "x.bin", {"weight": torch_tensor(numbers, shape, strides, offset)})
        with pytest.raises(UserError, match="beyond its storage"):
            read_weights(path)


@pytest.mark.parametrize("name", ["model_state.pdparams", "model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    "content", [b"", b"half a file", pickle.dumps([1, 2]), struct.pack("<Q", 1 << 40) + b"{}"]
)
def test_damaged_files(name, content, tmp_path):
    efs.ErnieConfig.preset("tiny").save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        efs.ErnieModel.from_pretrained(tmp_path)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_sharded_safetensors(tmp_path):
    from safetensors.numpy import save_file

    model = build(efs.ErnieModel)
    tensors = to_huggingface(model.numpy_weights())
    model.config.save(tmp_path)
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[:7], "model-2.safetensors": names[7:]}
    for file, part in shards.items():
        save_file({name: np.ascontiguousarray(tensors[name]) for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert largest_difference(outputs(efs.ErnieModel.from_pretrained(tmp_path)), outputs(model)) == 0


@pytest.mark.parametrize("cls", CLASSES)
def test_huggingface_names_go_there_and_back(cls):
    tensors = build(cls).numpy_weights()
    there = to_huggingface(tensors, question_answering=cls is efs.ErnieForQuestionAnswering)
    assert not any(name in there for name in tensors if "layer_norm" in name or "layers." in name)
    back = from_huggingface(there)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert set(back) == set(tensors) - tied
    assert all((back[name] == tensors[name]).all() for name in back)


def test_names_of_a_tensorflow_ancestor():
    found = from_huggingface(
        {"ernie.embeddings.LayerNorm.gamma": np.ones(3), "ernie.embeddings.position_ids": np.ones(2)}
    )
    assert list(found) == ["ernie.embeddings.layer_norm.weight"]


def test_names_in_static_graphs_are_paddlenlps():
    nlp = pytest.importorskip("paddlenlp.transformers", reason="PaddleNLP names the variables")
    for cls in CLASSES:
        model = build(cls)
        with paddle.utils.unique_name.guard():
            theirs = getattr(nlp, cls.__name__)(nlp.ErnieConfig(**{**SIZES, "num_hidden_layers": 2}))
        named = {name: parameter.name for name, parameter in theirs.state_dict().items()}
        for ours, variable in static_names(model).items():
            assert named[ours] == variable


@pytest.mark.parametrize("shape", [(), (3,), (130, 2), (2, 3, 4), (0, 5)])
def test_variable_files(shape):
    numbers = np.random.default_rng(0).normal(0, 1, shape).astype("float32")
    found = read_variable(variable_bytes(numbers))
    assert found.shape == shape and (found == numbers).all()


def test_variable_file_that_paddle_wrote():
    """linear_0.b_0 = [0, 1.5, -2] as save_persistables of Paddle 3.3 lays it out."""
    head = bytes.fromhex("000000000000000000000000000000000400000008051003")
    numbers = np.array([0, 1.5, -2], "<f4")
    assert (read_variable(head + numbers.tobytes()) == numbers).all()
    assert variable_bytes(numbers) == head + numbers.tobytes()


@pytest.fixture
def only_our_package(monkeypatch):
    """Both sides are run by this package, whatever else is installed: quick, and the same everywhere."""
    monkeypatch.setattr(conversion, "installed", lambda *packages: False)


@pytest.mark.parametrize("cls", [CLASSES[0], CLASSES[1], CLASSES[2], CLASSES[3], CLASSES[5]])
def test_convert_round_through_all_layouts(cls, only_our_package, tmp_path):
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
        conversion.write(model, folder, "persistables", cls.__name__)
        (folder / "static_vars" / "linear_0.b_0_moment1_0").write_bytes(variable_bytes(np.ones(3)))
        (folder / "config.json").rename(tmp_path / "config.json")
        config = json.loads((tmp_path / "config.json").read_text())
        del config["architectures"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        source, _, difference = conversion.convert(
            folder / "static_vars", tmp_path / f"to{cls.__name__}", "paddlenlp", tmp_path / "config.json"
        )
        assert source.aside == ["linear_0.b_0_moment1_0"] and source.tensors == len(static_names(model))
        assert source.architecture == cls.__name__ and difference == 0


def test_convert_reads_a_graph_that_counted_on(only_our_package, tmp_path):
    """Layers built before shift the numbers (a teacher beside the student); the order still tells."""
    model = build(efs.ErnieForPretraining)
    tensors = model.numpy_weights()
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


def test_convert_refuses_outputs_that_differ(only_our_package, monkeypatch, tmp_path):
    build(efs.ErnieModel).save_pretrained(tmp_path / "start")
    monkeypatch.setattr(
        conversion,
        "to_huggingface",
        lambda tensors, **_: {k: v * 1.01 for k, v in to_huggingface(tensors).items()},
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
def test_convert_mistakes(source, to, model_config, words, tmp_path):
    build(efs.ErnieModel).save_pretrained(tmp_path / "start")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        conversion.convert(tmp_path / source, tmp_path / "out", to, model_config)
    assert all(word in str(error.value) for word in words)


def test_published_name_offline_is_one_line_with_the_way_out(monkeypatch):
    download = pytest.importorskip("paddlenlp.utils.download", reason="PaddleNLP downloads")

    def offline(*args, **kwargs):
        assert kwargs["resume_download"]
        raise OSError("no network")

    monkeypatch.setattr(download, "resolve_file_path", offline)
    with pytest.raises(UserError) as error:
        efs.ErnieModel.from_pretrained("ernie-3.0-nano-zh")
    line = str(error.value)
    assert "ernie_3.0_nano_zh.pdparams" in line and "model_state.pdparams" in line and "\n" not in line


def test_published_name_with_a_download(monkeypatch, tmp_path):
    download = pytest.importorskip("paddlenlp.utils.download", reason="PaddleNLP downloads")
    name = "ernie-3.0-tiny-pico-v2-zh"
    config = efs.ErnieConfig.preset(name)
    model = efs.ErnieModel(config)
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(
        download, "resolve_file_path", lambda *args, **kwargs: str(tmp_path / "model_state.pdparams")
    )
    again = efs.ErnieModel.from_pretrained(name)
    assert again.config == config and largest_difference(outputs(again), outputs(model)) == 0


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, with an ETag as Paddle's storage gives it."""

    def end_headers(self):
        file = Path(self.translate_path(self.path))
        self.send_header("ETag", f'"{self.server.etag or hashlib.md5(file.read_bytes()).hexdigest()}"')
        super().end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    handler = functools.partial(_Server, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.etag = None
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def test_a_download_is_compared_with_the_servers_checksum(server, monkeypatch, tmp_path):
    resources = pytest.importorskip(
        "paddlenlp.transformers.ernie.configuration", reason="PaddleNLP downloads"
    )
    pytest.importorskip("paddlenlp.utils.download")
    storage = sys.modules["paddlenlp.utils.download.bos_download"]
    monkeypatch.setattr(storage, "MODEL_HOME", str(tmp_path / "cache"))
    name = "ernie-3.0-tiny-pico-v2-zh"
    model = efs.ErnieModel(efs.ErnieConfig.preset(name))
    model.save_pretrained(tmp_path / "there")
    url = f"http://127.0.0.1:{server.server_address[1]}/there/model_state.pdparams"
    monkeypatch.setitem(resources.ERNIE_PRETRAINED_RESOURCE_FILES_MAP["model_state"], name, url)
    config, path = published.fetch(efs.ErnieConfig, name)
    assert path.read_bytes() == (tmp_path / "there" / "model_state.pdparams").read_bytes()
    assert path.with_name(path.name + ".md5").exists() and config == model.config

    path.with_name(path.name + ".md5").unlink()
    server.etag = "0" * 32
    with pytest.raises(UserError, match="damaged download.*try again"):
        published.check_download(path, url)
    assert not path.exists()
    assert published.announced_md5("http://127.0.0.1:9/nothing") is None


def test_names_that_are_neither_folder_nor_published(monkeypatch):
    with pytest.raises(UserError, match="no such folder: runs/none"):
        published.fetch(efs.ErnieConfig, "runs/none")
    monkeypatch.setitem(sys.modules, "paddlenlp", None)
    monkeypatch.setitem(sys.modules, "paddlenlp.transformers.ernie", None)
    with pytest.raises(UserError, match=r"ernie_from_scratch\[paddlenlp\]"):
        efs.ErnieModel.from_pretrained("ernie-1.0-base-zh")
