"""Prediction: beam search over [MASK] spans against exhaustive and greedy search, and text classification."""

import io
import itertools
import json
import sys

import numpy as np
import paddle
import pytest
from deployment_helpers import CLASSES, TOKENS, tiny_config, tiny_model, tiny_vocabulary, write_model

import ernie_from_scratch as efs
from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.folders import find_task
from ernie_from_scratch.deployment.pipelines.beam_search import fill_spans, mask_spans
from ernie_from_scratch.deployment.tasks import STRATEGIES
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

TOKENIZER = ErnieTokenizer(tiny_vocabulary())
MASK_ID, SPECIAL = TOKENIZER.vocabulary.mask_id, set(range(5))
WORDS = [i for i in range(len(TOKENS)) if i not in SPECIAL]
TEXTS = [
    "[MASK][MASK]是我的车。",
    "我的[MASK]很[MASK]，你的书很好。",
    "一二三[MASK]五六七八九十，[MASK][MASK]，他的菜很美。",
    "书[MASK]",
]


@pytest.fixture(scope="module")
def model():
    return tiny_model("pretraining", seed=3)


def probabilities(model, ids):
    """Softmax over the vocabulary at every position of one row, without batching: [L, V] float64."""
    with paddle.no_grad():
        scores, _ = model(paddle.to_tensor([ids]))
    scores = scores[0].numpy().astype("float64")
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def masked_row(text):
    ids = TOKENIZER.encode(text)["input_ids"]
    return ids, [position for position, token in enumerate(ids) if token == MASK_ID]


def exhaustive(model, text, strategy):
    """Every filling of the masks with its probability, best first (all at once, and left to right)."""
    ids, positions = masked_row(text)
    found = []
    for tokens in itertools.product(WORDS, repeat=len(positions)):
        row, score = list(ids), 1.0
        for position, token in zip(positions, tokens, strict=True):
            score *= cached(model, tuple(row))[position, token]
            if strategy == "left_to_right":
                row[position] = token
        found.append((score, tokens))
    return sorted(found, key=lambda pair: -pair[0])


CACHE = {}


def cached(model, row):
    if row not in CACHE:
        CACHE[row] = probabilities(model, list(row))
    return CACHE[row]


@pytest.mark.parametrize("strategy", ["all_at_once", "left_to_right"])
@pytest.mark.parametrize("text", TEXTS[:2])
def test_a_wide_beam_equals_exhaustive_search(model, text, strategy):
    expected = exhaustive(model, text, strategy)
    found = fill_spans(model, TOKENIZER, [text], strategy=strategy, beam_size=len(WORDS))[0]
    assert [filling.token_ids for filling in found[:10]] == [tokens for _, tokens in expected[:10]]
    assert [filling.score for filling in found[:10]] == pytest.approx(
        [score for score, _ in expected[:10]], rel=1e-4
    )


def test_all_at_once_is_exact_for_any_beam_size(model):
    expected = exhaustive(model, TEXTS[1], "all_at_once")
    found = fill_spans(model, TOKENIZER, [TEXTS[1]], strategy="all_at_once", beam_size=7)[0]
    assert [filling.token_ids for filling in found] == [tokens for _, tokens in expected[:7]]


@pytest.mark.parametrize("strategy", ["left_to_right", "most_confident"])
@pytest.mark.parametrize("text", TEXTS)
def test_greedy_search_equals_a_plain_loop(model, text, strategy):
    ids, positions = masked_row(text)
    scores = {}
    while len(scores) < len(positions):
        table = probabilities(model, ids)
        rest = [position for position in positions if position not in scores]
        best = {position: max(WORDS, key=lambda token, p=position: table[p, token]) for position in rest}
        position = rest[0] if strategy == "left_to_right" else max(rest, key=lambda p: table[p, best[p]])
        ids[position], scores[position] = best[position], table[position, best[position]]
    found = fill_spans(model, TOKENIZER, [text], strategy=strategy, beam_size=1)[0]
    assert len(found) == 1 and found[0].token_ids == tuple(ids[position] for position in positions)
    assert found[0].token_scores == pytest.approx([scores[position] for position in positions], rel=1e-4)
    assert found[0].score == pytest.approx(np.prod(list(scores.values())), rel=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_batches_change_nothing(model, strategy):
    texts = TEXTS * 3
    together = fill_spans(model, TOKENIZER, texts, strategy=strategy, beam_size=4, batch_size=64)
    alone = [fill_spans(model, TOKENIZER, [text], strategy=strategy, beam_size=4)[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert [f.token_ids for f in one] == [f.token_ids for f in other]
        assert [f.score for f in one] == pytest.approx([f.score for f in other], rel=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fillings_are_ranked_distinct_and_without_special_tokens(model, strategy):
    for fillings in fill_spans(model, TOKENIZER, TEXTS, strategy=strategy, beam_size=12):
        scores = [filling.score for filling in fillings]
        assert len(fillings) == 12 and scores == sorted(scores, reverse=True)
        assert len({filling.token_ids for filling in fillings}) == 12
        for filling in fillings:
            assert not SPECIAL & set(filling.token_ids)
            assert filling.score == pytest.approx(np.prod(filling.token_scores), rel=1e-5)


def test_a_wider_beam_never_finds_less(model):
    best = [fill_spans(model, TOKENIZER, [TEXTS[2]], beam_size=beam)[0][0].score for beam in (1, 3, 30)]
    assert best[0] <= best[1] * (1 + 1e-5) <= best[2] * (1 + 1e-4)


def test_spans_of_characters_become_masks(model):
    text = "我的好菜很美"
    assert mask_spans(text, [(2, 4), (5, 6)], TOKENIZER) == "我的[MASK][MASK]很[MASK]"
    hidden = fill_spans(model, TOKENIZER, [text], spans=[[(5, 6), (2, 4)]])[0]
    written = fill_spans(model, TOKENIZER, ["我的[MASK][MASK]很[MASK]"])[0]
    assert hidden == written and hidden[0].span_lengths == (2, 1)
    assert hidden[0].spans == [hidden[0].token_ids[:2], hidden[0].token_ids[2:]]


def test_the_training_mode_is_kept_and_dropout_is_off(model):
    before = fill_spans(model, TOKENIZER, TEXTS)
    model.train()
    assert fill_spans(model, TOKENIZER, TEXTS) == before and model.training
    model.eval()


@pytest.mark.parametrize("call, message", [
    (dict(texts=["我的车"]), "no \\[MASK\\]"),
    (dict(texts=["[MASK]"], strategy="best"), "left_to_right"),
    (dict(texts=["[MASK]"], beam_size=0), "beam_size"),
    (dict(texts=["车" * 70 + "[MASK]"], max_seq_len=64), "beyond 64 tokens"),
])  # fmt: skip
def test_errors_of_fill_spans(model, call, message):
    with pytest.raises(UserError, match=message):
        fill_spans(model, TOKENIZER, **call)


# pipelines


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    labels = {0: "差评", 1: "中评", 2: "好评"}
    write_model(root / "classifier", "text-classification", seed=4, num_labels=3, id2label=labels)
    write_model(root / "filler", "pretraining", seed=3)
    return root


def test_fill_mask_answers(folders, model):
    pipe = efs.pipeline("fill-mask", model=folders / "filler")
    answers = pipe(TEXTS[1], top_k=3)
    expected = fill_spans(model, TOKENIZER, [TEXTS[1]], beam_size=5)[0]
    assert [answer["score"] for answer in answers] == pytest.approx([f.score for f in expected[:3]], rel=1e-5)
    first = answers[0]
    a, b = first["spans"]
    assert first["tokens"] == [a, b] and first["token_str"] == f"{a} … {b}"
    assert first["sequence"] == f"我的{a}很{b}，你的书很好。"
    assert [TOKENS.index(token) for token in first["tokens"]] == list(expected[0].token_ids)
    one = pipe("[MASK] [MASK]是我的车。", top_k=1)[0]
    assert len(one["spans"]) == 1 and one["token_str"] == "".join(one["tokens"])
    assert one["sequence"] == one["token_str"] + "是我的车。"
    assert len(pipe(TEXTS[0])) == 5 and len(pipe(TEXTS[0], top_k=9)) == 9


def test_a_list_gives_a_list_in_order(folders):
    pipe = efs.pipeline(model=folders / "filler")
    assert pipe.task == "fill-mask"
    assert [answers[0]["sequence"] for answers in pipe(TEXTS)] == [
        pipe(text)[0]["sequence"] for text in TEXTS
    ]
    assert pipe([]) == []


def test_classification_equals_the_softmax_of_the_model(folders):
    pipe = efs.pipeline("text-classification", model=folders / "classifier")
    texts = [
        "我的车很好。",
        ("书", "你的菜很丑，他的房很美"),
        {"text": "一二三四五六七八九十", "text_pair": None},
        "菜",
    ]
    answers = pipe(texts, top_k=None)
    network = efs.ErnieForSequenceClassification.from_pretrained(folders / "classifier")
    network.eval()
    for text, answer in zip(
        [("我的车很好。",), texts[1], ("一二三四五六七八九十",), ("菜",)], answers, strict=True
    ):
        row = TOKENIZER.encode(*text)
        logits = network(paddle.to_tensor([row["input_ids"]]), paddle.to_tensor([row["token_type_ids"]]))
        expected = dict(
            zip(["差评", "中评", "好评"], paddle.nn.functional.softmax(logits)[0].tolist(), strict=True)
        )
        assert {entry["label"]: entry["score"] for entry in answer} == pytest.approx(expected, abs=1e-5)
        assert answer == sorted(answer, key=lambda entry: -entry["score"])
    assert pipe(texts) == [answer[0] for answer in answers]
    assert [entry["label"] for entry in pipe(texts[0], top_k=2)] == [
        entry["label"] for entry in answers[0][:2]
    ]


def test_the_task_is_found_from_the_config_or_the_weights(tmp_path):
    for kind, task in (
        ("pretraining", "fill-mask"),
        ("fill-mask", "fill-mask"),
        ("text-classification",) * 2,
    ):
        config = write_model(tmp_path / kind, kind) / "config.json"
        assert find_task(tmp_path / kind).name == task
        values = json.loads(config.read_text())
        assert values.pop("architectures") == [CLASSES[kind].__name__]
        config.write_text(json.dumps(values))
        assert find_task(tmp_path / kind).name == task
        config.write_text(json.dumps({**values, "architectures": ["ErnieForTokenClassification"]}))
        with pytest.raises(UserError, match="ErnieForTokenClassification"):
            find_task(tmp_path / kind)
    network = efs.ErnieModel(tiny_config())
    network.save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match="no head for"):
        find_task(tmp_path / "bare")


def test_labels_without_names_are_numbers(tmp_path):
    write_model(tmp_path, "text-classification", num_labels=4)
    assert {entry["label"] for entry in efs.pipeline(model=tmp_path)("车", top_k=None)} == {
        "0",
        "1",
        "2",
        "3",
    }


@pytest.mark.parametrize("call, message", [
    (dict(task="summarization"), "fill-mask, |text-classification"),
    (dict(model="missing"), "no such model folder"),
    (dict(model=None), "no model"),
    (dict(backend="tensorrt"), "unknown backend"),
    (dict(backend="onnxruntime"), "ernie export"),
    (dict(max_seq_len=65), "64 positions"),
    (dict(task="fill-mask"), "has a head for text-classification"),
])  # fmt: skip
def test_errors_of_pipeline(folders, call, message):
    with pytest.raises(UserError, match=message):
        efs.pipeline(**{"model": folders / "classifier", **call})


def test_a_folder_without_weights_or_vocabulary(folders, tmp_path):
    write_model(tmp_path / "a", "text-classification")
    (tmp_path / "a" / "vocab.txt").unlink()
    write_model(tmp_path / "b", "text-classification")
    (tmp_path / "b" / "model_state.pdparams").unlink()
    for name, missing in (("a", "vocab"), ("b", "model_state|weights")):
        with pytest.raises(UserError, match=missing):
            efs.pipeline(model=tmp_path / name)


@pytest.mark.parametrize("text", ["", "  ", None, 7, ("a", "b", "c"), ["x", "y"]])
def test_inputs_that_are_not_texts(folders, text):
    pipe = efs.pipeline(model=folders / "filler")
    with pytest.raises(UserError, match="not a text"):
        pipe([text])
    with pytest.raises(UserError, match="top_k"):
        pipe("[MASK]", top_k=0)


# ernie predict


def printed(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_command(folders, tmp_path, capsys, monkeypatch):
    model = str(folders / "classifier")
    assert main(["predict", "--model", model, "我的车很好。", "书\t菜"]) == 0
    rows = printed(capsys)
    assert [row["text"] for row in rows] == ["我的车很好。", ["书", "菜"]]
    assert all(row["predictions"][0]["label"] in ("差评", "中评", "好评") for row in rows)
    (tmp_path / "in.txt").write_text("我的车很好。\n\n书\t菜\n", encoding="utf-8")
    assert main(["predict", "--model", model, "--input", str(tmp_path / "in.txt")]) == 0
    assert printed(capsys) == rows
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("[MASK]的车\n".encode())))
    assert (
        main(["predict", "--model", str(folders / "filler"), "--top_k", "2", "--strategy", "all_at_once"])
        == 0
    )
    assert len(printed(capsys)[0]["predictions"]) == 2


@pytest.mark.parametrize("flags, message", [
    (["--input", "{tmp}/none.txt"], "no such file"),
    (["--input", "{tmp}/empty.txt"], "is empty"),
    (["--input", "{tmp}/gbk.txt"], "not UTF-8"),
    (["--input", "{tmp}/empty.txt", "车"], "keep one"),
    (["--strategy", "all_at_once", "车"], "for fill-mask"),
    (["--backend", "openvin", "车"], "openvino"),
])  # fmt: skip
def test_errors_of_predict(folders, tmp_path, capsys, flags, message):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "gbk.txt").write_bytes("我的车".encode("gbk"))
    flags = [flag.replace("{tmp}", str(tmp_path)) for flag in flags]
    assert main(["predict", "--model", str(folders / "classifier"), *flags]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: ") and message in error[0]
