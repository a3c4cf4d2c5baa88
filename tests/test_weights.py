"""Model folders: every class, PaddleNLP and Hugging Face, older names, and wrong tensors."""

import logging

import numpy as np
import paddle
import pytest
from models_helpers import CLASSES, SIZES, build, largest_difference, outputs

import ernie_from_scratch as efs
from ernie_from_scratch.config import UserError
from ernie_from_scratch.weights.files import read_weights
from ernie_from_scratch.weights.names import from_huggingface, static_names, to_huggingface
from ernie_from_scratch.weights.pretrained import numpy_weights


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


def test_backbone_is_loaded_into_other_models_and_the_log_names_the_heads(tmp_path, caplog):
    caplog.set_level(logging.INFO, "ernie_from_scratch")
    pretraining = build(efs.ErnieForPretraining)
    pretraining.save_pretrained(tmp_path / "pretraining")
    base = efs.ErnieModel.from_pretrained(tmp_path / "pretraining")
    assert "ignored: cls.predictions.decoder_bias" in caplog.text
    assert largest_difference(outputs(base), outputs(pretraining.ernie)) == 0
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
def test_errors_name_the_wrong_tensors(edit, words, tmp_path):
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


@pytest.mark.parametrize("cls", CLASSES)
def test_huggingface_names_are_invertible(cls):
    tensors = numpy_weights(build(cls).state_dict())
    there = to_huggingface(tensors, "ernie", question_answering=cls is efs.ErnieForQuestionAnswering)
    assert not any(name in there for name in tensors if "layer_norm" in name or "layers." in name)
    back = from_huggingface(there, "ernie")
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert set(back) == set(tensors) - tied
    assert all((back[name] == tensors[name]).all() for name in back)


def test_names_of_models_converted_from_tensorflow():
    found = from_huggingface(
        {"ernie.embeddings.LayerNorm.gamma": np.ones(3), "ernie.embeddings.position_ids": np.ones(2)}, "ernie"
    )
    assert list(found) == ["ernie.embeddings.layer_norm.weight"]


def test_names_in_static_graphs_are_those_of_paddlenlp():
    nlp = pytest.importorskip("paddlenlp.transformers", reason="PaddleNLP names the variables")
    for cls in CLASSES:
        model = build(cls)
        with paddle.utils.unique_name.guard():
            theirs = getattr(nlp, cls.__name__)(nlp.ErnieConfig(**{**SIZES, "num_hidden_layers": 2}))
        named = {name: parameter.name for name, parameter in theirs.state_dict().items()}
        for ours, variable in static_names(model).items():
            assert named[ours] == variable
