"""Raw text to the files of a prepared corpus: what they hold, whoever writes them, and what is said about it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from text_helpers import PARAGRAPHS, TEXT, prepared_bytes, small_vocabulary, without_cpp, write_jsonl

from ernie_from_scratch import native
from ernie_from_scratch.text.corpus import part_files
from ernie_from_scratch.text.corpus.prepare import prepare, summary
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.corpus.spans import entity_runs, phrase_runs, word_runs
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer


def documents_of(prefix) -> list[bytes]:
    """The ids and bits of each document, with its sentence lengths, as bytes."""
    corpus = open_prepared(prefix)
    ends = np.concatenate([[0], np.cumsum(corpus.lens)])
    found = []
    for first, last in zip(corpus.documents, corpus.documents[1:], strict=False):
        tokens = slice(ends[first], ends[last])
        rows = corpus.ids[tokens], corpus.spans[tokens], corpus.lens[first:last]
        found.append(b"|".join(row.tobytes() for row in rows))
    return found


def test_known_boundaries_reach_the_files(tmp_path):
    row = {
        "title": "哈尔滨",
        "sentences": [
            {"text": "哈尔滨是黑龙江的省会。", "spans": [[0, 3, "LOC"], [4, 7, "LOC"], [4, 10, "PHRASE"]]},
            {"text": "研究生命的起源。", "spans": [[0, 2, "WORD"], [2, 4, "WORD"]]},
        ],
    }
    vocabulary = small_vocabulary()
    meta = prepare(write_jsonl(tmp_path / "a.jsonl", [row]), tmp_path / "out" / "a", vocabulary)
    corpus = open_prepared(tmp_path / "out" / "a", vocabulary, verify=True)
    assert corpus.documents.tolist() == [0, 2] and corpus.documents.dtype == np.int64
    assert corpus.lens.tolist() == [11, 8] and corpus.lens.dtype == np.int32
    assert corpus.ids.dtype == np.uint16 and corpus.spans.dtype == np.uint8
    tokens = [vocabulary.tokens[i].removeprefix("##") for i in corpus.ids]
    first, second = corpus.spans[:11], corpus.spans[11:]
    assert entity_runs(first) == [(0, 3, "LOC"), (4, 7, "LOC")]
    assert ["".join(tokens[a:b]) for a, b in phrase_runs(first)] == ["哈尔滨", "是", "黑龙江的省会", "。"]
    assert ["".join(tokens[11:][a:b]) for a, b in word_runs(second)] == ["研究", "生命", "的", "起源", "。"]
    assert meta["counts"]["entities"]["LOC"] == 2 and meta["counts"]["tokens"] == 19
    assert not os.path.exists(tmp_path / "out" / "a.parts")


def test_files_are_byte_for_byte_numpys(tmp_path, many_documents):
    prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000)
    corpus = open_prepared(tmp_path / "a")
    np.save(tmp_path / "b_ids.npy", np.array(corpus.ids))
    np.savez(tmp_path / "b_idx.npz", lens=corpus.lens, docs=corpus.documents)
    np.save(tmp_path / "b_spans.npy", np.array(corpus.spans))
    assert prepared_bytes(tmp_path / "a") == prepared_bytes(tmp_path / "b")


def test_a_large_vocabulary_gets_int32(tmp_path):
    from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    for size, dtype in ((65534, np.uint16), (65535, np.int32)):
        tokens = [
            *small_vocabulary().tokens,
            *(f"[unused{n}]" for n in range(size - len(small_vocabulary()))),
        ]
        prepare(tmp_path / "a.txt", tmp_path / "a", Vocabulary(tokens))
        assert open_prepared(tmp_path / "a").ids.dtype == dtype


@pytest.mark.parametrize("form", ["txt", "jsonl", "spans"])
@pytest.mark.parametrize("marks", ["position", "paddlenlp"])
def test_cpp_and_python_write_the_same_files(tmp_path, many_documents, form, marks):
    if native.helpers() is None:
        pytest.skip(f"C++ helpers: {native.why_missing()}")
    path = many_documents
    if form != "txt":
        text = many_documents.read_text(encoding="utf-8").split("\n\n")
        rows = [{"text": document} for document in text]
        if form == "spans":
            rows = [{"sentences": [{"text": d, "spans": [[0, 3, "WORK"], [3, 9, "PHRASE"]]}]} for d in text]
        path = write_jsonl(tmp_path / "many_documents.jsonl", rows)
    (tmp_path / "words.txt").write_text("冰灯 OTHER\n北京大学 ORG\n", encoding="utf-8")
    given = {"word_marks": marks, "user_dict": str(tmp_path / "words.txt"), "max_sentence_length": 20}
    prepare(path, tmp_path / "cpp", small_vocabulary(), **given)
    with without_cpp():
        prepare(path, tmp_path / "python", small_vocabulary(), **given)
    assert prepared_bytes(tmp_path / "cpp") == prepared_bytes(tmp_path / "python")


def test_files_equal_paddlenlps_tool(tmp_path):
    """The loop of its create_pretraining_data.py, with its tokenizer and jieba, on text of one sentence a line."""
    transformers = pytest.importorskip("paddlenlp.transformers")
    import jieba
    from test_encode import paddlenlp_marks

    jieba.setLogLevel(60)
    vocabulary = small_vocabulary()
    ErnieTokenizer(vocabulary).save_pretrained(tmp_path)
    peer = transformers.ErnieTokenizer.from_pretrained(str(tmp_path))
    rows = [
        {"text": "\n".join([p, " ", *PARAGRAPHS[: n % 5], "第二行 [MASK]"])}
        for n, p in enumerate(PARAGRAPHS * 3)
    ]
    ids, lens, docs = [], [], [0]
    for row in rows:
        for line in row["text"].split("\n"):
            words = jieba.lcut(line.strip())
            sentence = peer.convert_tokens_to_ids(paddlenlp_marks(peer.tokenize("".join(words)), words))
            if sentence:
                ids += sentence
                lens.append(len(sentence))
        docs.append(len(lens))
    np.save(tmp_path / "peer_ids.npy", np.array(ids, np.uint16))
    np.savez(tmp_path / "peer_idx.npz", lens=np.array(lens, np.int32), docs=np.array(docs, np.int64))
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    prepare(path, tmp_path / "ours", vocabulary, word_marks="paddlenlp", split_sentences="newline")
    for suffix in ("_ids.npy", "_idx.npz"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"peer{suffix}").read_bytes()
    theirs = open_prepared(tmp_path / "peer", vocabulary)  # without spans and meta
    assert theirs.stored_spans is None and theirs.meta is None
    assert np.array_equal(theirs.spans[:] & 1, open_prepared(tmp_path / "ours").spans & 1)


@pytest.mark.parametrize("twice", [0, 1])
def test_word_marks_beyond_the_vocabulary_are_paddlenlps(tmp_path, twice):
    """Without `##`Han in the vocabulary (ERNIE 3.0's has none) they are numbered behind it, as its tool does."""
    transformers = pytest.importorskip("paddlenlp.transformers")
    import jieba
    from test_encode import paddlenlp_marks

    from ernie_from_scratch.dataset.pretraining_data import PretrainingData
    from ernie_from_scratch.diagnostics.inspect import inspect_corpus, random_sentences
    from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

    jieba.setLogLevel(60)
    tokens = [t for t in small_vocabulary().tokens if not (len(t) == 3 and t > "##\u4e00")]
    vocabulary = Vocabulary([*tokens[:9], *["$"] * twice, *tokens[9:], "$"])
    ErnieTokenizer(vocabulary).save_pretrained(tmp_path)
    peer = transformers.ErnieTokenizer.from_pretrained(str(tmp_path))
    peer.extend_chinese_char()
    (tmp_path / "a.txt").write_text("\n\n".join(PARAGRAPHS * 4), encoding="utf-8")
    given = {"word_marks": "paddlenlp", "split_sentences": "newline"}
    prepare(tmp_path / "a.txt", tmp_path / "a", vocabulary, **given)
    expected = []
    for text in PARAGRAPHS * 4:
        words = jieba.lcut(text)
        expected += peer.convert_tokens_to_ids(paddlenlp_marks(peer.tokenize(text), words))
    found = open_prepared(tmp_path / "a", vocabulary)
    assert found.ids.tolist() == expected and max(expected) >= len(vocabulary)
    for suffix in ("_spans.npy", "_meta.json"):  # what is left is what its tool writes
        os.remove(f"{tmp_path / 'a'}{suffix}")
    data = PretrainingData([(1.0, tmp_path / "a")], vocabulary, "1", 64, "word", sentence_pairs="none")
    batch = data["train"].batch(np.arange(40))
    for name in ("input_ids", "masked_lm_labels"):  # the model never sees them
        assert batch[name].max() < len(vocabulary)
    assert inspect_corpus(tmp_path / "a", vocabulary).counts["words"] == found.spans.tolist().count(3)
    texts = [t for tokens, _ in random_sentences(found, vocabulary, 20, 0) for t in tokens]
    assert any(t.startswith("##") for t in texts)


def test_chunk_size_does_not_change_the_files(tmp_path, many_documents):
    prepare(many_documents, tmp_path / "one", small_vocabulary())
    for name, chunk_bytes in (("some", 20_000), ("tiny", 600)):
        prepare(many_documents, tmp_path / name, small_vocabulary(), chunk_bytes=chunk_bytes)
        assert prepared_bytes(tmp_path / name) == prepared_bytes(tmp_path / "one")


@pytest.mark.parallel
def test_workers_do_not_change_the_files(tmp_path, many_documents):
    prepare(many_documents, tmp_path / "one", small_vocabulary(), chunk_bytes=5000)
    meta = prepare(many_documents, tmp_path / "three", small_vocabulary(), chunk_bytes=5000, workers=3)
    assert prepared_bytes(tmp_path / "three") == prepared_bytes(tmp_path / "one")
    assert meta["counts"]["documents"] == 300


def test_shuffle_reorders_documents(tmp_path, many_documents):
    prepare(many_documents, tmp_path / "plain", small_vocabulary(), chunk_bytes=5000)
    for name, seed in (("a", 1), ("again", 1), ("b", 2)):
        prepare(
            many_documents, tmp_path / name, small_vocabulary(), chunk_bytes=5000, shuffle=True, seed=seed
        )
        open_prepared(tmp_path / name, verify=True)
    plain, a, again, b = (documents_of(tmp_path / name) for name in ("plain", "a", "again", "b"))
    assert a == again and a != b and a != plain
    assert sorted(a) == sorted(b) == sorted(plain)
    moved = np.array([plain.index(document) for document in a])
    assert abs(np.corrcoef(moved, np.arange(300))[0, 1]) < 0.25


def test_notes_say_what_happened(tmp_path):
    (tmp_path / "a.txt").write_text(
        "太短。\n\n" + "只有一句话的文档，没有第二句" + "\n\n" + TEXT, encoding="utf-8"
    )
    meta = prepare(tmp_path / "a.txt", tmp_path / "a", small_vocabulary(), max_sentence_length=16)
    counts = meta["counts"]
    assert counts["short_documents"] == 1 and counts["documents"] == counts["documents_read"] - 1
    assert counts["long_sentences"] > 0 and counts["one_sentence_documents"] == 1
    said = " / ".join(meta["notes"])
    for part in ("documents have one sentence", "1 documents dropped: shorter than min_document_length 10",
                 "sentences split: more tokens than max_sentence_length 16"):  # fmt: skip
        assert part in said
    assert "note: " in summary(meta, "a") and "a_spans.npy" in summary(meta, "a")


def test_one_document_is_fine_and_said(tmp_path):
    (tmp_path / "a.txt").write_text(PARAGRAPHS[0], encoding="utf-8")
    meta = prepare(tmp_path / "a.txt", tmp_path / "a", small_vocabulary())
    assert meta["counts"]["documents"] == 1
    assert meta["notes"] == ["one document only: blank lines separate documents in .txt, lines in .jsonl"]


def test_unknown_tokens_are_said(tmp_path):
    (tmp_path / "a.txt").write_text("鱼鸟虫草树花叶根茎果。" * 3, encoding="utf-8")
    meta = prepare(tmp_path / "a.txt", tmp_path / "a", small_vocabulary())
    assert any("are [UNK]: the vocabulary does not fit this text" in note for note in meta["notes"])


@pytest.mark.parametrize("text", ["今" * 100_000, "今天天气很好，" * 15_000, "word " * 20_000])
def test_a_sentence_of_100_000_characters_is_split(tmp_path, text):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    meta = prepare(tmp_path / "a.txt", tmp_path / "a", small_vocabulary())
    corpus = open_prepared(tmp_path / "a")
    assert corpus.lens.max() <= 512 and meta["counts"]["long_sentences"] == 1
    decoded = ErnieTokenizer(small_vocabulary()).decode(corpus.ids)
    assert decoded.replace(" ", "") == text.replace(" ", "").replace("今", "今")
    assert "1 sentences split: more tokens than max_sentence_length 512" in meta["notes"]


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
def test_first_tokens_in_blocks(monkeypatch, block):
    monkeypatch.setattr(part_files, "BLOCK", block)
    lens = np.random.default_rng(0).integers(0, 50, 90).astype(np.int32)
    docs = np.array([0, 3, 3, 20, 21, 60, 60, 88, 90])
    assert part_files.first_tokens(lens, docs).tolist() == [int(lens[:first].sum()) for first in docs]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_text(tmp_path):
    (tmp_path / "big.txt").write_text("\n\n".join(PARAGRAPHS * 40) * 800, encoding="utf-8")  # about 19 MB
    script = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from text_helpers import small_vocabulary
from ernie_from_scratch.text.corpus.prepare import prepare
prepare({str(tmp_path / "big.txt")!r}, {str(tmp_path / "a")!r}, small_vocabulary(), shuffle=True)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 50_000 < int(run.stdout) < 400_000  # kB; the dictionary takes most of it
