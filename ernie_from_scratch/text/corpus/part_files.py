"""Part files: the encoded chunks, kept in a work folder until all are finished, then joined to a corpus."""

import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.encoding import Encoded
from ernie_from_scratch.utils.files import atomic_write, cannot_write

IDS, IDX, SPANS, META = "_ids.npy", "_idx.npz", "_spans.npy", "_meta.json"
WORK_FOLDER, KEY = ".parts", "key.json"  # suffix of the work folder's name; a file in every work folder
PER_TOKEN = ("ids", "bits")  # arrays in .npy files of their own, next to the part's .npz
BLOCK = 1 << 16  # documents processed at a time

T = TypeVar("T")


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.npz"


def array_path(path: Path, name: str) -> Path:
    return path.with_suffix(f".{name}.npy")


def write_part(path: Path, encoded: Encoded, stats: dict) -> None:
    """Writes the part; the file at `path` comes last, so that it exists only if the part is complete."""
    json_bytes = np.frombuffer(json.dumps(stats).encode(), np.uint8)
    packed = io.BytesIO()  # np.savez to the file itself would print a second error when the disk is full
    np.savez(packed, lens=encoded.lens, docs=encoded.docs, stats=json_bytes)
    try:
        for name in PER_TOKEN:
            array = getattr(encoded, name)
            with atomic_write(array_path(path, name)) as temporary, open(temporary, "wb") as file:
                write_npy(file, array.dtype, len(array), iter([array]))
        with atomic_write(path) as temporary:
            temporary.write_bytes(packed.getbuffer())
    except UserError:
        for name in PER_TOKEN:  # the disk may be full
            array_path(path, name).unlink(missing_ok=True)
        raise


def read_stats(path: Path) -> dict | None:
    """The statistics of a finished part; None if there is none, or none that can be read."""
    try:
        with np.load(path) as part:
            stats = json.loads(part["stats"].tobytes())
        lengths = {len(np.load(array_path(path, name), mmap_mode="r")) for name in PER_TOKEN}
        return stats if lengths == {stats["tokens"]} else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def run_tasks(tasks: list[Callable[[], T]], workers: int) -> list[T]:
    """The results of the tasks, run in `workers` threads."""
    if workers == 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda task: task(), tasks))


def join_parts(
    paths: list[Path],
    prefix: Path,
    ids_dtype: np.dtype,
    tokens: int,
    sentences: int,
    documents: int,
    workers: int = 1,
) -> None:
    """Writes PREFIX_ids.npy, _spans.npy and _idx.npz from the parts in order, with one part in memory."""

    def arrays(name: str) -> Iterator[np.ndarray]:
        for path in paths:
            if name in PER_TOKEN:
                yield np.load(array_path(path, name), mmap_mode="r")
            else:
                with np.load(path) as part:
                    yield part[name]

    def write_tokens(suffix: str, name: str, dtype: np.dtype) -> None:
        with open(f"{prefix}{suffix}", "wb") as file:
            write_npy(file, dtype, tokens, arrays(name))

    def write_idx() -> None:
        path = Path(f"{prefix}{IDX}")
        write_index(path, sentences, documents, lambda: arrays("lens"), lambda: arrays("docs"))

    write_ids = partial(write_tokens, IDS, "ids", ids_dtype)
    write_spans = partial(write_tokens, SPANS, "bits", np.dtype(np.uint8))
    run_tasks([write_ids, write_spans, write_idx], workers)


def write_npy(file: IO[bytes], dtype: np.dtype, length: int, blocks: Iterator[np.ndarray]) -> None:
    """Writes a 1-D array block by block; the bytes are those of np.save."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype).data)


def write_index(
    path: Path,
    sentences: int,
    documents: int,
    lens: Callable[[], Iterator[np.ndarray]],
    docs: Callable[[], Iterator[np.ndarray]],
) -> None:
    """Writes PREFIX_idx.npz as np.savez does.

    Args:
        sentences, documents: how many there are.
        lens: blocks of the number of tokens of each sentence.
        docs: blocks of the number of sentences of each document; stored cumulative, from 0.
    """

    def cumulative() -> Iterator[np.ndarray]:
        total = 0
        yield np.zeros(1, np.int64)
        for counts in docs():
            yield total + np.cumsum(counts, dtype=np.int64)
            total += int(counts.sum())

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("lens.npy", "w", force_zip64=True) as file:
            write_npy(file, np.dtype(np.int32), sentences, lens())
        with archive.open("docs.npy", "w", force_zip64=True) as file:
            write_npy(file, np.dtype(np.int64), documents + 1, cumulative())


def shuffle_documents(source: Path, target: Path, seed: int, workers: int = 1) -> None:
    """Copies the three files SOURCE_* to TARGET_* with the documents in random order, given by `seed`.

    Only what has a value per document is held in memory; tokens and lengths are read document by document.
    """
    with zipfile.ZipFile(f"{source}{IDX}") as archive:
        lens = np.load(archive.extract("lens.npy", source.parent), mmap_mode="r")  # an .npz cannot be mapped
    with np.load(f"{source}{IDX}") as index:
        docs = index["docs"]
    order = np.random.default_rng(seed).permutation(len(docs) - 1)
    starts = first_tokens(lens, docs)

    def copy_tokens(suffix: str) -> None:
        array = np.load(f"{source}{suffix}", mmap_mode="r")
        offset, size = array.offset, array.itemsize
        with open(f"{source}{suffix}", "rb") as old, open(f"{target}{suffix}", "wb") as new:
            write_npy(new, array.dtype, len(array), iter(()))
            for document in order:
                start, end = int(starts[document]), int(starts[document + 1])
                new.write(os.pread(old.fileno(), (end - start) * size, offset + start * size))

    counts = np.diff(docs)[order]

    def shuffled_lens() -> Iterator[np.ndarray]:
        for start in range(0, len(order), 4096):
            yield np.concatenate([lens[docs[d] : docs[d + 1]] for d in order[start : start + 4096]])

    def write_idx() -> None:
        write_index(Path(f"{target}{IDX}"), len(lens), len(order), shuffled_lens, lambda: iter([counts]))

    run_tasks([partial(copy_tokens, IDS), partial(copy_tokens, SPANS), write_idx], workers)


def first_tokens(lens: np.ndarray, docs: np.ndarray) -> np.ndarray:
    """The first token of each document, then the number of tokens: [D + 1] int64."""
    starts, total = np.empty(len(docs), np.int64), 0
    for first in range(0, len(docs), BLOCK):
        block = docs[first : first + BLOCK + 1]  # with the start of the next block
        ends = total + np.cumsum(np.concatenate([[0], lens[block[0] : block[-1]]]), dtype=np.int64)
        starts[first : first + len(block)] = ends[block - block[0]]
        total = int(ends[-1])
    return starts


def is_work_folder(folder: Path) -> bool:
    """Whether the folder is the work folder of a preparation."""
    return folder.suffix == WORK_FOLDER and (folder / KEY).exists()


@contextmanager
def work_folder(prefix: Path, key: str) -> Iterator[Path]:
    """PREFIX.parts, with the finished parts of an earlier run with the same key; removed on success.

    Raises:
        UserError: it cannot be written, another folder has its name, or another process uses it.
    """
    folder = Path(f"{prefix}{WORK_FOLDER}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_work_folder(folder) and {path.name for path in folder.iterdir()} - {"lock"}:
            raise UserError(
                f"folder exists: {folder} is not from `ernie prepare`; rename it or choose another output"
            )
    except OSError as error:
        raise cannot_write(prefix, error) from error
    with _lock(folder):
        record = folder / KEY
        if not record.exists() or record.read_text(encoding="utf-8") != key:
            for old in folder.glob("part-*"):
                old.unlink()
            with atomic_write(record) as temporary:
                temporary.write_text(key, encoding="utf-8")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Prevents a second process from writing the same output at the same time."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        file = open(folder / "lock", "w")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"already running: another process prepares {folder.with_suffix('')}; wait until it ends"
            ) from error
        yield
