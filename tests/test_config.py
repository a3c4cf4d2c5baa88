"""Presets equal PaddleNLP's table; files and dicts are read strictly, and mistakes are named."""

import dataclasses
import json

import pytest

from ernie_from_scratch.config import ErnieConfig, UserError

FIELDS = [field.name for field in dataclasses.fields(ErnieConfig)]


@pytest.mark.parametrize("name", [name for name in ErnieConfig.preset_names() if name != "tiny"])
def test_presets_equal_paddlenlps_table(name):
    pytest.importorskip("paddlenlp", reason="PaddleNLP's table is the reference")
    from paddlenlp.transformers.ernie import configuration as published

    theirs = published.ErnieConfig(**published.ERNIE_PRETRAINED_INIT_CONFIGURATION[name])
    ours = ErnieConfig.preset(name)
    for field in FIELDS:
        if field not in ("id2label", "enable_recompute", "pack_rows"):  # invented labels; ours alone
            assert getattr(ours, field) == getattr(theirs, field), field


def test_issue_lists_these_presets():
    sizes = ["base", "medium", "mini", "micro", "nano"]
    wanted = ["tiny", "ernie-1.0-base-zh", "ernie-1.0-base-zh-cw", "ernie-1.0-large-zh-cw"]
    wanted += ["ernie-2.0-base-en", "ernie-2.0-large-en", "ernie-3.0-xbase-zh", "ernie-3.0-tiny-pico-v2-zh"]
    wanted += [f"ernie-3.0-{size}-zh" for size in sizes] + [f"ernie-3.0-tiny-{size}-v2-zh" for size in sizes]
    assert set(wanted) <= set(ErnieConfig.preset_names())
    pico = ErnieConfig.preset("ernie-3.0-tiny-pico-v2-zh")
    assert (pico.num_hidden_layers, pico.hidden_size) == (3, 128)


def test_overrides_and_dict_round_trip():
    config = ErnieConfig.preset("tiny", vocab_size=99, hidden_dropout_prob=0)
    assert (config.vocab_size, config.num_hidden_layers, config.hidden_size) == (99, 2, 128)
    assert config.hidden_dropout_prob == 0.0 and isinstance(config.hidden_dropout_prob, float)
    assert ErnieConfig.from_dict(config.to_dict()) == config


def test_file_round_trip(tmp_path):
    config = ErnieConfig.preset("tiny", num_labels=3, id2label={0: "负", 1: "中", 2: "正"})
    path = config.save(tmp_path / "model", architectures=["ErnieModel"])
    assert ErnieConfig.from_file(path) == ErnieConfig.from_file(tmp_path / "model") == config
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]
    assert json.loads(path.read_text(encoding="utf-8"))["model_type"] == "ernie"


def test_paddlenlp_reads_our_file_and_we_read_theirs(tmp_path):
    pytest.importorskip("paddlenlp", reason="PaddleNLP writes and reads the file")
    from paddlenlp.transformers import ErnieConfig as TheirConfig

    config = ErnieConfig.preset("ernie-3.0-nano-zh", num_labels=7, classifier_dropout=0.3)
    config.save(tmp_path / "ours")
    theirs = TheirConfig.from_pretrained(str(tmp_path / "ours"))
    for field in FIELDS:
        if field != "id2label":
            assert getattr(theirs, field) == getattr(config, field), field
    theirs.save_pretrained(str(tmp_path / "theirs"))
    back = ErnieConfig.from_file(tmp_path / "theirs")
    assert back.id2label == {number: f"LABEL_{number}" for number in range(7)}
    assert dataclasses.replace(back, id2label=None) == config


def test_older_model_config(tmp_path):
    network = {"vocab_size": 60, "hidden_size": 12, "num_attention_heads": 3, "init_class": "ErnieModel"}
    nested = {"init_args": [network], "num_classes": 4, "init_class": "ErnieForSequenceClassification"}
    (tmp_path / "model_config.json").write_text(json.dumps(nested))
    config = ErnieConfig.from_file(tmp_path)
    assert (config.vocab_size, config.hidden_size, config.num_labels) == (60, 12, 4)
    (tmp_path / "model_config.json").write_text(json.dumps(nested | {"init_args": 5}))
    with pytest.raises(UserError, match="init_args"):
        ErnieConfig.from_file(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hiden_size": 8}, ["hiden_size", "did you mean hidden_size?"]),
        ({"hidden_size": "8"}, ["wrong type", "hidden_size", "give int"]),
        ({"use_task_id": 1}, ["use_task_id", "give bool"]),
        ({"vocab_size": True}, ["vocab_size", "give int"]),
        ({"hidden_size": 10, "num_attention_heads": 4}, ["10", "num_attention_heads 4"]),
        ({"hidden_dropout_prob": 1.5}, ["hidden_dropout_prob", "below 1"]),
        ({"num_hidden_layers": 0}, ["num_hidden_layers", "1 or more"]),
        ({"hidden_act": "glu"}, ["hidden_act", "known:", "gelu"]),
        ({"vocab_size": 5, "pad_token_id": 5}, ["pad_token_id 5", "vocab_size is 5"]),
    ],
)
def test_mistakes_are_named_in_one_line(values, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(values))
    for attempt in (lambda: ErnieConfig.from_dict(values), lambda: ErnieConfig.from_file(tmp_path)):
        with pytest.raises(UserError) as error:
            attempt()
        assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["not JSON"]),
        ("[]", ["a JSON object"]),
        ('{"model_type": "bert"}', ["model_type is bert"]),
        ('{"position_embedding_type": "relative_key"}', ["absolute"]),
        (None, ["no configuration"]),
    ],
)
def test_files_that_are_no_configuration(text, words, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError) as error:
        ErnieConfig.from_file(tmp_path)
    assert all(word in str(error.value) for word in words) and str(tmp_path) in str(error.value)


def test_unknown_preset():
    with pytest.raises(UserError, match="did you mean ernie-3.0-nano-zh"):
        ErnieConfig.preset("ernie-3.0-nano")
