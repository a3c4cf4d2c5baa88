"""Equal to Hugging Face's ERNIE in torch: outputs and gradients, folders both ways, and `ernie convert`."""

import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from models_helpers import EVERY_CASE, NO_DROPOUT, configs, ids, randomize  # noqa: E402

import ernie_from_scratch as efs  # noqa: E402
from ernie_from_scratch.weights.conversion import convert, write_model  # noqa: E402

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="torch is not installed (requirements-oracles.lock)")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements-oracles.lock)"
)
CLOSE = 1e-5
CLASSES = [
    "ErnieModel",
    "ErnieForPretraining",
    "ErnieForMaskedLM",
    "ErnieForSequenceClassification",
    "ErnieForTokenClassification",
    "ErnieForQuestionAnswering",
    "ErnieForMultipleChoice",
]


def their_class(name):
    return getattr(transformers, name.replace("ForPretraining", "ForPreTraining"))


def pair(name, config, rng, folder):
    """Our model with random weights, and theirs with the same, through a folder in their layout."""
    ours = getattr(efs, name)(config)
    randomize(ours, rng)
    write_model(ours, folder, "huggingface")
    theirs = their_class(name).from_pretrained(folder, attn_implementation="eager")
    return ours, theirs


def both_outputs(ours, theirs, inputs):
    ours.eval(), theirs.eval()
    mine = ours(**{name: paddle.to_tensor(value) for name, value in inputs.items()})
    with torch.no_grad():
        other = theirs(**{name: torch.from_numpy(value) for name, value in inputs.items()}, return_dict=False)
    mine = mine if isinstance(mine, tuple) else (mine,)
    return [m.numpy() for m in mine], [o.numpy() for o in other]


# Hugging Face always has token types, and knows no task but 0 unless task_type_ids are given.
WITH_TYPES = st.integers(1, 4).flatmap(lambda types: configs(type_vocab_size=types, task_id=0, **NO_DROPOUT))


@pytest.mark.parametrize("name", CLASSES)
@EVERY_CASE
@given(config=WITH_TYPES, seed=st.integers(0, 1000))
def test_outputs_are_equal(name, config, seed, tmp_path_factory):
    rng = np.random.default_rng(seed)
    ours, theirs = pair(name, config, rng, tmp_path_factory.mktemp("pair"))
    shape = (2, 2, 9) if name == "ErnieForMultipleChoice" else (3, 9)
    tokens = ids(rng, config, *shape, padded=True).numpy()
    seen = (tokens != config.pad_token_id).astype("int64")
    inputs = {
        "input_ids": tokens,
        "attention_mask": seen,
        "token_type_ids": rng.integers(0, config.type_vocab_size, shape),
    }
    if rng.random() < 0.5 and name != "ErnieForMultipleChoice":
        inputs["position_ids"] = rng.integers(0, config.max_position_embeddings, shape)
    mine, other = both_outputs(ours, theirs, inputs)
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        assert a.shape == b.shape
        if a.shape[:2] == (3, 9):  # padding has zeros as its vector here and in PaddleNLP, its own row there
            a, b = a[seen > 0], b[seen > 0]
        assert np.abs(a - b).max() <= CLOSE


@EVERY_CASE
@given(config=WITH_TYPES, seed=st.integers(0, 1000))
def test_loss_and_gradients_are_equal(config, seed, tmp_path_factory):
    rng = np.random.default_rng(seed)
    ours, theirs = pair("ErnieForPretraining", config, rng, tmp_path_factory.mktemp("pair"))
    tokens = ids(rng, config, 3, 8).numpy()
    labels = np.where(rng.random((3, 8)) < 0.5, tokens, -100)
    labels[0, 0] = 1
    order = rng.integers(0, 2, 3)
    ours.train(), theirs.train()
    loss = ours(
        paddle.to_tensor(tokens), labels=paddle.to_tensor(labels), next_sentence_label=paddle.to_tensor(order)
    )[0]
    loss.backward()
    their_loss = theirs(
        torch.from_numpy(tokens), labels=torch.from_numpy(labels), next_sentence_label=torch.from_numpy(order)
    ).loss
    their_loss.backward()
    assert float(loss) == pytest.approx(float(their_loss), abs=1e-5)
    from ernie_from_scratch.weights.names import from_huggingface

    found = {name: parameter.grad.numpy() for name, parameter in ours.named_parameters()}
    expected = from_huggingface({name: p.grad.numpy() for name, p in theirs.named_parameters()}, "ernie")
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    compared = 0
    for name, gradient in expected.items():
        if name in found:
            bound = 1e-4 * max(np.abs(gradient).max(), 1e-2 * largest)
            assert np.abs(found[name] - gradient).max() <= bound, name
            compared += 1
    assert compared >= len(found) - 1  # the decoder's bias has its other name


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("safetensors", [True, False])
def test_their_folders_load(name, safetensors, tmp_path):
    """Random weights of theirs, saved by them: model.safetensors, or pytorch_model.bin of torch.save."""
    config = transformers.ErnieConfig(
        vocab_size=50, hidden_size=12, num_attention_heads=3, num_hidden_layers=2, intermediate_size=20,
        max_position_embeddings=20, type_vocab_size=2, use_task_id=True,
        num_labels=2 if name == "ErnieForQuestionAnswering" else 3,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = their_class(name)(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    theirs.save_pretrained(tmp_path, safe_serialization=safetensors)
    assert (tmp_path / ("model.safetensors" if safetensors else "pytorch_model.bin")).is_file()
    ours = getattr(efs, name).from_pretrained(tmp_path)
    shape = (2, 3, 7) if name == "ErnieForMultipleChoice" else (2, 7)
    if name == "ErnieForMultipleChoice":
        ours.num_choices = 3
    tokens = np.random.default_rng(0).integers(1, 50, shape)
    mine, other = both_outputs(ours, theirs, {"input_ids": tokens})
    assert max(np.abs(a - b).max() for a, b in zip(mine, other, strict=True)) <= CLOSE


def test_convert_runs_both_toolkits(tmp_path):
    pytest.importorskip("paddlenlp", reason="PaddleNLP runs one of the sides")
    model = efs.ErnieForPretraining(efs.ErnieConfig.preset("tiny", vocab_size=60))
    randomize(model, np.random.default_rng(0))
    model.save_pretrained(tmp_path / "start")
    source, output, difference = convert(tmp_path / "start", tmp_path / "out", "huggingface")
    assert source.toolkit.startswith("paddlenlp") and output.toolkit.startswith("transformers")
    assert 0 < difference < 1e-4
    back, _, _ = convert(tmp_path / "out", tmp_path / "back", "paddlenlp")
    assert back.toolkit.startswith("transformers")
    again = efs.ErnieForPretraining.from_pretrained(tmp_path / "back")
    assert all((a == b).all() for a, b in zip(again.parameters(), model.parameters(), strict=True))
