"""A model family of its own, defined here, goes from pretraining to the server with one `register` call.

This file is what a new family is: a configuration, a backbone and heads. No file of the package knows it.
"""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import paddle
import pytest
from paddle import nn
from small_corpus import NETWORK, make_corpus, run_settings

import ernie_from_scratch as efs
from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import CONFIG_CLASSES, EncoderConfig, UserError
from ernie_from_scratch.deployment.export import export
from ernie_from_scratch.finetuning.evaluation import evaluate
from ernie_from_scratch.finetuning.finetune import finetune
from ernie_from_scratch.models.encoder import ErnieEncoder
from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.initialization import normal_weights
from ernie_from_scratch.models.layers import Dropout, LayerNorm
from ernie_from_scratch.models.pooler import ErniePooler
from ernie_from_scratch.models.pretrained import PretrainedModel
from ernie_from_scratch.models.pretraining import ErnieForMaskedLM, ErnieForPretraining
from ernie_from_scratch.models.registry import FAMILIES, ModelFamily, class_of_folder, register
from ernie_from_scratch.models.tasks import ErnieForSequenceClassification
from ernie_from_scratch.text.tokenizers.auto import load_tokenizer
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import pretrain

TASKS = Path(__file__).parents[1] / "data" / "tasks" / "sentiment"
TEXTS = ["房间干净，服务也很周到。", "菜凉了，味道也差，再也不来了。", "一般。"]
MASKED = ["[MASK][MASK]是黑龙江的省会", "哈尔滨是[MASK]龙江的省会。"]


@dataclass
class DummyConfig(EncoderConfig):
    """Positions are waves, whose height is a field that no other family has."""

    type_vocab_size: int = 0
    wave_height: float = 0.1

    MODEL_TYPE: ClassVar[str] = "dummy"


DummyConfig.PRESETS = {"dummy-tiny": {"num_hidden_layers": 2, **NETWORK}}


class DummyEmbeddings(nn.Layer):
    """Words plus waves: no token types, no learned positions."""

    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(
            config.vocab_size,
            config.hidden_size,
            padding_idx=config.pad_token_id,
            weight_attr=normal_weights(config),
        )
        self.norm = LayerNorm(config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        angles = np.arange(config.max_position_embeddings)[:, None] / 1.5 ** np.arange(config.hidden_size)
        waves = (config.wave_height * np.sin(angles)).astype("float32")
        self.register_buffer("waves", paddle.to_tensor(waves), persistable=False)  # [positions, H]

    def forward(self, input_ids):
        states = self.word_embeddings(input_ids) + self.waves[: input_ids.shape[1]]  # [B, L, H]
        return self.dropout(self.norm(states))


class OfDummies:
    """What the classes of a family have in common."""

    config_class = DummyConfig
    base_name = "dummy"


class DummyModel(OfDummies, ErnieModel):
    def __init__(self, config):
        PretrainedModel.__init__(self, config)
        self.embeddings, self.encoder = DummyEmbeddings(config), ErnieEncoder(config)
        self.pooler = ErniePooler(config)

    def embed(self, batch):
        return self.embeddings(batch["input_ids"])


class DummyForPretraining(OfDummies, ErnieForPretraining):
    backbone_class = DummyModel


class DummyForMaskedLM(OfDummies, ErnieForMaskedLM):
    backbone_class = DummyModel


class DummyForSequenceClassification(OfDummies, ErnieForSequenceClassification):
    backbone_class = DummyModel


@pytest.fixture(scope="module", autouse=True)
def family():
    heads = {
        "pretraining": DummyForPretraining,
        "masked-lm": DummyForMaskedLM,
        "sequence-classification": DummyForSequenceClassification,
    }
    yield register(ModelFamily("dummy", DummyConfig, DummyModel, heads))
    del FAMILIES["dummy"], CONFIG_CLASSES["dummy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared corpus, and the first examples of a task."""
    folder = tmp_path_factory.mktemp("dummy")
    make_corpus(folder)
    size = len(Vocabulary.load(folder / "vocab.txt"))
    DummyConfig.preset("dummy-tiny", vocab_size=size, wave_height=0.2).save(folder)
    for name, count in (("train", 64), ("dev", 24)):
        with open(TASKS / f"{name}.tsv", encoding="utf-8") as lines:
            (folder / f"{name}.tsv").write_text("".join(islice(lines, count + 1)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pretrained(folder):
    """The model folder of a pretraining run."""
    assert pretrain(run_settings(folder / "facts", folder / "run", model_type="dummy"), quiet=True).finished
    return folder / "run" / "final"


@pytest.fixture(scope="module")
def finetuned(folder, pretrained):
    """(model folder, results) of a fine-tuning run."""
    values = dict(train=str(folder / "train.tsv"), dev=str(folder / "dev.tsv"), num_train_epochs=2)
    output = folder / "classifier"
    results = finetune(
        model_name_or_path=str(pretrained), output_dir=str(output), batch_size=16, learning_rate=1e-3,
        max_seq_len=48, quiet=True, **values,
    )  # fmt: skip
    return output, results


def test_it_pretrains(folder, pretrained):
    rows = [row for row in read_metrics(folder / "run" / "metrics.jsonl") if "eval" not in row]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12] and rows[-1]["lm_loss"] < rows[0]["lm_loss"]
    assert class_of_folder(pretrained) is DummyForPretraining
    model = DummyForPretraining.from_pretrained(pretrained)
    assert model.config.wave_height == 0.2 and model.config.num_hidden_layers == 2
    assert "dummy.embeddings.word_embeddings.weight" in model.state_dict()


def test_its_pretraining_resumes(folder, tmp_path):
    values = dict(model_type="dummy", eval_freq=0)
    pretrain(run_settings(folder / "facts", tmp_path / "straight", **values), quiet=True)
    settings = run_settings(folder / "facts", tmp_path / "run", **values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ernie_from_scratch.training.trainer.StopRequest", StopAtOnce)
        assert pretrain(settings, quiet=True).step == 1
    assert pretrain(settings, quiet=True).finished
    first, second = (
        paddle.load(str(tmp_path / name / "final" / "model_state.pdparams")) for name in ("straight", "run")
    )
    assert all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)


class StopAtOnce:
    """As if SIGTERM came in the first step."""

    requested = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_the_command_takes_it(folder, tmp_path, capsys):
    flags = [
        *("--input_dir", str(folder / "facts"), "--config_name", "dummy-tiny", "--max_seq_len", "32"),
        *("--split", "80,10,10", "--max_steps", "1", "--eval_iters", "1", "--device", "cpu"),
    ]
    assert main(["pretrain", "--model_type", "dummy", "--output_dir", str(tmp_path / "run"), *flags]) == 0
    assert json.loads((tmp_path / "run" / "final" / "config.json").read_text())["model_type"] == "dummy"
    capsys.readouterr()
    for wanted, message in (
        ("dumy", "unknown model_type: dumy; did you mean dummy?"),
        ("ernie", "--model_type ernie: dummy-tiny is of type dummy; give --model_type dummy"),
    ):
        assert main(["pretrain", "--model_type", wanted, "--output_dir", str(tmp_path / "no"), *flags]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_head_that_it_has_not_is_refused(pretrained):
    with pytest.raises(UserError, match="no token-classification head: model_type dummy has heads for pretr"):
        FAMILIES["dummy"].head("token-classification")


def test_it_finetunes_and_evaluates(folder, finetuned):
    output, results = finetuned
    assert class_of_folder(output) is DummyForSequenceClassification and results["labels"] == ["0", "1"]
    losses = [row["loss"] for row in read_metrics(output / "metrics.jsonl") if "eval" not in row]
    assert np.isfinite(losses).all() and results["train_examples"] == 64
    assert evaluate(output, folder / "dev.tsv", max_seq_len=48) == pytest.approx(
        {"examples": 24, **results["dev"]}, rel=1e-5
    )


@pytest.fixture(scope="module")
def exports(folder, pretrained, finetuned):
    """Folders by (task, format)."""
    found = {}
    for task, model in (("fill-mask", pretrained), ("text-classification", finetuned[0])):
        found[task, None] = model
        for format in ("paddle", "onnx"):
            if format == "onnx":
                pytest.importorskip("paddle2onnx")
            found[task, format] = folder / f"{task}-{format}"
            record = export(model, found[task, format], format, quiet=True)
            assert record["task"] == task and record["max_difference"] < 1e-3
    return found


@pytest.mark.parametrize(
    "backend, format", [("paddle_inference", "paddle"), ("onnxruntime", "onnx"), ("openvino", "onnx")]
)
@pytest.mark.parametrize("task, texts", [("fill-mask", MASKED), ("text-classification", TEXTS)])
def test_exports_answer_as_the_network(exports, task, texts, backend, format):
    pytest.importorskip({"paddle_inference": "paddle"}.get(backend, backend))
    expected = efs.pipeline(model=exports[task, None], backend="paddle")(texts, top_k=2)
    found = efs.pipeline(model=exports[task, format], backend=backend)(texts, top_k=2)
    for answers, there in zip(found, expected, strict=True):
        for answer, wanted in zip(answers, there, strict=True):
            assert answer.keys() == wanted.keys()
            for name, value in wanted.items():
                assert answer[name] == (pytest.approx(value, abs=1e-3) if "score" in name else value), name


def test_scores_are_those_of_the_network(finetuned):
    """The pipeline's answer against the class called by hand."""
    output, _ = finetuned
    model, tokenizer = DummyForSequenceClassification.from_pretrained(output), load_tokenizer(output)
    model.eval()
    logits = model(paddle.to_tensor([tokenizer.encode(TEXTS[0])["input_ids"]]))
    expected = paddle.nn.functional.softmax(logits).numpy()[0].max()
    assert efs.pipeline(model=output)(TEXTS[0])["score"] == pytest.approx(float(expected), abs=1e-5)


def test_it_is_served(exports):
    pytest.importorskip("fastapi")
    client_module = pytest.importorskip("fastapi.testclient")
    from ernie_from_scratch.deployment.server.app import create_app

    pipe = efs.pipeline(model=exports["text-classification", "onnx"], backend="onnxruntime")
    with client_module.TestClient(create_app(pipe, "dummy")) as client:
        assert client.get("/health").json()["labels"] == ["0", "1"]
        answer = client.post("/predict", json={"text": TEXTS[0]}).json()
    expected = efs.pipeline(model=exports["text-classification", None])(TEXTS[0])
    best = answer["predictions"][0][0]
    assert answer["task"] == "text-classification" and best["label"] == expected["label"]
    assert best["score"] == pytest.approx(expected["score"], abs=1e-3)
