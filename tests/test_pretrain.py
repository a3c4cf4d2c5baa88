"""`ernie pretrain` accepts the command lines that PaddleNLP and ERNIE's hybrid-parallel script publish."""

import json
import shlex

import numpy as np
import paddle
import pytest
import yaml
from small_corpus import NETWORK, make_corpus, run_settings

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.commands.pretrain import SETTINGS
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import build_model
from ernie_from_scratch.training.settings import PretrainSettings
from ernie_from_scratch.utils.command_line import parse

PADDLENLP = """--model_type ernie --model_name_or_path {X} --tokenizer_name_or_path {X} --input_dir {D} --output_dir {O}
    --split 949,50,1 --max_seq_len 512 --micro_batch_size 32 --global_batch_size 128 --sharding_degree 1 --dp_degree 4
    --use_sharding false --use_amp true --fp16_opt_level O2 --use_recompute false --max_lr 0.0001 --min_lr 0.00001
    --max_steps 200000 --save_steps 100000 --checkpoint_steps 5000 --decay_steps 1980000 --weight_decay 0.01
    --warmup_rate 0.01 --grad_clip 1.0 --num_workers 2 --logging_freq 20 --eval_freq 1000 --device gpu
    --share_folder false --continue_training true"""
HYBRID = """--global_bsz 64 --micro_bsz 1 --max_seq_len 512 --ernie_config_file {F} --learning_rate 1e-4 --log_steps 1
    --num_train_steps 1000000 --save_steps 100000 --output_dir {O} --use_recompute true --use_sharding true
    --use_sop false --num_mp=2 --num_sharding=2 --num_pp=2 --num_dp=1"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """D a folder with the corpus `facts`, X a model folder with 512 positions, F a config file in ERNIE's own keys."""
    folder = tmp_path_factory.mktemp("place")
    make_corpus(folder)
    size = len(Vocabulary.load(folder / "vocab.txt"))
    network = {**NETWORK, "max_position_embeddings": 512, "vocab_size": size}
    paddle.seed(7)
    model = ErnieForPretraining(ErnieConfig.preset("tiny", **network))
    model.save_pretrained(folder / "X", vocab_file=folder / "vocab.txt")
    keys = {"num_hidden_layers": 1, "sent_type_vocab_size": 4, "hidden_act": "relu", **network}
    (folder / "base.json").write_text(json.dumps(keys))
    return folder


def words(line, place, output, **changes):
    """The command line with `changes`, each a flag's new value."""
    text = line.format(X=place / "X", D=place, O=output, F=place / "base.json").replace("=", " ")
    found = shlex.split(text)
    for name, value in changes.items():
        found[found.index(f"--{name}") + 1] = str(value)
    return ["pretrain", *found]


def settings_of(*flags):
    return parse("ernie pretrain", "", SETTINGS, flags)[0]


def test_every_flag_has_its_meaning(place):
    values = vars(settings_of(*words(PADDLENLP, place, "out")[1:]))
    expected = yaml.safe_load(
        """{model_type: ernie, split: "949,50,1", max_seq_len: 512, micro_batch_size: 32, global_batch_size: 128,
        sharding_degree: 1, dp_degree: 4, use_sharding: false, use_amp: true, fp16_opt_level: O2,
        use_recompute: false, max_lr: 0.0001, min_lr: 0.00001, max_steps: 200000, save_steps: 100000,
        checkpoint_steps: 5000, decay_steps: 1980000, weight_decay: 0.01, warmup_rate: 0.01, grad_clip: 1.0,
        num_workers: 2, logging_freq: 20, eval_freq: 1000, device: gpu, share_folder: false,
        continue_training: true}"""
    )
    assert {name: values[name] for name in expected} == expected
    values = vars(settings_of(*words(HYBRID, place, "out")[1:]))
    expected = dict(
        global_batch_size=64, micro_batch_size=1, max_lr=1e-4, logging_freq=1, max_steps=1_000_000
    )
    expected |= dict(use_recompute=True, use_sharding=True, use_sop=False)
    expected |= dict(mp_degree=2, sharding_degree=2, pp_degree=2, dp_degree=1)
    assert {name: values[name] for name in expected} == expected


def test_warm_up_is_a_share_of_max_steps():
    """PaddleNLP's: 2,000 steps of the published 200,000, however far decay_steps lies beyond."""
    assert PretrainSettings(max_steps=200_000, decay_steps=1_980_000, warmup_rate=0.01).warmup_steps == 2000


@pytest.mark.parametrize("text", ["False", "false", "no", "0"])
def test_false_is_false(text):
    assert settings_of("--continue_training", text).continue_training is False
    assert settings_of("--use_amp", text, "--to_static").use_amp is False


def test_a_bare_boolean_is_true():
    bare = settings_of("--use_amp", "--continue_training", "--use_recompute", "--to_static")
    assert bare.use_amp and bare.continue_training and bare.use_recompute and bare.to_static


@pytest.mark.parametrize(("line", "count"), [(PADDLENLP, 4), (HYBRID, 8)])
def test_as_published_says_which_degrees_work(place, tmp_path, capsys, line, count):
    more = ["--input_dir", str(place)] if line is HYBRID else []
    assert main([*words(line, place, tmp_path / "out"), *more]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and f"asks for {count} processes and there is 1" in lines[0]
    assert f"--nproc {count}; or leave every degree 1" in lines[0] and not (tmp_path / "out").exists()


def test_paddlenlp_line_runs(place, tmp_path, capfd):
    out = tmp_path / "out"
    changes = dict(dp_degree=1, max_steps=2, logging_freq=1, device="cpu")
    assert main(words(PADDLENLP, place, out, **changes)) == 0
    log = capfd.readouterr().err
    assert log.count("mixed precision has no effect") == 1
    rows = [row for row in read_metrics(out / "metrics.jsonl") if "eval" not in row]
    assert [row["step"] for row in rows] == [1, 2] and rows[0]["sop_loss"] > 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["global_batch_size"] == 128 and config["dp_degree"] == 1
    assert ErnieForPretraining.from_pretrained(str(out / "final")).config.hidden_size == 32


def test_hybrid_line_runs(place, tmp_path):
    out = tmp_path / "out"
    changes = dict(num_mp=1, num_sharding=1, num_pp=1, num_train_steps=2)
    assert main([*words(HYBRID, place, out, **changes), "--input_dir", str(place), "--device", "cpu"]) == 0
    rows = [row for row in read_metrics(out / "metrics.jsonl") if "eval" not in row]
    assert [row["step"] for row in rows] == [1, 2]
    assert all("sop_loss" not in row and row["loss"] == row["lm_loss"] > 0 for row in rows)
    config = ErnieForPretraining.from_pretrained(str(out / "final")).config
    assert config.type_vocab_size == 4
    kept = yaml.safe_load((out / "config.yaml").read_text())
    assert kept["sentence_pairs"] == "none" and kept["use_recompute"] is True


def test_continue_training_decides_about_the_weights(place):
    vocabulary = Vocabulary.load(place / "X")
    start = ErnieForPretraining.from_pretrained(str(place / "X"))
    name = "ernie.encoder.layers.0.linear1.weight"

    def weights(**changes):
        paddle.seed(1)
        settings = PretrainSettings(model_name_or_path=str(place / "X"), **changes)
        return build_model(settings, vocabulary).state_dict()[name].numpy()

    there = start.state_dict()[name].numpy()
    assert np.array_equal(weights(continue_training=True), there) and np.array_equal(weights(), there)
    assert not np.allclose(weights(continue_training=False), there)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(continue_training=True), "give --model_name_or_path"),
        (dict(use_sop=False, sentence_pairs="nsp"), "contradict"),
        (dict(to_static=True, use_recompute=True), "drop one"),
        (dict(max_seq_len=4096), "64 positions"),
        (dict(device="tpu"), "--device cpu"),
        (dict(warmup_rate=0.9, decay_steps=3), "does not end before"),
    ],
)
def test_refusals_leave_no_folder(place, tmp_path, changes, message):
    from ernie_from_scratch.training.pretrain import pretrain

    with pytest.raises(UserError, match=message):
        pretrain(run_settings(place / "facts", tmp_path / "run", **changes), quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="this Paddle can use a GPU")
def test_gpu_without_a_gpu(place, tmp_path, capsys):
    assert main(words(PADDLENLP, place, tmp_path / "out", dp_degree=1)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "--device gpu" in lines[0] and "--device cpu" in lines[0]
    assert not (tmp_path / "out").exists()
