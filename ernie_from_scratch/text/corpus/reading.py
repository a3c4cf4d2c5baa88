"""Raw text to documents: finds the files, reads them piece by piece, and parses the pieces.

A piece ends where a document ends, so pieces can be worked on in any order by several processes; only pieces
are ever held in memory, never a whole file.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.part_files import IDS, META, is_work_folder
from ernie_from_scratch.text.corpus.sentences import split_sentences
from ernie_from_scratch.text.corpus.spans import SPAN_KINDS
from ernie_from_scratch.text.settings import FORMATS, EncodingSettings
from ernie_from_scratch.utils.files import COMPRESSED_SUFFIXES, STDIN, check_readable, open_bytes

TEXT_SUFFIXES = {".txt": "txt", ".text": "txt", ".jsonl": "jsonl", ".json": "jsonl"}
PIECE_BYTES = 4 << 20
LONGEST_DOCUMENT = 8 << 20  # bytes; a longer document of a .txt is cut at a line's end
LONGEST_ROW = 64 << 20  # bytes; a longer row of a .jsonl is refused

Span = tuple[int, int, str]  # first character, character after the last, kind (spans.SPAN_KINDS)

_BLANK_LINE = re.compile(rb"\n(?:[ \t\r]|\xe3\x80\x80)*\n")
_BLANK_LINE_IN_TEXT = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Sentence:
    """One sentence; `spans` are known boundaries in characters of `text`, None when nothing is known."""

    text: str
    spans: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class Document:
    """A document as it was read: running text, or sentences that the source already tells apart."""

    text: str | None = None
    sentences: tuple[Sentence, ...] | None = None
    title: str = ""

    def split(self, splitter: str = "punctuation") -> list[Sentence]:
        if self.sentences is not None:
            return list(self.sentences)
        return [Sentence(text) for text in split_sentences(self.text or "", splitter)]

    def __len__(self) -> int:
        """Characters."""
        return (
            len(self.text)
            if self.sentences is None
            else sum(len(sentence.text) for sentence in self.sentences)
        )


@dataclass(frozen=True)
class Piece:
    """Whole documents of one source, as bytes."""

    data: bytes = field(repr=False)
    source: str
    format: str  # "txt" or "jsonl"
    first_line: int  # of the source, from 1
    first_byte: int  # of the decompressed source
    cut_document: bool = False  # a document longer than LONGEST_DOCUMENT was cut at the end of this piece


def find_files(inputs: str | os.PathLike | Iterable[str | os.PathLike]) -> list[str]:
    """The files to read: those named, and those with text in folders, folders in sorted order; "-" = standard
    input.
    """
    inputs = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    files: list[str] = []
    for name in inputs:
        if str(name) == STDIN:
            files.append(STDIN)
            continue
        if not str(name):
            raise UserError("empty name among the inputs; name files, folders or - for standard input")
        check_readable(name)
        if not Path(name).is_dir():
            files.append(str(name))
            continue
        inside = sorted(str(path) for path in Path(name).rglob("*") if path.is_file() and _is_text(path))
        if not inside:
            raise UserError(
                f"no text in folder: {name}; it needs .txt or .jsonl files (also .gz, .xz, .zst of them)"
            )
        files += inside
    if not files:
        raise UserError("no input; name files, folders or - for standard input")
    return files


def _is_text(path: Path) -> bool:
    """Whether a file of a folder is meant to be read; what `ernie prepare` wrote there isn't."""
    meta = path.name.endswith(META) and path.with_name(path.name.removesuffix(META) + IDS).exists()
    return _known_format(path) is not None and not is_work_folder(path.parent) and not meta


def _known_format(path: str | os.PathLike) -> str | None:
    path = Path(path)
    if path.suffix in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return TEXT_SUFFIXES.get(path.suffix)


def read_pieces(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    format: str = EncodingSettings.format,
    piece_bytes: int = PIECE_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[Piece]:
    """Pieces of about `piece_bytes` bytes; `on_read` hears how many stored bytes are read."""
    if format not in FORMATS:
        raise UserError(f"unknown format: {format}; known: {', '.join(FORMATS)}")
    named = {str(name) for name in ([inputs] if isinstance(inputs, (str, os.PathLike)) else inputs)}
    nothing = True
    for source in find_files(inputs):
        with open_bytes(source, on_read) as file:
            empty = True
            for piece in _pieces_of(file, source, format, piece_bytes):
                empty = nothing = False
                yield piece
            if empty and source in named:
                raise UserError(f"empty file: {_name(source)}; give a file with text")
    if nothing:
        raise UserError(f"empty files: all of {', '.join(sorted(named))}; give files with text")


def _pieces_of(file, source: str, format: str, piece_bytes: int) -> Iterator[Piece]:
    data, line, position, known = b"", 1, 0, None
    while block := file.read(piece_bytes):
        if known is None:
            block = _check_start(block, source)
            known = _format_of(source, format, block)
        data += block
        end, cut = _last_boundary(data, known), False
        if not end and known == "jsonl" and len(data) > LONGEST_ROW:
            raise UserError(
                f"row too long: {_name(source)} line {line} has more than {LONGEST_ROW >> 20} MB; "
                "give one JSON object per line, or the text as .txt"
            )
        if not end and known == "txt" and len(data) > LONGEST_DOCUMENT:
            end, cut = data.rfind(b"\n") + 1 or _character_boundary(data), True
        if end:
            if data[:end].strip():
                yield Piece(data[:end], source, known, line, position, cut)
            line += data.count(b"\n", 0, end)
            position += end
            data = data[end:]
    if data.strip():
        yield Piece(data, source, known, line, position)


def _last_boundary(data: bytes, format: str) -> int:
    """Position after the last document that is surely whole, 0 when there is none."""
    if format == "jsonl":
        return data.rfind(b"\n") + 1
    end = 0
    start = max(0, len(data) - (1 << 16))  # the last blank line is nearly always near the end
    for begin in (start, 0) if start else (0,):
        for match in _BLANK_LINE.finditer(data, begin):
            end = match.end()
        if end:
            break
    return end


def _character_boundary(data: bytes) -> int:
    """The end of the last whole UTF-8 character."""
    end = len(data)
    while end > 1 and data[end - 1] & 0xC0 == 0x80:
        end -= 1
    return end - 1


def _check_start(block: bytes, source: str) -> bytes:
    """Refuses files that are no UTF-8 text; takes the byte order mark away."""
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(
            f"wrong encoding: {_name(source)} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 IN > OUT"
        )
    if b"\0" in block[: 1 << 16]:
        raise UserError(f"binary file: {_name(source)}; give text (.txt, .jsonl, or .gz, .xz, .zst of them)")
    return block.removeprefix(b"\xef\xbb\xbf")


def _format_of(source: str, format: str, block: bytes) -> str:
    if format != "auto":
        return format
    return (source != STDIN and _known_format(source)) or ("jsonl" if block.lstrip()[:1] == b"{" else "txt")


def decode(piece: Piece) -> str:
    """The piece as text. Raises UserError where it is not UTF-8, saying so if it looks like GBK."""
    try:
        return piece.data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{_name(piece.source)} line {piece.first_line + piece.data.count(10, 0, error.start)}"
        strange = piece.data.decode("utf-8", "replace").count("\ufffd")
        if strange * 20 > len(piece.data) and _is_gbk(piece.data):
            raise UserError(
                f"wrong encoding: {where} looks like GBK; convert it: iconv -f GB18030 -t UTF-8 IN > OUT"
            ) from error
        raise UserError(
            f"broken UTF-8: {where}, byte {piece.first_byte + error.start}; "
            "mend it, or drop what is broken: iconv -c -f UTF-8 -t UTF-8 IN > OUT"
        ) from error


def _is_gbk(data: bytes) -> bool:
    try:
        data[: _gbk_boundary(data)].decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def _gbk_boundary(data: bytes) -> int:
    return data.rfind(b"\n") + 1 or len(data)


def parse_piece(piece: Piece, json_key: str = EncodingSettings.json_key) -> Iterator[Document]:
    """The documents of a piece: blank lines separate them in .txt; in .jsonl each line is one.

    A jsonl row is {"text": "…"} (the key is `json_key`), or, with boundaries known,
    {"title": "…", "sentences": [{"text": "…", "spans": [[start, end, kind], …]}, …]}; spans may be absent.
    """
    text = decode(piece)
    if piece.format == "txt":
        for part in _BLANK_LINE_IN_TEXT.split(text.replace("\r\n", "\n")):
            if part and not part.isspace():
                yield Document(text=part)
        return
    for number, line in enumerate(text.split("\n"), start=piece.first_line):
        if line and not line.isspace():
            yield _document_of_row(line, json_key, f"{_name(piece.source)} line {number}")


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


def _sentence_of(item, where: str) -> Sentence:
    if isinstance(item, str):
        return Sentence(item)
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise UserError(f'not a sentence: {where}; give {{"text": "…", "spans": [[start, end, kind], …]}}')
    spans = item.get("spans")
    if spans is None:
        return Sentence(item["text"])
    length = len(item["text"])
    for span in spans if isinstance(spans, list) else [spans]:
        good = isinstance(span, list) and len(span) == 3 and all(type(edge) is int for edge in span[:2])
        if not good or not 0 <= span[0] < span[1] <= length or span[2] not in SPAN_KINDS:
            raise UserError(
                f"wrong span: {where}, {json.dumps(span, ensure_ascii=False)} in {length} characters; "
                f"give [start, end, kind], kind one of {', '.join(SPAN_KINDS)}"
            )
    return Sentence(item["text"], tuple((start, end, kind) for start, end, kind in spans))


def read_documents(
    inputs,
    format: str = EncodingSettings.format,
    json_key: str = EncodingSettings.json_key,
    splitter: str = EncodingSettings.split_sentences,
) -> Iterator[list[Sentence]]:
    """All documents of files, folders or standard input, each as a list of sentences."""
    for piece in read_pieces(inputs, format):
        for document in parse_piece(piece, json_key):
            sentences = document.split(splitter)
            if sentences:
                yield sentences


def read_texts(
    inputs, format: str = EncodingSettings.format, json_key: str = EncodingSettings.json_key
) -> Iterator[str]:
    """The text of each sentence of files, folders or standard input."""
    for sentences in read_documents(inputs, format, json_key):
        for sentence in sentences:
            yield sentence.text


def _name(source: str) -> str:
    return "standard input" if source == STDIN else source
