"""Raw text to chunks, documents and sentences."""

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_helpers import PARAGRAPHS, write_jsonl

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus import chunks
from ernie_from_scratch.text.corpus.chunks import read_chunks
from ernie_from_scratch.text.corpus.reading import (
    Sentence,
    parse_chunk,
    read_documents,
    read_texts,
)
from ernie_from_scratch.text.corpus.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("天晴了。走吧！好吗？", ["天晴了。", "走吧！", "好吗？"]),
        ("他说：“走吧。”我们走了。", ["他说：“走吧。”", "我们走了。"]),
        ("真的吗？！”他问……于是；没有", ["真的吗？！”", "他问……", "于是；", "没有"]),
        ("一行\n两行。 \n\n  三行", ["一行", "两行。", "三行"]),
        ("（括号。）后面", ["（括号。）", "后面"]),
        ("3.14 is e.g. pi; yes", ["3.14 is e.g. pi; yes"]),
        ("。。。", ["。。。"]),
        (" \n\u3000\n", []),
        ("", []),
    ],
)
def test_split_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_split_at_newlines_only():
    assert split_sentences("天晴了。走吧！\r\n好吗？", "newline") == ["天晴了。走吧！", "好吗？"]


@given(
    st.text(st.sampled_from("中文。！？；…”」) \n\r\u3000a"), max_size=40),
    st.sampled_from(["punctuation", "newline"]),
)
def test_splitting_keeps_every_character_that_is_no_space(text, splitter):
    assert "".join("".join(split_sentences(text, splitter)).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in split_sentences(text, splitter))


def test_blank_lines_separate_documents(tmp_path):
    (tmp_path / "a.txt").write_bytes("一。二。\r\n三\n \t\n四\n\n\n\u3000\n五".encode())
    documents = [[s.text for s in d] for d in read_documents(tmp_path / "a.txt")]
    assert documents == [["一。", "二。", "三"], ["四"], ["五"]]


def test_jsonl_rows(tmp_path):
    rows = [
        {"text": "一。二。"},
        {
            "title": "题",
            "sentences": [{"text": "哈尔滨冷。", "spans": [[0, 3, "LOC"]]}, {"text": "是"}, "字符串。也行"],
        },
    ]
    documents = list(read_documents(write_jsonl(tmp_path / "a.jsonl", rows)))
    assert documents == [
        [Sentence("一。"), Sentence("二。")],
        [Sentence("哈尔滨冷。", ((0, 3, "LOC"),)), Sentence("是"), Sentence("字符串。也行")],
    ]
    assert list(read_texts(tmp_path / "a.jsonl"))[:2] == ["一。", "二。"]


def test_json_key(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"content": "字"}])
    assert list(read_texts(path, json_key="content")) == ["字"]


def test_folders_are_read_in_order_and_only_their_texts(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.txt").write_text("二", encoding="utf-8")
    (tmp_path / "1.txt").write_text("一", encoding="utf-8")
    (tmp_path / "3.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": "三"}).encode()))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "empty.txt").write_text("")
    assert list(read_texts(tmp_path)) == ["一", "三", "二"]


def test_standard_input_and_its_format(monkeypatch):
    for data in ('{"text": "字"}\n', "字\n"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
        assert list(read_texts("-")) == ["字"]


def test_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "字".encode())
    assert list(read_texts(tmp_path / "a.txt")) == ["字"]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 333, 1 << 20])
@pytest.mark.parametrize("format", ["txt", "jsonl"])
def test_chunks_hold_complete_documents_for_any_chunk_size(tmp_path, chunk_bytes, format):
    documents = [paragraph * n for n, paragraph in enumerate(PARAGRAPHS * 4, start=1)]
    path = tmp_path / f"a.{format}"
    if format == "txt":
        path.write_text("\n \n".join(documents) + "\n", encoding="utf-8")
    else:
        write_jsonl(path, [{"text": document} for document in documents])
    found = list(read_chunks(path, chunk_bytes=chunk_bytes))
    assert b"".join(chunk.data for chunk in found) == path.read_bytes()
    assert [d.text.strip() for chunk in found for d in parse_chunk(chunk)] == documents
    line = 1
    for chunk in found:
        assert chunk.first_line == line
        line += chunk.data.count(b"\n")


def test_a_document_too_long_for_memory_is_split_at_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "MAX_DOCUMENT_BYTES", 1000)
    line = "没有空行的长文。\n"
    (tmp_path / "a.txt").write_text(line * 500, encoding="utf-8")
    found = list(read_chunks(tmp_path / "a.txt", chunk_bytes=100))
    assert len(found) > 5 and all(chunk.cut_document for chunk in found[:-1])
    assert max(len(chunk.data) for chunk in found) <= 1200
    assert b"".join(chunk.data for chunk in found).decode() == line * 500
    (tmp_path / "b.txt").write_text("字" * 2000, encoding="utf-8")
    texts = [d.text for chunk in read_chunks(tmp_path / "b.txt", chunk_bytes=100) for d in parse_chunk(chunk)]
    assert len(texts) > 1 and "".join(texts) == "字" * 2000


def test_memory_of_reading_is_bounded(tmp_path):
    """Chunks are streamed: the first comes before the file has been read to its end."""
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(PARAGRAPHS * 2000), encoding="utf-8")
    read = []
    found = read_chunks(path, chunk_bytes=1 << 14, on_read=read.append)
    next(found)
    assert 0 < sum(read) < path.stat().st_size


def test_unknown_format():
    with pytest.raises(UserError, match="unknown format: csv; known: auto, txt, jsonl"):
        list(read_chunks("-", "csv"))
