"""Chunks of raw text to documents and sentences."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.chunks import Chunk, Inputs, name_of, read_chunks
from ernie_from_scratch.text.corpus.sentences import split_sentences
from ernie_from_scratch.text.corpus.spans import SPAN_KINDS
from ernie_from_scratch.text.settings import EncodingSettings

Span = tuple[int, int, str]  # first character, one past the last, kind (spans.SPAN_KINDS)

_BLANK_LINE = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Sentence:
    """One sentence; `spans` are annotated boundaries in characters of `text`, None without annotation."""

    text: str
    spans: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class Document:
    """A document as read: running text, or sentences if the source is already split."""

    text: str | None = None
    sentences: tuple[Sentence, ...] | None = None
    title: str = ""

    def split(self, splitter: str = "punctuation") -> list[Sentence]:
        """The sentences; running text is split (see `split_sentences`)."""
        if self.sentences is not None:
            return list(self.sentences)
        return [Sentence(text) for text in split_sentences(self.text or "", splitter)]

    def __len__(self) -> int:
        """Characters."""
        texts = [self.text or ""] if self.sentences is None else [s.text for s in self.sentences]
        return sum(map(len, texts))


def decode(chunk: Chunk) -> str:
    """The chunk as text. Raises UserError if it is not UTF-8; the message says so if it looks like GBK."""
    try:
        return chunk.data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{name_of(chunk.source)} line {chunk.first_line + chunk.data.count(10, 0, error.start)}"
        invalid = chunk.data.decode("utf-8", "replace").count("\ufffd")
        if invalid * 20 > len(chunk.data) and _is_gbk(chunk.data):
            raise UserError(
                f"wrong encoding: {where} looks like GBK; convert it: iconv -f GB18030 -t UTF-8 IN > OUT"
            ) from error
        raise UserError(
            f"invalid UTF-8: {where}, byte {chunk.first_byte + error.start}; "
            "repair it, or drop invalid bytes: iconv -c -f UTF-8 -t UTF-8 IN > OUT"
        ) from error


def _is_gbk(data: bytes) -> bool:
    complete_lines = data[: data.rfind(b"\n") + 1 or len(data)]
    try:
        complete_lines.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def parse_chunk(chunk: Chunk, json_key: str = EncodingSettings.json_key) -> Iterator[Document]:
    """The documents of a chunk: separated by blank lines in .txt, one per line in .jsonl.

    A jsonl row is {"text": "…"} (the key is `json_key`), or, with annotated boundaries,
    {"title": "…", "sentences": [{"text": "…", "spans": [[start, end, kind], …]}, …]}; spans may be absent.

    Raises:
        UserError: the chunk is not UTF-8, or a row is malformed.
    """
    text = decode(chunk)
    if chunk.format == "txt":
        for document in _BLANK_LINE.split(text.replace("\r\n", "\n")):
            if document and not document.isspace():
                yield Document(text=document)
        return
    for number, line in enumerate(text.split("\n"), start=chunk.first_line):
        if line and not line.isspace():
            yield _document_of_row(line, json_key, f"{name_of(chunk.source)} line {number}")


def _document_of_row(line: str, json_key: str, where: str) -> Document:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {where} ({error}); give one JSON object per line") from error
    if not isinstance(row, dict):
        raise UserError(f'not a JSON object: {where}; give one like {{"{json_key}": "…"}}')
    if "sentences" in row:
        if not isinstance(row["sentences"], list):
            raise UserError(f"not a list: {where}, sentences; give a list of objects with text and spans")
        sentences = tuple(_sentence_of(item, where) for item in row["sentences"])
        return Document(sentences=sentences, title=str(row.get("title", "")))
    if json_key not in row:
        keys = ", ".join(sorted(map(str, row))[:8]) or "none"
        raise UserError(
            f"missing key: {where} has no {json_key!r} (keys: {keys}); name the right one with --json_key"
        )
    if not isinstance(row[json_key], str):
        raise UserError(f"not text: {where}, {json_key}; give a string")
    return Document(text=row[json_key].replace("\r\n", "\n"), title=str(row.get("title", "")))


def _sentence_of(item: object, where: str) -> Sentence:
    if isinstance(item, str):
        return Sentence(item)
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise UserError(f'not a sentence: {where}; give {{"text": "…", "spans": [[start, end, kind], …]}}')
    spans = item.get("spans")
    if spans is None:
        return Sentence(item["text"])
    length = len(item["text"])
    for span in spans if isinstance(spans, list) else [spans]:
        valid = isinstance(span, list) and len(span) == 3 and all(type(edge) is int for edge in span[:2])
        if not valid or not 0 <= span[0] < span[1] <= length or span[2] not in SPAN_KINDS:
            raise UserError(
                f"wrong span: {where}, {json.dumps(span, ensure_ascii=False)} in {length} characters; "
                f"give [start, end, kind], kind one of {', '.join(SPAN_KINDS)}"
            )
    return Sentence(item["text"], tuple((start, end, kind) for start, end, kind in spans))


def read_documents(
    inputs: Inputs,
    format: str = EncodingSettings.format,
    json_key: str = EncodingSettings.json_key,
    splitter: str = EncodingSettings.split_sentences,
) -> Iterator[list[Sentence]]:
    """All documents of files, folders or standard input, each as a list of sentences."""
    for chunk in read_chunks(inputs, format):
        for document in parse_chunk(chunk, json_key):
            sentences = document.split(splitter)
            if sentences:
                yield sentences


def read_texts(
    inputs: Inputs, format: str = EncodingSettings.format, json_key: str = EncodingSettings.json_key
) -> Iterator[str]:
    """The text of each sentence of files, folders or standard input."""
    for sentences in read_documents(inputs, format, json_key):
        for sentence in sentences:
            yield sentence.text
