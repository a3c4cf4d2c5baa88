"""Raw text to the files of a prepared corpus, and back."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from text_helpers import PARAGRAPHS, TEXT, small_vocabulary, without_cpp, write_jsonl

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.text import parts, workers
from ernie_from_scratch.text.prepare import prepare, summary
from ernie_from_scratch.text.prepared import bits_from_ids, open_prepared
from ernie_from_scratch.text.spans import entity_runs, phrase_runs, word_runs
from ernie_from_scratch.text.tokenizer import ErnieTokenizer

FILES = ("_ids.npy", "_idx.npz", "_spans.npy")


def contents(prefix) -> list[bytes]:
    return [open(f"{prefix}{suffix}", "rb").read() for suffix in FILES]


def documents_of(prefix) -> list[bytes]:
    """The ids and bits of each document, with its sentence lengths, as bytes."""
    corpus = open_prepared(prefix)
    ends = np.concatenate([[0], np.cumsum(corpus.lens)])
    found = []
    for first, last in zip(corpus.docs, corpus.docs[1:], strict=False):
        tokens = slice(ends[first], ends[last])
        rows = corpus.ids[tokens], corpus.spans[tokens], corpus.lens[first:last]
        found.append(b"|".join(row.tobytes() for row in rows))
    return found


@pytest.fixture()
def many(tmp_path):
    """About 90 kB in 300 documents."""
    path = tmp_path / "many.txt"
    path.write_text("\n\n".join(f"第{n}篇。" + PARAGRAPHS[n % 5] * 2 for n in range(300)), encoding="utf-8")
    return path


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
    assert corpus.docs.tolist() == [0, 2] and corpus.docs.dtype == np.int64
    assert corpus.lens.tolist() == [11, 8] and corpus.lens.dtype == np.int32
    assert corpus.ids.dtype == np.uint16 and corpus.spans.dtype == np.uint8
    tokens = [vocabulary.tokens[i].removeprefix("##") for i in corpus.ids]
    first, second = corpus.spans[:11], corpus.spans[11:]
    assert entity_runs(first) == [(0, 3, "LOC"), (4, 7, "LOC")]
    assert ["".join(tokens[a:b]) for a, b in phrase_runs(first)] == ["哈尔滨", "是", "黑龙江的省会", "。"]
    assert ["".join(tokens[11:][a:b]) for a, b in word_runs(second)] == ["研究", "生命", "的", "起源", "。"]
    assert meta["counts"]["entities"]["LOC"] == 2 and meta["counts"]["tokens"] == 19
    assert not os.path.exists(tmp_path / "out" / "a.parts")


def test_files_are_byte_for_byte_numpys(tmp_path, many):
    prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000)
    corpus = open_prepared(tmp_path / "a")
    np.save(tmp_path / "b_ids.npy", np.array(corpus.ids))
    np.savez(tmp_path / "b_idx.npz", lens=corpus.lens, docs=corpus.docs)
    np.save(tmp_path / "b_spans.npy", np.array(corpus.spans))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_large_vocabulary_gets_int32(tmp_path):
    from ernie_from_scratch.text.vocabulary import Vocabulary

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
def test_cpp_and_python_write_the_same_files(tmp_path, many, form, marks):
    if native.helpers() is None:
        pytest.skip(f"C++ helpers: {native.why_missing()}")
    path = many
    if form != "txt":
        text = many.read_text(encoding="utf-8").split("\n\n")
        rows = [{"text": document} for document in text]
        if form == "spans":
            rows = [{"sentences": [{"text": d, "spans": [[0, 3, "WORK"], [3, 9, "PHRASE"]]}]} for d in text]
        path = write_jsonl(tmp_path / "many.jsonl", rows)
    (tmp_path / "words.txt").write_text("冰灯 OTHER\n北京大学 ORG\n", encoding="utf-8")
    given = {"word_marks": marks, "user_dict": str(tmp_path / "words.txt"), "max_sentence_length": 20}
    prepare(path, tmp_path / "cpp", small_vocabulary(), **given)
    with without_cpp():
        prepare(path, tmp_path / "python", small_vocabulary(), **given)
    assert contents(tmp_path / "cpp") == contents(tmp_path / "python")


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
    assert theirs.spans is None and theirs.meta is None
    assert np.array_equal(
        bits_from_ids(theirs.ids, vocabulary) & 1, open_prepared(tmp_path / "ours").spans & 1
    )


@pytest.mark.parametrize("twice", [0, 1])
def test_word_marks_beyond_the_vocabulary_are_paddlenlps(tmp_path, twice):
    """Without `##`Han in the vocabulary (ERNIE 3.0's has none) they are numbered behind it, as its tool does."""
    transformers = pytest.importorskip("paddlenlp.transformers")
    import jieba
    from test_encode import paddlenlp_marks

    from ernie_from_scratch.dataset.data import PretrainingData
    from ernie_from_scratch.dataset.inspect import inspect_corpus, random_sentences
    from ernie_from_scratch.text.vocabulary import Vocabulary

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


def test_pieces_do_not_change_the_files(tmp_path, many):
    prepare(many, tmp_path / "one", small_vocabulary())
    for name, piece_bytes in (("some", 20_000), ("tiny", 600)):
        prepare(many, tmp_path / name, small_vocabulary(), piece_bytes=piece_bytes)
        assert contents(tmp_path / name) == contents(tmp_path / "one")


@pytest.mark.parallel
def test_workers_do_not_change_the_files(tmp_path, many):
    prepare(many, tmp_path / "one", small_vocabulary(), piece_bytes=5000)
    meta = prepare(many, tmp_path / "three", small_vocabulary(), piece_bytes=5000, workers=3)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    assert meta["counts"]["documents"] == 300


def test_shuffle_reorders_whole_documents(tmp_path, many):
    prepare(many, tmp_path / "plain", small_vocabulary(), piece_bytes=5000)
    for name, seed in (("a", 1), ("again", 1), ("b", 2)):
        prepare(many, tmp_path / name, small_vocabulary(), piece_bytes=5000, shuffle=True, seed=seed)
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


# Stopping and going on


class Stopped(Exception):
    pass


def count_encodings(monkeypatch, stop_after=None):
    """Counts the pieces that are really encoded; raises Stopped before the one after `stop_after`."""
    done = []
    write = parts.write_part

    def counted(path, *rest):
        if stop_after is not None and len(done) == stop_after:
            raise Stopped
        write(path, *rest)
        done.append(path.name)

    monkeypatch.setattr(workers.parts, "write_part", counted)
    return done


def test_a_stopped_run_goes_on_where_it_was(tmp_path, many, monkeypatch):
    prepare(many, tmp_path / "whole", small_vocabulary(), piece_bytes=5000)
    count_encodings(monkeypatch, stop_after=7)
    with pytest.raises(Stopped):
        prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000)
    assert not (tmp_path / "a_ids.npy").exists()
    monkeypatch.undo()
    done = count_encodings(monkeypatch)
    prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000)
    assert done and done[0] == "part-000007.npz"
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["settings", "text", "part"])
def test_parts_that_no_longer_fit_are_made_again(tmp_path, many, monkeypatch, change):
    count_encodings(monkeypatch, stop_after=7)
    with pytest.raises(Stopped):
        prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000)
    monkeypatch.undo()
    given = {"max_sentence_length": 30} if change == "settings" else {}
    if change == "text":
        text = many.read_text(encoding="utf-8")
        many.write_text(text.replace("第3篇", "第九篇"), encoding="utf-8")
    if change == "part":
        path = parts.part_path(tmp_path / "a.parts", 2)
        path.write_bytes(path.read_bytes()[:500])
    done = count_encodings(monkeypatch)
    prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000, **given)
    again = {"settings": 0, "text": 0, "part": 2}[change]
    assert done[0] == f"part-{again:06d}.npz"
    monkeypatch.undo()
    prepare(many, tmp_path / "fresh", small_vocabulary(), piece_bytes=5000, **given)
    assert contents(tmp_path / "a") == contents(tmp_path / "fresh")


@pytest.mark.parallel
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_run_goes_on_and_leaves_no_process(tmp_path, many, monkeypatch):
    script = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from text_helpers import small_vocabulary
from ernie_from_scratch.text import prepare, workers
encode = workers.PieceEncoder.encode
def slow(self, *rest):
    time.sleep(0.1)
    return encode(self, *rest)
workers.PieceEncoder.encode = slow
prepare.prepare({str(many)!r}, {str(tmp_path / "a")!r}, small_vocabulary(), piece_bytes=5000, workers=2)
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    folder = tmp_path / "a.parts"
    limit = time.time() + 60
    while len(list(folder.glob("part-*.npz"))) < 3 and time.time() < limit:
        time.sleep(0.02)
    children = [int(p) for p in open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name for path in folder.glob("part-*.npz")}
    assert len(children) == 2 and len(kept) >= 3
    while any(os.path.exists(f"/proc/{child}") for child in children) and time.time() < limit:
        time.sleep(0.02)
    assert not any(os.path.exists(f"/proc/{child}") for child in children)
    done = count_encodings(monkeypatch)
    prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000)
    assert kept.isdisjoint(done) and done
    prepare(many, tmp_path / "b", small_vocabulary())
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parallel
def test_a_killed_worker_is_one_line(tmp_path, many, monkeypatch):
    def die(self, piece, path):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(workers.PieceEncoder, "encode", die)
    with pytest.raises(UserError, match="a worker process was killed: memory may be short"):
        prepare(many, tmp_path / "a", small_vocabulary(), piece_bytes=5000, workers=2)


def test_output_inside_the_input_folder(tmp_path, monkeypatch):
    """What a run wrote there, and what it is writing, is no text."""
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    first = prepare(tmp_path, tmp_path / "out", small_vocabulary())
    again = prepare(tmp_path, tmp_path / "out", small_vocabulary())
    assert first["counts"] == again["counts"] and first["counts"]["documents"] == 5
    count_encodings(monkeypatch, stop_after=0)
    with pytest.raises(Stopped):
        prepare(tmp_path, tmp_path / "out", small_vocabulary())
    monkeypatch.undo()
    assert (tmp_path / "out.parts" / "key.json").exists()
    assert prepare(tmp_path, tmp_path / "out", small_vocabulary())["inputs"] == [str(tmp_path / "a.txt")]


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
def test_first_tokens_in_blocks(monkeypatch, block):
    monkeypatch.setattr(parts, "BLOCK", block)
    lens = np.random.default_rng(0).integers(0, 50, 90).astype(np.int32)
    docs = np.array([0, 3, 3, 20, 21, 60, 60, 88, 90])
    assert parts.first_tokens(lens, docs).tolist() == [int(lens[:first].sum()) for first in docs]


def test_two_runs_to_one_place_do_not_meet(tmp_path, many):
    with parts.work_folder(tmp_path / "a", "key"):
        with pytest.raises(UserError, match="already running: another process prepares"):
            prepare(many, tmp_path / "a", small_vocabulary())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_text(tmp_path):
    (tmp_path / "big.txt").write_text("\n\n".join(PARAGRAPHS * 40) * 800, encoding="utf-8")  # about 19 MB
    script = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from text_helpers import small_vocabulary
from ernie_from_scratch.text.prepare import prepare
prepare({str(tmp_path / "big.txt")!r}, {str(tmp_path / "a")!r}, small_vocabulary(), shuffle=True)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 50_000 < int(run.stdout) < 400_000  # kB; the dictionary takes most of it


# Reading back


@pytest.fixture()
def prepared(tmp_path, many):
    prepare(many, tmp_path / "a", small_vocabulary())
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
    from ernie_from_scratch.text.vocabulary import Vocabulary

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
