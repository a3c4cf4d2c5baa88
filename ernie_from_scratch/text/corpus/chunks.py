"""Files of raw text to chunks: bytes that hold complete documents.

Chunks can be processed in any order by several processes, and only chunks are held in memory, never a whole
file.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.part_files import IDS, META, is_work_folder
from ernie_from_scratch.text.settings import FORMATS, EncodingSettings
from ernie_from_scratch.utils.files import COMPRESSED_SUFFIXES, STDIN, check_readable, open_bytes

TEXT_SUFFIXES = {".txt": "txt", ".text": "txt", ".jsonl": "jsonl", ".json": "jsonl"}
CHUNK_BYTES = 4 << 20
MAX_DOCUMENT_BYTES = 8 << 20  # a longer document of a .txt is split at the end of a line
MAX_ROW_BYTES = 64 << 20  # a longer row of a .jsonl is an error

Inputs = str | os.PathLike | Iterable[str | os.PathLike]  # files, folders, "-" for standard input

_BLANK_LINE = re.compile(rb"\n(?:[ \t\r]|\xe3\x80\x80)*\n")


@dataclass(frozen=True)
class Chunk:
    """Complete documents of one source, as bytes."""

    data: bytes = field(repr=False)
    source: str
    format: str  # "txt" or "jsonl"
    first_line: int  # of the source, from 1
    first_byte: int  # of the decompressed source
    cut_document: bool = False  # the last document was split, because it exceeds MAX_DOCUMENT_BYTES


def find_files(inputs: Inputs) -> list[str]:
    """The files to read: those given, and the text files in folders, in sorted order.

    Raises UserError if a file or folder cannot be read, or if there is no text.
    """
    files: list[str] = []
    for name in _as_list(inputs):
        if str(name) == STDIN:
            files.append(STDIN)
            continue
        if not str(name):
            raise UserError("empty name among the inputs; name files, folders or - for standard input")
        check_readable(name)
        if not Path(name).is_dir():
            files.append(str(name))
            continue
        in_folder = sorted(str(path) for path in Path(name).rglob("*") if path.is_file() and _is_text(path))
        if not in_folder:
            raise UserError(
                f"no text in folder: {name}; it needs .txt or .jsonl files (also .gz, .xz, .zst of them)"
            )
        files += in_folder
    if not files:
        raise UserError("no input; name files, folders or - for standard input")
    return files


def _as_list(inputs: Inputs) -> list[str | os.PathLike]:
    return [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)


def _is_text(path: Path) -> bool:
    """Whether a file of a folder is text to read, and not an output of `ernie prepare`."""
    is_meta = path.name.endswith(META) and path.with_name(path.name.removesuffix(META) + IDS).exists()
    return _format_of_suffix(path) is not None and not is_work_folder(path.parent) and not is_meta


def _format_of_suffix(path: str | os.PathLike) -> str | None:
    path = Path(path)
    if path.suffix in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return TEXT_SUFFIXES.get(path.suffix)


def read_chunks(
    inputs: Inputs,
    format: str = EncodingSettings.format,
    chunk_bytes: int = CHUNK_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[Chunk]:
    """Chunks of about `chunk_bytes` bytes.

    Args:
        format: one of FORMATS.
        on_read: called with the number of bytes of each read of a file as stored.

    Raises:
        UserError: the input cannot be read, is empty, or is not text.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format: {format}; known: {', '.join(FORMATS)}")
    inputs = _as_list(inputs)
    names = {str(name) for name in inputs}
    all_empty = True
    for source in find_files(inputs):
        with open_bytes(source, on_read) as file:
            empty = True
            for chunk in _chunks_of(file, source, format, chunk_bytes):
                empty = all_empty = False
                yield chunk
            if empty and source in names:
                raise UserError(f"empty file: {name_of(source)}; give a file with text")
    if all_empty:
        raise UserError(f"empty files: all of {', '.join(sorted(names))}; give files with text")


def _chunks_of(file: BinaryIO, source: str, format: str, chunk_bytes: int) -> Iterator[Chunk]:
    data, line, position, known_format = b"", 1, 0, ""
    while block := file.read(chunk_bytes):
        if not known_format:
            block = _check_start(block, source)
            known_format = _format_of(source, format, block)
        data += block
        end, cut_document = _last_boundary(data, known_format), False
        if not end and known_format == "jsonl" and len(data) > MAX_ROW_BYTES:
            raise UserError(
                f"row too long: {name_of(source)} line {line} has more than {MAX_ROW_BYTES >> 20} MB; "
                "give one JSON object per line, or the text as .txt"
            )
        if not end and known_format == "txt" and len(data) > MAX_DOCUMENT_BYTES:
            end, cut_document = data.rfind(b"\n") + 1 or _last_character_end(data), True
        if end:
            if data[:end].strip():
                yield Chunk(data[:end], source, known_format, line, position, cut_document)
            line += data.count(b"\n", 0, end)
            position += end
            data = data[end:]
    if data.strip():
        yield Chunk(data, source, known_format, line, position)


def _last_boundary(data: bytes, format: str) -> int:
    """Position after the last document that is surely complete, 0 if there is none."""
    if format == "jsonl":
        return data.rfind(b"\n") + 1
    end = 0
    start = max(0, len(data) - (1 << 16))  # the last blank line is nearly always near the end
    for first in (start, 0) if start else (0,):
        for match in _BLANK_LINE.finditer(data, first):
            end = match.end()
        if end:
            break
    return end


def _last_character_end(data: bytes) -> int:
    """The end of the last complete UTF-8 character."""
    end = len(data)
    while end > 1 and data[end - 1] & 0xC0 == 0x80:
        end -= 1
    return end - 1


def _check_start(block: bytes, source: str) -> bytes:
    """Removes a byte order mark. Raises UserError for UTF-16 and binary files."""
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(
            f"wrong encoding: {name_of(source)} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 IN > OUT"
        )
    if b"\0" in block[: 1 << 16]:
        raise UserError(
            f"binary file: {name_of(source)}; give text (.txt, .jsonl, or .gz, .xz, .zst of them)"
        )
    return block.removeprefix(b"\xef\xbb\xbf")


def _format_of(source: str, format: str, block: bytes) -> str:
    if format != "auto":
        return format
    by_name = None if source == STDIN else _format_of_suffix(source)
    return by_name or ("jsonl" if block.lstrip()[:1] == b"{" else "txt")


def name_of(source: str) -> str:
    """The name of a source in error messages."""
    return "standard input" if source == STDIN else source
