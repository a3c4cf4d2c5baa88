"""Folders that are complete or absent: written under a temporary name, flushed to disk, then renamed."""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.files import cannot_write

PREFIX = ".writing_"  # of temporary folders: .writing_NAME.RANDOM beside NAME, with new/ and, while replacing, old/


@contextlib.contextmanager
def atomic_folder(target: str | os.PathLike, replace: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder; when the block ends without an error, it becomes `target`.

    Every file and folder is flushed to disk before the rename. If the block raises, nothing is left behind. If
    the process is killed, `target` stays as it was, and the next call removes the temporary folder. The one
    exception: a kill between the two renames of a replacement leaves no `target`; the next call, or
    `remove_stale_folders`, restores the old one. Missing parent folders are created.

    Args:
        target: the folder to write; it may exist if it is empty.
        replace: replace a `target` that holds files, instead of refusing it.

    Raises:
        UserError: `target` is a file, holds files and `replace` is false, or the operating system refuses to
            write (disk full, no permission).
    """
    target = Path(os.path.realpath(target))  # a link to a folder stays
    if target.exists() and not target.is_dir():
        raise UserError(f"cannot write: {target} is a file; choose another name for the folder")
    if not replace and target.is_dir() and any(target.iterdir()):
        raise UserError(f"cannot write: {target} holds other files; choose an empty or a new folder")
    with contextlib.ExitStack() as cleanup:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_stale_folders(target.parent, target.name)
            temporary = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{target.name}.", dir=target.parent))
            cleanup.callback(_discard, temporary)
            lock = os.open(temporary, os.O_RDONLY)
            cleanup.callback(os.close, lock)
            _try_lock(lock)
            new, old = temporary / "new", temporary / "old"
            new.mkdir()
            yield new
            _flush_tree(new)
            if replace and target.exists():
                os.rename(target, old)
            os.rename(new, target)
            _flush(target.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"disk full while writing {target}; free some space and run the same command again"
                ) from error
            raise cannot_write(target, error) from error


def remove_stale_folders(parent: str | os.PathLike, name: str | None = None) -> None:
    """Remove the temporary folders that killed processes have left in `parent`; running processes keep theirs.

    Args:
        name: only those of the target folder `parent/name`; default: of all targets.
    """
    pattern = "*" if name is None else f"{glob.escape(name)}.*"
    for folder in Path(parent).glob(PREFIX + pattern):
        if folder.is_symlink() or not folder.is_dir():
            continue
        with contextlib.suppress(OSError):  # another process has just removed it
            lock = os.open(folder, os.O_RDONLY)
            try:
                if _try_lock(lock):
                    _discard(folder)
            finally:
                os.close(lock)


def _discard(temporary: Path) -> None:
    """Remove a temporary folder; a replaced folder goes back to its place if nothing has taken it."""
    target = temporary.parent / temporary.name.removeprefix(PREFIX).rpartition(".")[0]
    with contextlib.suppress(OSError):
        if not target.exists():
            os.rename(temporary / "old", target)
    shutil.rmtree(temporary, ignore_errors=True)


def _try_lock(handle: int) -> bool:
    """Lock an open folder until it is closed or the process ends; False if another process holds the lock."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also: a file system without locks, where temporary folders of killed processes stay
        return False
    return True


def _flush_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _flush(Path(parent) / name)
        _flush(Path(parent))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
