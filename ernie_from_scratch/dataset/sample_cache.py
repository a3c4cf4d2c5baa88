"""The sample table on disk, next to the corpus: built once by one process, memory-mapped by all.

The file name contains a digest of everything that the table depends on, so a stale table is never read.
"""

import errno
import fcntl
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.samples import SAMPLE
from ernie_from_scratch.utils.files import atomic_write

VERSION = 1  # increment when build_samples gives another table for the same input
POLL_SECONDS = 0.05


def digest(*values: object) -> str:
    """A short digest of the values' repr."""
    return hashlib.sha256(repr((VERSION, *values)).encode()).hexdigest()[:16]


def load_or_build(
    prefix: str,
    settings: str,
    data: str,
    build: Callable[[], np.ndarray],
    is_valid: Callable[[np.ndarray], bool],
    cache_dir: str | os.PathLike | None = None,
) -> np.ndarray:
    """The sample table of (settings, data), read from PREFIX_samples_{settings}_{data}.npy or built.

    While one process builds it, the others wait; when that fails, they fail with the same message. Tables of
    the same settings but other data are removed.

    Args:
        settings, data: digests.
        build: makes the table.
        is_valid: whether a table read from disk can be one of this corpus; a damaged one is built again.
        cache_dir: folder of the file, by default that of the corpus. If it is not writable, the table is kept
            in memory, with a warning.

    Raises:
        UserError: another process failed to build the table.
    """
    folder = Path(cache_dir) if cache_dir else Path(prefix).parent
    stem = f"{Path(prefix).name}_samples"
    path = folder / f"{stem}_{settings}_{data}.npy"
    table = _read(path, is_valid)
    if table is not None:
        return table
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / f"{stem}.lock", "a+", encoding="utf8")
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error.strerror}): it is built again at each start", stacklevel=2
        )
        return build()
    with lock, _locked(lock) as waited:
        table = _read(path, is_valid)
        if table is not None:
            return table
        if waited and (message := _failure(lock, path.name)):
            raise UserError(message)
        _write(lock, "")
        try:
            table = build()
            with atomic_write(path) as temporary, open(temporary, "wb") as file:
                np.save(file, table)
        except Exception as error:
            with suppress(OSError):  # the disk may be full
                _write(lock, json.dumps({"table": path.name, "error": str(error) or type(error).__name__}))
            raise
        for stale in folder.glob(f"{stem}_{settings}_*.npy"):
            if stale != path:
                stale.unlink(missing_ok=True)
    return table if (stored := _read(path, is_valid)) is None else stored


def _read(path: Path, is_valid: Callable[[np.ndarray], bool]) -> np.ndarray | None:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # absent or damaged
    return table if table.dtype == SAMPLE and table.ndim == 1 and is_valid(table) else None


@contextmanager
def _locked(lock: TextIO) -> Iterator[bool]:
    """Holds the file lock; yields whether another process held it before."""
    waited = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(
                    f"cannot lock {lock.name} ({error.strerror}); choose another cache_dir"
                ) from None
        waited = True
        time.sleep(POLL_SECONDS)
    try:
        yield waited
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def _failure(lock: TextIO, table: str) -> str | None:
    """The error of the process that held the lock, if it failed to build `table`."""
    lock.seek(0)
    text = lock.read()
    report = json.loads(text) if text else {}
    return report.get("error") if report.get("table") == table else None


def _write(lock: TextIO, text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()
    os.fsync(lock.fileno())
