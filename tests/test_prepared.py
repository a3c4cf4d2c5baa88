"""Reading a prepared corpus back: its arrays, its identity, and damaged or foreign files that are named."""

import json
import os

import numpy as np
import pytest
from dataset_helpers import (
    random_documents,
    random_sentence,
    toy_corpus,
    toy_vocabulary,
    write_corpus,
)
from text_helpers import small_vocabulary

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.corpus.spans import PHRASE_START, WORD_START
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary


@pytest.fixture
def corpus_files(tmp_path):
    documents = random_documents(1, count=6)
    write_corpus(tmp_path / "toy", documents)
    return tmp_path / "toy", documents


def test_reads_back_every_sentence_and_document(corpus_files):
    prefix, documents = corpus_files
    corpus = open_prepared(prefix, toy_vocabulary())
    assert isinstance(corpus.ids, np.memmap) and isinstance(corpus.spans, np.memmap)
    read = []
    for first, last in zip(corpus.documents, corpus.documents[1:], strict=False):
        edges = corpus.sentences[first : last + 1].tolist()
        ranges = list(zip(edges, edges[1:], strict=False))
        read.append([(corpus.ids[a:b].tolist(), corpus.spans[a:b].tolist()) for a, b in ranges])
    assert read == documents


def test_spans_come_from_continuation_forms_without_the_file(tmp_path):
    documents = random_documents(1)
    write_corpus(tmp_path / "toy", documents, spans=False)
    corpus, vocabulary = open_prepared(tmp_path / "toy", toy_vocabulary()), toy_vocabulary()
    continues = [vocabulary.tokens[i].startswith("##") for i in corpus.ids]
    expected = np.where(continues, 0, WORD_START | PHRASE_START)
    assert corpus.stored_spans is None and not corpus.has_entities()
    assert len(corpus.spans) == len(corpus.ids) and corpus.spans[:].dtype == corpus.spans.dtype == np.uint8
    assert corpus.spans[:].tolist() == np.asarray(corpus.spans).tolist() == expected.tolist()
    assert corpus.spans[30:70].tolist() == expected[30:70].tolist()
    starts = corpus.sentences[:-1]
    assert corpus.spans[starts].tolist() == expected[starts].tolist()
    stored = toy_corpus(documents).spans[:]
    assert ((stored & WORD_START) == (expected & WORD_START)).all()  # the words are those of the file
    with pytest.raises(UserError, match="no word boundaries: .*toy_spans.npy is missing"):
        _ = open_prepared(tmp_path / "toy").spans


def test_has_entities(tmp_path):
    for name, share in (("with", 0.2), ("without", 0.0)):
        rng = np.random.default_rng(0)
        write_corpus(tmp_path / name, [[random_sentence(rng, 50, share)]])
        assert open_prepared(tmp_path / name, toy_vocabulary()).has_entities() == (name == "with")


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("change", ["ids", "spans", "sentences", "documents"])
def test_identity_changes_with_the_content(tmp_path, meta, change):
    documents = random_documents(1, count=6)
    vocabulary = toy_vocabulary()

    def identity(name, documents):
        write_corpus(tmp_path / name, documents, vocabulary=vocabulary if meta else None)
        return open_prepared(tmp_path / name, vocabulary).identity()

    before = identity("a", documents)
    assert identity("b", documents) == before
    if change == "ids":
        documents[2][0][0][0] ^= 1
    elif change == "spans":
        documents[2][0][1][0] ^= 2
    elif change == "sentences":
        ids, bits = documents[3].pop()
        documents[3] += [(ids[:1], bits[:1]), (ids[1:], bits[1:])]
    else:
        documents[1].append(documents[2].pop(0))
    assert identity("c", documents) != before


def damage(prefix, kind):
    ids_file, index_file, spans_file = (f"{prefix}_{end}" for end in ("ids.npy", "idx.npz", "spans.npy"))
    ids = np.load(ids_file)
    index = dict(np.load(index_file))
    if kind == "longer":
        np.save(ids_file, np.append(ids, ids[:1]))
    elif kind == "shorter":
        np.save(ids_file, ids[:-1])
    elif kind == "beyond vocabulary":
        ids[7] = 60000
        np.save(ids_file, ids)
    elif kind == "negative id":
        ids = ids.astype(np.int32)
        ids[7] = -5
        np.save(ids_file, ids)
    elif kind == "float ids":
        np.save(ids_file, ids.astype(np.float32))
    elif kind == "pickled ids":
        np.save(ids_file, ids.astype(object), allow_pickle=True)
    elif kind == "cut off":
        with open(ids_file, "r+b") as file:
            file.truncate(60)
    elif kind == "no index":
        (prefix.parent / "toy_idx.npz").unlink()
    elif kind == "index without docs":
        np.savez(index_file, lens=index["lens"])
    elif kind == "damaged index":
        (prefix.parent / "toy_idx.npz").write_bytes(b"PK\x03\x04 not an archive")
    elif kind == "documents beyond sentences":
        np.savez(index_file, lens=index["lens"], docs=index["docs"] + 1)
    elif kind == "documents go back":
        index["docs"][2] = index["docs"][-1] + 5
        np.savez(index_file, **index)
    elif kind == "negative length":
        index["lens"][0] -= 100
        index["lens"][1] += 100
        np.savez(index_file, **index)
    elif kind == "short spans":
        np.save(spans_file, np.load(spans_file)[:-3])
    elif kind == "wide spans":
        np.save(spans_file, np.load(spans_file).astype(np.int64))


@pytest.mark.parametrize(
    "kind",
    "longer|shorter|beyond vocabulary|negative id|float ids|pickled ids|cut off|no index|index without docs|"
    "damaged index|documents beyond sentences|documents go back|negative length|short spans|wide spans".split(
        "|"
    ),
)
def test_inconsistent_files_are_one_line_errors(corpus_files, kind):
    prefix, _ = corpus_files
    damage(prefix, kind)
    with pytest.raises(UserError) as caught:
        open_prepared(prefix, toy_vocabulary())
    assert "\n" not in str(caught.value) and str(prefix) in str(caught.value)


def test_another_vocabulary_is_refused(tmp_path):
    vocabulary = toy_vocabulary()
    write_corpus(tmp_path / "toy", random_documents(1), vocabulary=vocabulary)
    open_prepared(tmp_path / "toy", vocabulary)
    tokens = list(vocabulary.tokens)
    tokens[10], tokens[11] = tokens[11], tokens[10]
    with pytest.raises(UserError, match="vocabulary"):
        open_prepared(tmp_path / "toy", Vocabulary(tokens))


def test_files_that_are_not_the_ones_of_the_meta_file_are_refused(tmp_path):
    vocabulary = toy_vocabulary()
    write_corpus(tmp_path / "toy", random_documents(1), vocabulary=vocabulary)
    meta = json.loads((tmp_path / "toy_meta.json").read_text())
    meta["files"]["_ids.npy"]["bytes"] += 2
    (tmp_path / "toy_meta.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="toy_ids.npy"):
        open_prepared(tmp_path / "toy", vocabulary)


@pytest.fixture()
def prepared(tmp_path, many_documents):
    prepare(many_documents, tmp_path / "a", small_vocabulary())
    return tmp_path / "a"


def change(path, function):
    array = np.load(path)
    np.save(path, function(array))


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        ("_ids.npy", lambda ids: ids[:-5], "shorter than the .* of its index"),
        ("_ids.npy", lambda ids: np.concatenate([ids, ids[:5]]), "longer than the .* of its index"),
        ("_spans.npy", lambda bits: bits[:-1], "a_spans.npy has .* tokens, .*a_ids.npy"),
        ("_ids.npy", lambda ids: ids.reshape(1, -1), "of its index"),
    ],
)
def test_files_that_disagree(prepared, suffix, damage, message):
    os.remove(f"{prepared}_meta.json")
    change(f"{prepared}{suffix}", damage)
    with pytest.raises(UserError, match=f"files disagree: .*{message}.*; prepare the text again"):
        open_prepared(prepared)


def test_a_changed_byte_is_found_by_checksums(prepared):
    change(f"{prepared}_ids.npy", lambda ids: np.where(np.arange(len(ids)) == 7, 1, ids).astype(ids.dtype))
    open_prepared(prepared)
    with pytest.raises(UserError, match="_ids.npy is not the one that a_meta.json describes"):
        open_prepared(prepared, verify=True)


@pytest.mark.parametrize("suffix", ["_ids.npy", "_idx.npz", "_spans.npy", "_meta.json"])
def test_a_damaged_file_is_named(prepared, suffix):
    with open(f"{prepared}{suffix}", "r+b") as file:
        file.truncate(30)
    with pytest.raises(UserError, match=f"a{suffix}"):
        open_prepared(prepared)


def test_index_that_does_not_add_up(prepared):
    corpus = open_prepared(prepared)
    os.remove(f"{prepared}_meta.json")
    np.savez(f"{prepared}_idx.npz", lens=corpus.lens, docs=corpus.documents[:-1])
    with pytest.raises(UserError, match="the documents of .*_idx.npz do not add up"):
        open_prepared(prepared)
    np.savez(f"{prepared}_idx.npz", lens=corpus.lens)
    with pytest.raises(UserError, match="has no lens and docs"):
        open_prepared(prepared)


def test_missing_files_and_other_vocabulary(prepared, tmp_path):
    with pytest.raises(UserError, match="no prepared corpus: .*nothing_ids.npy is missing"):
        open_prepared(tmp_path / "nothing")
    tokens = small_vocabulary().tokens
    with pytest.raises(UserError, match="wrong vocabulary: .* was prepared with text"):
        open_prepared(prepared, Vocabulary([*tokens[:-2], tokens[-1], tokens[-2]]))
    os.remove(f"{prepared}_meta.json")
    with pytest.raises(UserError, match="has id .*, the given tokens only 40 tokens"):
        open_prepared(prepared, Vocabulary(tokens[:40]))


def test_meta_records_what_was_done(prepared):
    meta = json.loads(open(f"{prepared}_meta.json", encoding="utf-8").read())
    assert meta["settings"]["word_marks"] == "position" and meta["settings"]["segmenter"] == "builtin"
    assert meta["vocabulary"]["sha256"] == small_vocabulary().sha256
    assert meta["counts"]["bytes"] == os.path.getsize(prepared.parent / "many.txt")
    assert set(meta["files"]) == {"_ids.npy", "_idx.npz", "_spans.npy"}
