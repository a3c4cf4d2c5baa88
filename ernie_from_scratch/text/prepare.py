"""Raw text to the four files of a prepared corpus: `ernie prepare`.

Text streams through in pieces of whole documents. Each piece is encoded to a part in the work folder PREFIX.parts;
when all parts are there they are joined, the files renamed into place, and the work folder removed. A run that was
killed finds its finished parts again.
"""

import ctypes
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text import parts
from ernie_from_scratch.text.corpus import PIECE_BYTES, Piece, find_files, parse_piece, read_pieces
from ernie_from_scratch.text.encode import WORD_MARKS, PythonEncoder
from ernie_from_scratch.text.files import STDIN, atomic_write, cannot_write, flush_to_disk, sha256_file
from ernie_from_scratch.text.progress import PrepareProgress
from ernie_from_scratch.text.segmentation import make_segmenter
from ernie_from_scratch.text.sentences import SPLITTERS
from ernie_from_scratch.text.spans import ENTITY_START, ENTITY_TYPES, KIND_CODES, PHRASE_START, TYPE_SHIFT, WORD_START
from ernie_from_scratch.text.vocabulary import Vocabulary

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What decides the contents of the output, beside the text and the vocabulary."""

    segmenter: str = "builtin"
    user_dict: str | None = None
    lac_model: str | None = None
    word_marks: str = "position"
    do_lower_case: bool = True
    split_sentences: str = "punctuation"
    max_sentence_length: int = 512
    min_document_length: int = 10
    format: str = "auto"
    json_key: str = "text"

    def __post_init__(self):
        for name, value, known in (
            ("word_marks", self.word_marks, WORD_MARKS),
            ("split_sentences", self.split_sentences, SPLITTERS),
        ):
            if value not in known:
                raise UserError(f"unknown {name}: {value}; known: {', '.join(known)}")
        if self.max_sentence_length < 2:
            raise UserError(f"max_sentence_length too small: {self.max_sentence_length}; give 2 or more")


def prepare(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    output_prefix: str | os.PathLike,
    vocabulary: Vocabulary | str | os.PathLike,
    *,
    workers: int = 1,
    shuffle: bool = False,
    seed: int = 1234,
    progress: bool | None = None,
    piece_bytes: int = PIECE_BYTES,
    **settings,
) -> dict:
    """Encodes text to PREFIX_ids.npy, PREFIX_idx.npz, PREFIX_spans.npy and PREFIX_meta.json; returns the meta record.

    inputs: files, folders or "-"; see corpus.py for the forms. vocabulary: a Vocabulary, a file, a folder or a name.
    `settings` are the fields of Settings. workers: processes. shuffle: documents in a random order given by `seed`.
    progress: a bar on stderr; by default where stderr is a terminal. The result does not depend on `workers`.
    meta["notes"] says in words what the user should know (short documents dropped, sentences split …).
    Raises UserError for whatever is wrong with the input or the output place; earlier output then stays as it was.
    """
    started = time.perf_counter()
    vocabulary = Vocabulary.load(vocabulary)
    settings = Settings(**settings)
    if workers < 1:
        raise UserError(f"too few workers: {workers}; give 1 or more")
    files = find_files(inputs)
    stored = None if STDIN in files else sum(os.path.getsize(name) for name in files)
    prefix = Path(output_prefix)
    if prefix.name in ("", ".", "..") or str(output_prefix).endswith(os.sep):
        raise UserError(f"no file name: output {output_prefix}; give a prefix such as corpus/news")
    encoder = _Encoder(vocabulary, settings)
    if stored is not None and stored <= piece_bytes:
        workers = 1
    with _work_folder(prefix, _key(settings, vocabulary, piece_bytes)) as folder:
        with PrepareProgress(stored, progress) as bar:
            pieces = read_pieces(inputs, settings.format, piece_bytes, bar.read)
            stats = []
            for number, result in _encode_all(pieces, encoder, folder, workers):
                stats.append((number, result))
                bar.encoded(result["bytes"], result["tokens"])
        stats = [result for _, result in sorted(stats, key=lambda item: item[0])]
        counts = _total(stats)
        if not counts["documents"]:
            raise UserError(
                f"no document left: {counts['short_documents']} of {counts['documents_read']} documents have fewer than "
                f"min_document_length {settings.min_document_length} characters and the others no tokens; lower it"
            )
        paths = [parts.part_path(folder, number) for number in range(len(stats))]
        ids_dtype = np.dtype(np.uint16 if len(vocabulary) < 65535 else np.int32)
        meta = {
            "format": FORMAT_VERSION,
            "made_by": _versions(),
            "settings": {**asdict(settings), "shuffle": shuffle, "seed": seed if shuffle else None},
            "vocabulary": {"path": vocabulary.source, "sha256": vocabulary.sha256, "size": len(vocabulary)},
            "inputs": files if len(files) <= 100 else [*files[:100], f"… {len(files) - 100} more"],
            "ids_dtype": ids_dtype.name,
            "counts": counts,
            "notes": notes(counts, settings),
        }
        try:
            _publish(paths, folder, prefix, ids_dtype, meta, shuffle, seed, started)
        except OSError as error:
            raise cannot_write(prefix, error) from error
    return meta


class _Encoder:
    """Turns pieces into parts; made once per process."""

    def __init__(self, vocabulary: Vocabulary, settings: Settings):
        self.settings = settings
        self.core = PythonEncoder(
            vocabulary,
            make_segmenter(settings.segmenter, settings.user_dict, settings.lac_model),
            settings.word_marks,
            settings.do_lower_case,
            settings.split_sentences,
            settings.max_sentence_length,
        )
        self.unk_id = vocabulary.unk_id

    def encode(self, piece: Piece, path: Path) -> dict:
        """Writes the part and returns its statistics; a part that is already there for the same bytes is kept."""
        checksum = zlib.crc32(piece.data)
        stats = parts.read_stats(path)
        if stats is not None and stats["checksum"] == checksum and stats["source"] == piece.source:
            return stats
        read = short = characters = 0
        for document in parse_piece(piece, self.settings.json_key):
            read += 1
            characters += len(document)
            if len(document) < self.settings.min_document_length:
                short += 1
            elif document.text is not None:
                self.core.add_text(document.text)
                self.core.end_document()
            else:
                for sentence in document.sentences:
                    spans = [(start, end, KIND_CODES[kind]) for start, end, kind in sentence.spans or ()]
                    self.core.add_sentence(sentence.text, spans)
                self.core.end_document()
        encoded = self.core.take()
        starts = encoded.bits
        types = starts[(starts & ENTITY_START) > 0] >> TYPE_SHIFT
        stats = {
            "source": piece.source,
            "checksum": checksum,
            "bytes": len(piece.data),
            "characters": characters,
            "documents_read": read,
            "short_documents": short,
            "documents": len(encoded.docs),
            "one_sentence_documents": int((encoded.docs == 1).sum()),
            "cut_documents": int(piece.cut_document),
            "sentences": len(encoded.lens),
            "long_sentences": encoded.long_sentences,
            "tokens": len(encoded.ids),
            "unknown_tokens": int((encoded.ids == self.unk_id).sum()),
            "words": int(((starts & WORD_START) > 0).sum()),
            "phrases": int(((starts & PHRASE_START) > 0).sum()),
            "entities": {name: int((types == code).sum()) for code, name in enumerate(ENTITY_TYPES) if code},
        }
        parts.write_part(path, encoded, stats)
        return stats


_encoder: _Encoder | None = None  # of a worker process


def _start_worker(vocabulary: Vocabulary | None, settings: Settings | None) -> None:
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the workers
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: do not outlive a killed parent
    if vocabulary is not None:
        _encoder = _Encoder(vocabulary, settings)


def _encode_in_worker(piece: Piece, path: Path) -> dict:
    return _encoder.encode(piece, path)


def _encode_all(
    pieces: Iterator[Piece], encoder: _Encoder, folder: Path, workers: int
) -> Iterator[tuple[int, dict]]:
    """(number, statistics) of each piece, as they are finished; at most 2 pieces per worker wait in memory."""
    global _encoder
    if workers == 1:
        for number, piece in enumerate(pieces):
            yield number, encoder.encode(piece, parts.part_path(folder, number))
        return
    forked = "fork" in multiprocessing.get_all_start_methods() and encoder.settings.segmenter != "lac"
    _encoder = encoder if forked else None  # forked workers share the dictionary's memory; Paddle must not be forked
    given = (None, None) if forked else (encoder.core.vocabulary, encoder.settings)
    context = multiprocessing.get_context("fork" if forked else "spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, given)
    waiting: dict[Future, int] = {}
    try:
        for number, piece in enumerate(pieces):
            waiting[pool.submit(_encode_in_worker, piece, parts.part_path(folder, number))] = number
            if len(waiting) >= 2 * workers:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        for future in wait(waiting).done:
            yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed: memory may be short; use fewer --workers and run again, finished parts are kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _encoder = None


def _total(stats: list[dict]) -> dict:
    names = [name for name in stats[0] if name not in ("source", "checksum", "entities")] if stats else []
    total = {name: sum(part[name] for part in stats) for name in names}
    total["entities"] = {name: sum(part["entities"][name] for part in stats) for name in ENTITY_TYPES[1:]}
    return total


def notes(counts: dict, settings: Settings) -> list[str]:
    """What the user should know about the input, in sentences."""
    out = []
    if counts["documents"] == 1:
        out.append("one document only: documents are separated by blank lines in .txt, one per line in .jsonl")
    elif counts["one_sentence_documents"]:
        out.append(f"{counts['one_sentence_documents']} of {counts['documents']} documents have one sentence: "
                   "kept, but they give no sentence pairs")  # fmt: skip
    if counts["short_documents"]:
        out.append(f"{counts['short_documents']} documents dropped: fewer than {settings.min_document_length} characters "
                   "(min_document_length)")  # fmt: skip
    if counts["long_sentences"]:
        out.append(f"{counts['long_sentences']} sentences split: more than {settings.max_sentence_length} tokens "
                   "(max_sentence_length)")  # fmt: skip
    if counts["cut_documents"]:
        out.append(f"{counts['cut_documents']} documents cut: longer than a document can be in memory")
    unknown = counts["unknown_tokens"] / counts["tokens"]
    if unknown > 0.02:
        out.append(f"{unknown:.1%} of the tokens are [UNK]: the vocabulary does not fit this text")
    return out


def _publish(paths, folder, prefix, ids_dtype, meta, shuffle, seed, started) -> None:
    """Joins the parts beside the target, then renames; the meta file, which says that all are whole, comes last."""
    counts = meta["counts"]
    joined = folder / "joined"
    parts.join_parts(paths, joined, ids_dtype, counts["tokens"], counts["sentences"], counts["documents"])
    if shuffle:
        parts.shuffle_documents(joined, folder / "shuffled", seed)
        joined = folder / "shuffled"
    suffixes = (parts.IDS, parts.IDX, parts.SPANS)
    meta["files"] = {}
    for suffix in suffixes:
        file = Path(f"{joined}{suffix}")
        flush_to_disk(file)
        meta["files"][suffix] = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
    meta["seconds"] = round(time.perf_counter() - started, 3)
    for suffix in suffixes:
        os.replace(f"{joined}{suffix}", f"{prefix}{suffix}")
    with atomic_write(f"{prefix}{parts.META}") as temporary:
        temporary.write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _versions() -> dict:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("ernie_from_scratch", "numpy", "jieba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _key(settings: Settings, vocabulary: Vocabulary, piece_bytes: int) -> str:
    """What finished parts depend on; another key makes them useless."""
    user_words = sha256_file(settings.user_dict) if settings.user_dict and os.path.exists(settings.user_dict) else None
    record = {**asdict(settings), "vocabulary": vocabulary.sha256, "user_words": user_words}
    return json.dumps({**record, "piece_bytes": piece_bytes, "format": FORMAT_VERSION, **_versions()}, sort_keys=True)


@contextmanager
def _work_folder(prefix: Path, key: str) -> Iterator[Path]:
    """PREFIX.parts, with the finished parts of an earlier run with the same key; removed after a run that ended well."""
    folder = Path(f"{prefix}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(prefix, error) from error
    with _lock(folder):
        record = folder / "key.json"
        if not record.exists() or record.read_text(encoding="utf-8") != key:
            for old in folder.glob("*.npz"):
                old.unlink()
            with atomic_write(record) as temporary:
                temporary.write_text(key, encoding="utf-8")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keeps a second process from writing the same output at the same time."""
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
            raise UserError(f"already running: another process prepares {folder.with_suffix('')}; wait for it") from error
        yield
