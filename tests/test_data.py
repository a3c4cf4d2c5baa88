"""PretrainingData: files to batches, splits, caching, reproducibility and refusals."""

import shutil

import numpy as np
import pytest
from dataset_helpers import BOTH, CPP, HAN, random_documents, random_sentence, toy_vocabulary, write_corpus

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.dataset.samples import IGNORE_INDEX
from ernie_from_scratch.dataset.settings import SENTENCE_PAIRS
from ernie_from_scratch.dataset.source import Source
from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary


@pytest.fixture(params=["plain", pytest.param("cpp", marks=CPP)])
def implementation(request, monkeypatch):
    monkeypatch.setenv("EFS_NO_CPP", "1" if request.param == "plain" else "")
    return request.param


@pytest.fixture
def prefix(tmp_path):
    return write_corpus(tmp_path / "toy", random_documents(1, count=60), vocabulary=toy_vocabulary())


def data_of(prefix, **settings):
    return PretrainingData(
        [(1.0, prefix)],
        toy_vocabulary(),
        **{"split": "80,15,5", "max_seq_len": 64, "masking": "entity", **settings},
    )


def assert_same(first, second):
    assert all(np.array_equal(first[name], second[name]) for name in first if first[name] is not None)


def test_pretraining_data_is_a_source(prefix):
    source: Source = data_of(prefix)
    assert list(source.splits) == ["train", "valid", "test"] and len(source.fingerprint) == 64
    for name, split in source.splits.items():
        assert source[name] is split and len(split.batch(np.arange(2))["input_ids"]) == 2
    with pytest.raises(UserError, match="split 'dev' is unknown"):
        source["dev"]


def test_splits_share_no_document_and_lose_none(prefix):
    data = data_of(prefix)
    documents = [set(data[name].tables[0]["document"].tolist()) for name in ("train", "valid", "test")]
    assert [len(part) for part in documents] == [48, 9, 3] and len(set.union(*documents)) == 60
    report = data.report()
    assert sum(part["tokens"] for part in report.values()) == len(data.corpora[0].ids)
    assert [report[name]["samples"] for name in ("train", "valid", "test")] == [
        len(data[name]) for name in ("train", "valid", "test")
    ]


def test_the_same_numbers_give_the_same_batch_in_any_company(prefix, implementation):
    data, again = data_of(prefix), data_of(prefix)
    alone = data["train"].batch([5])
    together = again["train"].batch(np.array([900, 5, 3]))
    width = alone["input_ids"].shape[1]
    assert np.array_equal(alone["input_ids"][0], together["input_ids"][1, :width])
    assert alone["next_sentence_label"][0] == together["next_sentence_label"][1]
    assert again["train"].batch([5])["input_ids"].tolist() == alone["input_ids"].tolist()


@pytest.mark.parametrize("change", ["seed", "split", "epoch"])
def test_randomness_differs_by_seed_split_and_epoch(tmp_path, change):
    prefix = write_corpus(tmp_path / "toy", random_documents(3, count=4, lengths=(50, 60)))
    settings = {"split": "1", "masking": "char", "short_seq_prob": 0.0, "sentence_pairs": "none"}
    first = data_of(prefix, **settings)["train"]
    size = len(first)
    numbers = np.arange(size)
    if change == "seed":
        other, shifted = data_of(prefix, **settings, seed=1235)["train"], numbers
    elif change == "split":
        other, shifted = data_of(prefix, **{**settings, "split": "0,1"})["valid"], numbers
    else:
        other, shifted = first, numbers + size

    def masks(split, numbers):
        batch = split.batch(numbers)
        text = batch["input_ids"].copy().ravel()
        text[batch["masked_positions"]] = batch["masked_lm_labels"]
        masked = np.zeros(text.shape, dtype=bool)
        masked[batch["masked_positions"]] = True
        shape = batch["input_ids"].shape
        return {tuple(t): tuple(m) for t, m in zip(text.reshape(shape), masked.reshape(shape), strict=True)}

    ours, theirs = masks(first, numbers), masks(other, shifted)
    assert ours.keys() == theirs.keys() and not any(ours[text] == theirs[text] for text in ours)


def test_negative_and_huge_seeds_are_seeds(prefix):
    fingerprints = {data_of(prefix, seed=seed).fingerprint for seed in (0, -1, 2**70)}
    assert len(fingerprints) == 3


def test_fingerprint_follows_everything_that_changes_batches(prefix, tmp_path):
    base = data_of(prefix).fingerprint
    changes = {
        "seed": 1,
        "split": "1",
        "max_seq_len": 63,
        "masking": "word",
        "masked_lm_prob": 0.2,
        "max_ngrams": 1,
    }
    changes |= {"sentence_pairs": "none", "short_seq_prob": 0, "max_sentences": 2, "replace_per": "unit"}
    fingerprints = {data_of(prefix, **{name: value}).fingerprint for name, value in changes.items()}
    assert len(fingerprints | {base}) == len(changes) + 1
    write_corpus(tmp_path / "copy", random_documents(1, count=60), vocabulary=toy_vocabulary())
    assert data_of(tmp_path / "copy").fingerprint == base
    write_corpus(tmp_path / "other", random_documents(2, count=60), vocabulary=toy_vocabulary())
    assert data_of(tmp_path / "other").fingerprint != base


def test_changed_files_are_noticed_by_the_cache(prefix, tmp_path):
    first = data_of(prefix, split="1")
    caches = set(tmp_path.glob("toy_samples_*.npy"))
    documents = random_documents(9, count=60)
    write_corpus(tmp_path / "toy", documents, vocabulary=toy_vocabulary())
    second = data_of(prefix, split="1")
    tokens = sum(len(ids) for document in documents for ids, _ in document)
    assert second.report()["train"]["tokens"] == tokens != first.report()["train"]["tokens"]
    assert not caches & set(tmp_path.glob("toy_samples_*.npy"))


@pytest.mark.parametrize("pairs", SENTENCE_PAIRS)
def test_the_cache_tells_settings_apart(prefix, pairs, tmp_path):
    reports = [data_of(prefix, sentence_pairs=pairs, max_seq_len=length).report() for length in (32, 64, 32)]
    assert reports[0] == reports[2] != reports[1]
    fresh = data_of(prefix, sentence_pairs=pairs, max_seq_len=32, cache_dir=tmp_path / "fresh")
    assert fresh.report() == reports[0]


def test_several_corpora_by_weight(tmp_path, implementation):
    vocabulary = toy_vocabulary()
    rng = np.random.default_rng(0)
    for name, token in (("a", 6), ("b", 7)):
        sentence = ([token] * 10, [0x17, 0x10] * 5)
        write_corpus(tmp_path / name, [[sentence] * int(rng.integers(1, 5)) for _ in range(50)])
    data = PretrainingData(
        [(3.0, tmp_path / "a"), (1.0, tmp_path / "b")],
        vocabulary,
        split="1",
        max_seq_len=40,
        masking="entity",
    )
    labels = data["train"].batch(np.arange(len(data["train"])))["input_ids"][:, 1:]
    from_a = (labels == 6).any(axis=1).mean()
    assert abs(from_a - 0.75) < 0.02


def test_stages_do_not_reach_validation(prefix):
    stages = [(0, "char"), (10**6, "entity")]
    data = data_of(prefix, masking="knowledge", mask_schedule=stages)
    assert data["train"]._sampler is not data["valid"]._sampler
    kinds = {
        name: (data[name].batch(np.arange(40))["masked_span_kinds"] > 0).mean() for name in ("train", "valid")
    }
    assert kinds["train"] < 0.5 < kinds["valid"]


def test_batches_through_the_loader_are_those_of_the_split(prefix, implementation):
    split = data_of(prefix)["train"]
    with BatchLoader(split, 7, start_sample=3, num_workers=2) as loader:
        for step in range(6):
            assert_same(next(loader), split.batch(np.arange(7) + 3 + 7 * step))


def test_one_sentence_documents_and_sop(tmp_path, implementation):
    rng = np.random.default_rng(0)
    write_corpus(tmp_path / "toy", [[random_sentence(rng, 20)] for _ in range(30)])
    data = data_of(tmp_path / "toy", split="1")
    assert len(data["train"]) == 30
    report = data.report()["train"]
    assert report["one_sentence_documents"] == report["one_sentence_samples"] == 30
    assert report["dropped_tokens"] == 0
    assert set(data["train"].batch(np.arange(200))["next_sentence_label"].tolist()) == {IGNORE_INDEX}


def test_one_document_only(tmp_path, implementation):
    rng = np.random.default_rng(0)
    write_corpus(tmp_path / "toy", [[random_sentence(rng, 30) for _ in range(3)]])
    data = data_of(tmp_path / "toy")
    assert len(data["train"]) and not len(data["valid"]) and not len(data["test"])
    with pytest.raises(UserError, match="valid split has no samples"):
        data["valid"].batch([0])
    with pytest.raises(UserError, match="two documents"):
        data_of(tmp_path / "toy", sentence_pairs="nsp")


def test_a_sentence_of_a_hundred_thousand_tokens(tmp_path, implementation):
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 305, 100_000).tolist()
    write_corpus(tmp_path / "toy", [[(ids, [0x17] + [0x10] * 99_999)]])
    data = data_of(tmp_path / "toy", split="1", masking="char")
    report = data.report()["train"]
    assert (
        report["long_sentences"] == 1 and report["dropped_tokens"] == 0 and report["samples"] >= 100_000 // 61
    )
    data["train"].batch(np.arange(8))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_seq_len": 4},
        {"max_seq_len": 10**6},
        {"masked_lm_prob": 0.0},
        {"masked_lm_prob": 1.5},
        {"masked_lm_prob": float("nan")},
        {"short_seq_prob": -0.1},
        {"max_ngrams": 0},
        {"max_sentences": -1},
        {"masking": "sentences"},
        {"sentence_pairs": "yes"},
        {"replace_per": "row"},
        {"split": "a"},
        {"mask_schedule": {"char": 1}},
        {"max_seq_len": "long"},
    ],
)
def test_bad_settings_are_one_line_errors(prefix, settings):
    with pytest.raises(UserError) as caught:
        data_of(prefix, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("numbers", [[], [-1], [0.5], [[1, 2]], [2**62 + 1], 3])
def test_bad_sample_numbers_are_refused(prefix, implementation, numbers):
    with pytest.raises(UserError, match="sample numbers"):
        data_of(prefix)["train"].batch(numbers)


def test_unknown_split(prefix):
    with pytest.raises(UserError, match="train, valid, test"):
        data_of(prefix)["dev"]


def test_negative_weight_empty_corpus_and_wrong_vocabulary(prefix, tmp_path):
    with pytest.raises(UserError, match="weight -1"):
        PretrainingData([(-1.0, prefix)], toy_vocabulary())
    write_corpus(tmp_path / "empty", [])
    with pytest.raises(UserError, match="no samples|no entities|needs entities"):
        data_of(tmp_path / "empty")
    with pytest.raises(UserError, match="no samples"):
        data_of(tmp_path / "empty", masking="word")
    with pytest.raises(UserError, match="vocabulary"):
        PretrainingData([(1.0, prefix)], Vocabulary(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *HAN]))


@pytest.mark.real_data
def test_real_text_comes_back_from_batches(real_data, tmp_path, implementation):
    vocabulary = Vocabulary.load(real_data / "vocab" / "ernie_1.0_zh_vocab.txt")
    text = tmp_path / "text.txt"
    text.write_text(
        (real_data / "corpus" / "zhwiki_sample.txt").read_text(encoding="utf8")[:20_000], encoding="utf8"
    )
    prefix = tmp_path / "wiki"
    prepare([text], prefix, vocabulary)
    for suffix in ("_ids.npy", "_idx.npz"):  # what PaddleNLP's tools write
        shutil.copy(f"{prefix}{suffix}", tmp_path / f"paddlenlp{suffix}")
    kept = {"split": "1", "max_seq_len": 128, "masking": "word", "sentence_pairs": "none"}
    marked = PretrainingData([(1.0, prefix)], vocabulary, **kept)
    unmarked = PretrainingData([(1.0, tmp_path / "paddlenlp")], vocabulary, **kept)
    corpus, tokens = marked.corpora[0], marked.tokens
    plain = " ".join(map(str, tokens.model_ids[corpus.ids])) + " "
    for data in (marked, unmarked):
        batch = data["train"].batch(np.arange(40))
        ids = batch["input_ids"].ravel().copy()
        ids[batch["masked_positions"]] = batch["masked_lm_labels"]
        for row, length in zip(ids.reshape(40, -1), batch["attention_mask"].sum(axis=1), strict=True):
            assert "".join(f"{token} " for token in row[1 : length - 1]) in plain
    share = len(batch["masked_positions"]) / batch["attention_mask"].sum()
    assert 0.13 < share < 0.16
    report = marked.report()["train"]
    assert report["dropped_tokens"] == 0 and report["tokens"] == len(corpus.ids)


@BOTH
def test_ids_that_change_under_our_feet_are_refused(tmp_path, implementation, monkeypatch):
    monkeypatch.setenv("EFS_NO_CPP", "1" if implementation == "plain" else "")
    write_corpus(tmp_path / "toy", random_documents(1, count=5))
    split = data_of(tmp_path / "toy", split="1")["train"]
    ids = np.load(tmp_path / "toy_ids.npy", mmap_mode="r+")
    ids[:] = 65000
    with pytest.raises(UserError, match="65000"):
        split.batch([0])
