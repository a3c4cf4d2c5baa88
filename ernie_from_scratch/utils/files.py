"""Atomic writing of files, checksums, and reading of plain and compressed files."""

import gzip
import hashlib
import io
import lzma
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from ernie_from_scratch.config import UserError

COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")
STDIN = "-"


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path next to `path`; on success the file written there is renamed to `path`.

    The temporary file is flushed to disk before it is renamed, and removed if the block raises, so a reader
    sees either the old file or the complete new one. Missing parent folders are created.

    Raises:
        UserError: the file cannot be written (no permission, no space, `path` is a folder).
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UserError(f"cannot write: {path} is a folder; give the name of a file")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.fchmod(handle, 0o666 & ~_umask())  # mkstemp makes private files
        os.close(handle)
        temporary = Path(name)
        yield temporary
        flush_to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def cannot_write(path: str | os.PathLike, error: OSError) -> UserError:
    """The UserError for an OSError while writing `path`."""
    reason = (error.strerror or str(error)).lower()
    return UserError(f"cannot write: {path} ({reason}); choose another location or free disk space")


def flush_to_disk(path: Path) -> None:
    """Flushes the written data of a file to disk (fsync)."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: str | os.PathLike) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_readable(path: str | os.PathLike) -> None:
    """Raises UserError unless `path` is a readable file or folder."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"no such file: {path}; check the spelling of the path")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise UserError(f"cannot read: {path}; check its permissions")


@contextmanager
def open_bytes(path: str | os.PathLike, on_read: Callable[[int], None] | None = None) -> Iterator[BinaryIO]:
    """Opens a file, or standard input for "-"; .gz, .xz and .zst are decompressed.

    Args:
        on_read: called with the number of bytes of each read of the file as stored, for progress bars.

    Raises:
        UserError: the file cannot be read, or turns out to be truncated or damaged while it is read.
    """
    try:
        if str(path) == STDIN:
            yield sys.stdin.buffer
            return
        check_readable(path)
        with (
            io.BufferedReader(_CountedFile(path, on_read), 1 << 20) as stored,
            _decompressed(stored, path) as file,
        ):
            yield file
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise UserError(
            f"cannot read: {path} ({(error.strerror or str(error)).lower()}); check the file"
        ) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] == "zstandard":  # an optional package
            raise _damaged(path, error) from error
        raise


def _damaged(path: str | os.PathLike, error: Exception) -> UserError:
    return UserError(
        f"damaged or truncated archive: {path} ({str(error).lower()}); download or compress it again"
    )


def _decompressed(stored: BinaryIO, path: str | os.PathLike) -> BinaryIO:
    suffix = Path(path).suffix
    if suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=stored, mode="rb"))
    if suffix == ".xz":
        return cast(BinaryIO, lzma.LZMAFile(stored, "rb"))
    if suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise UserError(
                f"cannot read .zst: {path}; run `pip install zstandard`, or unpack the file"
            ) from error
        return io.BufferedReader(_ZstStream(stored, zstandard), 1 << 20)
    return stored


class _CountedFile(io.FileIO):
    """A file that reports the size of each read to `on_read`."""

    def __init__(self, path: str | os.PathLike, on_read: Callable[[int], None] | None):
        super().__init__(path, "rb")
        self._on_read = on_read

    def readinto(self, buffer) -> int:
        count = super().readinto(buffer)
        if self._on_read is not None:
            self._on_read(count)
        return count


class _ZstStream(io.RawIOBase):
    """A .zst file of any number of frames; unlike zstandard's reader it detects a truncated last frame."""

    def __init__(self, stored: BinaryIO, zstandard: Any):
        self._file = stored
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = None
        self._packed = b""  # read from the file, not yet decompressed
        self._text = b""  # decompressed, not yet returned

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._text:
            self._packed = self._packed or self._file.read(1 << 17)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                return 0
            self._frame = self._frame or self._new_frame()
            self._text = self._frame.decompress(self._packed)
            self._packed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._text))
        buffer[:size], self._text = self._text[:size], self._text[size:]
        return size


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
