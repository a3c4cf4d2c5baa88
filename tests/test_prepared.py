"""Reading a prepared corpus back: what its meta records, and damaged or foreign files that are named."""

import json
import os

import numpy as np
import pytest
from text_helpers import small_vocabulary

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.corpus.prepared import open_prepared


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
    np.savez(f"{prepared}_idx.npz", lens=corpus.lens, docs=corpus.docs[:-1])
    with pytest.raises(UserError, match="the documents of .*_idx.npz do not add up"):
        open_prepared(prepared)
    np.savez(f"{prepared}_idx.npz", lens=corpus.lens)
    with pytest.raises(UserError, match="has no lens and docs"):
        open_prepared(prepared)


def test_missing_files_and_other_vocabulary(prepared, tmp_path):
    from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

    with pytest.raises(UserError, match="no prepared corpus: .*nothing_ids.npy is missing"):
        open_prepared(tmp_path / "nothing")
    tokens = small_vocabulary().tokens
    with pytest.raises(UserError, match="other vocabulary: .* was made with text"):
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
