"""`ernie pretrain --dry_run`: correct figures, nothing written, and the errors of a real run."""

import math
import re

import pytest
import yaml
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.training.dry_run import dry_run, step_memory
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.optimizer import parameter_count
from ernie_from_scratch.training.pretrain import pretrain
from ernie_from_scratch.training.settings import PretrainSettings


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def lines(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    printed = list(dry_run(run_settings(corpus, folder / "run", max_steps=200)))
    assert list(folder.iterdir()) == []
    return printed


def line(lines, name):
    return next(text for text in lines if text.startswith(name))


def number(text, pattern):
    return float(re.search(pattern, text).group(1).replace(",", ""))


def test_parameters_by_the_formula():
    """Of each part of the network, written out; the decoder shares the word embeddings."""
    config = ErnieConfig.preset("tiny", vocab_size=70, hidden_size=24, intermediate_size=40)
    v, h, i = 70, 24, 40
    embeddings = (v + config.max_position_embeddings + config.type_vocab_size) * h + 2 * h
    layer = 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
    heads = (h * h + h) + (h * h + h + 2 * h + v) + (2 * h + 2)  # pooler, masked LM, pair
    assert (
        parameter_count(ErnieForPretraining(config)) == embeddings + config.num_hidden_layers * layer + heads
    )


def test_model_and_batch(lines, corpus):
    model = ErnieForPretraining(ErnieConfig.from_file(corpus.parent / "config.json"))
    assert number(line(lines, "model"), r": ([\d,]+) parameters") == parameter_count(model)
    assert "micro 4 x dp 1 x sharding 1 x accumulation 2 = 8 rows" in line(lines, "batch")
    assert number(line(lines, "tokens"), r"at most ([\d,]+) a step") == 8 * 48


def test_tokens_and_schedule_are_those_of_the_run(lines, corpus, tmp_path):
    """Figures of a real run: mean tokens per row, and the learning rates that it used."""
    settings = run_settings(corpus, tmp_path / "run", max_steps=200, logging_freq=1, eval_freq=0)
    pretrain(settings, quiet=True)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    tokens = rows[-1]["tokens"] / (200 * 8)
    assert number(line(lines, "tokens"), r"on average ([\d.]+) a row") == pytest.approx(tokens, rel=0.05)
    used = {row["step"]: row["learning_rate"] for row in rows}
    named = re.findall(r"step ([\d,]+): ([\de.-]+)", line(lines, "schedule"))
    assert {step for step, _ in named} == {"1", "2", "21", "101", "200"}
    for step, rate in named:
        assert float(rate) == pytest.approx(used[int(step)], rel=5e-3)
    again = list(dry_run(settings))
    assert "would resume from model_200" in line(again, "run")


def test_a_decoded_sample_of_each_split(lines):
    for split in ("train", "valid", "test"):
        place = lines.index(f"first sample of {split}:")
        sample, masked = lines[place + 1].split(), lines[place + 2]
        assert sample[0] == "[CLS]" and sample[-1] == "[SEP]" and "[PAD]" not in sample
        positions = [int(p) for p in re.findall(r"(\d+): ", masked)]
        assert masked.startswith("  masked positions ")
        assert positions and {i for i, token in enumerate(sample) if token == "[MASK]"} <= set(positions)
        assert "pair label" in lines[place + 3]


def test_memory_depends_on_the_settings_of_a_run():
    """test_plan_memory_cpu.py compares the planner's figures with measured ones."""

    def memory(settings=None, **changes):
        chosen = dict(input_dir="i", output_dir="o", config_name="tiny", max_seq_len=128) | (settings or {})
        degrees = [value for name, value in chosen.items() if name.endswith("degree")]
        checked = PretrainSettings(**chosen).check(processes=math.prod(degrees))
        return step_memory(checked, ErnieConfig.preset("tiny", **changes))

    base = memory()
    assert memory(enable_recompute=True, num_hidden_layers=8).total < memory(num_hidden_layers=8).total
    assert 1.5 < memory({"micro_batch_size": 16}).activations / base.activations <= 2
    longer, more = memory({"max_seq_len": 256}), memory({"micro_batch_size": 16})
    assert longer.activations > more.activations  # as many tokens; attention grows with the square
    assert memory({"sharding_degree": 2}).optimizer == base.optimizer / 2
    sharded = memory({"sharding_degree": 2, "sharding_stage": 3})
    assert sharded.weights < base.weights and sharded.optimizer < base.optimizer
    assert memory({"mp_degree": 2}).weights < base.weights and memory({"pp_degree": 2}).weights < base.weights
    assert memory(attention_probs_dropout_prob=0.0).total < base.total


def test_the_command(corpus, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run_settings(corpus, tmp_path / "run").to_dict()))
    assert main(["pretrain", "--config", str(file), "--dry_run"]) == 0
    assert "first sample of test:" in capsys.readouterr().out and not (tmp_path / "run").exists()
    assert main(["pretrain", "--config", str(file), "--dry_run", "maybe"]) == 2
    assert "--dry_run is 'maybe'" in capsys.readouterr().err
    assert main(["pretrain", "--config", str(file), "--dry_run", "false", "--max_steps", "1"]) == 0
    assert (tmp_path / "run" / "final").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(global_batch_size=6), "not a multiple"),
        (dict(input_dir="nowhere/corpus"), "no prepared corpus"),
        (dict(max_seq_len=512), "64 positions"),
        (dict(dp_degree=2, global_batch_size=None), "asks for 2 processes"),
        (dict(split="0,50,50"), "train split is empty"),
        (dict(warmup_rate=0.9, decay_steps=3), "does not end before"),
    ],
)
def test_errors_are_those_of_a_run(corpus, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        list(dry_run(run_settings(corpus, tmp_path / "run", **changes)))


@pytest.mark.parametrize(
    ("changes", "processes", "message"),
    [
        (dict(mp_degree=4), 4, "--mp_degree 4 does not divide 2 attention heads"),
        (dict(pp_degree=3), 3, "--pp_degree 3: each stage needs a layer, and there are 2"),
        (dict(sharding_degree=2, sharding_stage=2), 2, "--sharding_stage 2: Paddle runs it on GPUs only"),
    ],
)
def test_degrees_that_the_network_or_the_device_does_not_allow(corpus, tmp_path, changes, processes, message):
    settings = run_settings(corpus, tmp_path / "run", device="cpu", global_batch_size=None, **changes)
    with pytest.raises(UserError, match=message):
        list(dry_run(settings, processes))
