"""The flags of `ernie pretrain` reach samples and masks; input files that can't work are reported in one line."""

import numpy as np
import pytest
from dataset_helpers import random_documents, toy_vocabulary, write_corpus

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.dataset.settings import LEVELS
from ernie_from_scratch.training.pretrain import build_source, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.settings import PretrainSettings
from ernie_from_scratch.utils.command_line import parse


@pytest.fixture()
def place(tmp_path):
    """A folder `two words` with a corpus, its vocabulary and a config."""
    folder = tmp_path / "two words"
    folder.mkdir()
    vocabulary = toy_vocabulary()
    vocabulary.save(folder / "vocab.txt")
    write_corpus(folder / "toy", random_documents(1, count=30), vocabulary=vocabulary)
    network = dict(hidden_size=32, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64)
    ErnieConfig.preset("tiny", vocab_size=len(vocabulary), **network).save(folder)
    return folder


def flags(place, *more):
    return [
        *("--input_dir", str(place / "toy"), "--output_dir", str(place / "run")),
        *("--tokenizer_name_or_path", str(place / "vocab.txt")),
        *("--ernie_config_file", str(place / "config.json"), "--max_seq_len", "64"),
        *("--max_steps", "6", *more),
    ]


def data_of(place, *more):
    settings = parse("ernie pretrain", "", PretrainSettings, flags(place, *more))[0].check()
    prefixes = corpus_prefixes(settings.input_dir)
    return build_source(settings, prefixes, load_vocabulary(settings, prefixes))


def test_masking_flags_reach_the_rules(place):
    data = data_of(place, "--masking", "knowledge", "--mask_schedule", "0: char; 10: phrase 1, entity 3",
                   "--global_batch_size", "16", "--favor_longer_ngram", "--replace_per", "unit",
                   "--max_sentences", "2", "--max_ngrams", "4", "--masked_lm_prob", "0.3")  # fmt: skip
    rules = data.masking_rules
    assert rules.favor_longer_ngram and rules.replace_per == "unit" and rules.max_ngrams == 4
    assert rules.masked_lm_prob == 0.3 and data.sample_rules.max_sentences == 2
    assert rules.stages == ((0, (1.0, 1.0, 1.0, 1.0)), (160, (0.0, 0.0, 0.25, 1.0)))
    plain = data_of(place)
    assert not plain.masking_rules.favor_longer_ngram and plain.masking_rules.replace_per == "token"
    assert plain.sample_rules.max_sentences == 0 and plain.fingerprint != data.fingerprint


def test_the_flags_change_batches(place):
    """Longer runs are masked with --favor_longer_ngram; one decision per unit with --replace_per unit."""

    def runs(*more):
        data = data_of(place, "--masking", "char", "--max_ngrams", "5", *more)
        positions = data["train"].batch(np.arange(300))["masked_positions"]
        return len(positions) / (1 + np.count_nonzero(np.diff(positions) > 1))

    assert runs("--favor_longer_ngram") > 1.3 * runs()

    def mixed(*more):
        """Share of masked neighbours of which one is [MASK] and the other is not."""
        data = data_of(place, "--masking", "phrase", "--max_ngrams", "1", *more)
        batch = data["train"].batch(np.arange(300))
        positions = batch["masked_positions"]
        hidden = batch["input_ids"].ravel()[positions] == data.tokens.mask_id
        return np.mean((hidden[1:] != hidden[:-1])[np.diff(positions) == 1])

    assert mixed("--replace_per", "unit") < 0.6 * mixed()


def test_stages_are_thirds_of_the_run(place):
    schedule = ("--masking", "knowledge", "--mask_schedule", "stages", "--max_steps", "300")
    stages = data_of(place, *schedule, "--micro_batch_size", "4").masking_rules.stages
    assert [first for first, _ in stages] == [0, 400, 800]
    assert [LEVELS[shares.index(1.0)] for _, shares in stages] == ["char", "phrase", "entity"]


def test_a_path_with_spaces_is_one_path(place):
    assert corpus_prefixes(place / "toy") == [(1.0, str(place / "toy"))]
    assert corpus_prefixes(place) == [(1.0, str(place / "toy"))]
    with pytest.raises(UserError, match="not a number"):
        corpus_prefixes("two words/nowhere")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--mask_schedule", "char"), "goes with masking=knowledge"),
        (("--masking", "knowledge", "--mask_schedule", "chars 1"), "cannot read 'chars 1'"),
        (("--masking", "knowledge", "--mask_schedule", "5: char"), "in order from sample 0"),
        (("--masking", "knowledge", "--mask_schedule", "char -1"), "at least 0"),
        (("--replace_per", "row"), "replace_per is 'row'"),
        (("--max_sentences", "-1"), "--max_sentences is -1; it must be at least 0"),
        (("--masked_lm_prob", "0"), "masked_lm_prob"),
    ],
)
def test_wrong_flags_are_one_line(place, capsys, more, message):
    assert main(["pretrain", *flags(place, *more)]) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not (place / "run").exists()


def corrupt(place, kind):
    ids = np.load(place / "toy_ids.npy")
    index = dict(np.load(place / "toy_idx.npz"))
    if kind == "longer":
        np.save(place / "toy_ids.npy", np.append(ids, ids[:3]))
    elif kind == "shorter":
        np.save(place / "toy_ids.npy", ids[:-3])
    elif kind == "index":
        np.savez(place / "toy_idx.npz", lens=index["lens"], docs=index["docs"][:-1])
    elif kind == "vocabulary":
        tokens = (place / "vocab.txt").read_text(encoding="utf-8").split("\n")
        (place / "vocab.txt").write_text("\n".join(tokens[:60]), encoding="utf-8")


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("kind", ["longer", "shorter", "index", "vocabulary"])
def test_files_that_do_not_fit_are_one_line(place, capsys, kind, meta):
    if not meta:
        (place / "toy_meta.json").unlink()
    corrupt(place, kind)
    code = main(["pretrain", *flags(place)])
    lines = capsys.readouterr().err.strip().split("\n")
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and "; " in lines[0]
    assert ("vocabulary" if kind == "vocabulary" else "toy_i") in lines[0]
    assert not (place / "run").exists()


@pytest.mark.parametrize("weight", ["-1", "0", "nan", "inf", "much"])
def test_wrong_weights_are_one_line(place, capsys, monkeypatch, weight):
    monkeypatch.chdir(place)
    assert main(["pretrain", *flags(place), "--input_dir", f"{weight} toy 2 toy"]) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1 and "weight" in lines[0] and not (place / "run").exists()
