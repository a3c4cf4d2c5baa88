"""Opening prepared corpora: what is read, what changes their identity, and what is refused."""

import json

import numpy as np
import pytest
from dataset_helpers import random_documents, random_sentence, toy_vocabulary, write_corpus

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.indexed import open_corpus
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary


@pytest.fixture
def corpus_files(tmp_path):
    documents = random_documents(1, count=6)
    write_corpus(tmp_path / "toy", documents)
    return tmp_path / "toy", documents


def test_reads_back_every_sentence_and_document(corpus_files):
    prefix, documents = corpus_files
    corpus = open_corpus(prefix, toy_vocabulary())
    assert isinstance(corpus.ids, np.memmap) and isinstance(corpus.spans, np.memmap)
    read = []
    for first, last in zip(corpus.documents, corpus.documents[1:], strict=False):
        edges = corpus.sentences[first : last + 1].tolist()
        ranges = list(zip(edges, edges[1:], strict=False))
        read.append([(corpus.ids[a:b].tolist(), corpus.spans[a:b].tolist()) for a, b in ranges])
    assert read == documents


def test_paddlenlp_files_have_no_spans(tmp_path):
    write_corpus(tmp_path / "toy", random_documents(1), spans=False)
    corpus = open_corpus(tmp_path / "toy", toy_vocabulary())
    assert corpus.spans is None and not corpus.has_entities()


def test_has_entities(tmp_path):
    for name, share in (("with", 0.2), ("without", 0.0)):
        rng = np.random.default_rng(0)
        write_corpus(tmp_path / name, [[random_sentence(rng, 50, share)]])
        assert open_corpus(tmp_path / name, toy_vocabulary()).has_entities() == (name == "with")


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("change", ["ids", "spans", "sentences", "documents"])
def test_identity_changes_with_the_content(tmp_path, meta, change):
    documents = random_documents(1, count=6)
    vocabulary = toy_vocabulary()

    def identity(name, documents):
        write_corpus(tmp_path / name, documents, vocabulary=vocabulary if meta else None)
        return open_corpus(tmp_path / name, vocabulary).identity()

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
    "longer|shorter|beyond vocabulary|float ids|pickled ids|cut off|no index|index without docs|damaged index|"
    "documents beyond sentences|documents go back|negative length|short spans|wide spans".split("|"),
)
def test_inconsistent_files_are_one_line_errors(corpus_files, kind):
    prefix, _ = corpus_files
    damage(prefix, kind)
    with pytest.raises(UserError) as caught:
        open_corpus(prefix, toy_vocabulary())
    assert "\n" not in str(caught.value) and str(prefix) in str(caught.value)


def test_another_vocabulary_is_refused(tmp_path):
    vocabulary = toy_vocabulary()
    write_corpus(tmp_path / "toy", random_documents(1), vocabulary=vocabulary)
    open_corpus(tmp_path / "toy", vocabulary)
    tokens = list(vocabulary.tokens)
    tokens[10], tokens[11] = tokens[11], tokens[10]
    with pytest.raises(UserError, match="vocabulary"):
        open_corpus(tmp_path / "toy", Vocabulary(tokens))


def test_files_that_are_not_the_ones_of_the_meta_file_are_refused(tmp_path):
    vocabulary = toy_vocabulary()
    write_corpus(tmp_path / "toy", random_documents(1), vocabulary=vocabulary)
    meta = json.loads((tmp_path / "toy_meta.json").read_text())
    meta["files"]["_ids.npy"]["bytes"] += 2
    (tmp_path / "toy_meta.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="toy_ids.npy"):
        open_corpus(tmp_path / "toy", vocabulary)
