"""Raw text to the four files of a prepared corpus: `ernie prepare`.

Text is read in chunks of complete documents. Each chunk is encoded to a part file in the work folder
PREFIX.parts. When all are finished they are joined, the results renamed to their final names, and the work
folder removed. A run that was killed resumes from its finished parts.
"""

import json
import os
import platform
import time
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus import part_files
from ernie_from_scratch.text.corpus.chunks import CHUNK_BYTES, Inputs, find_files, read_chunks
from ernie_from_scratch.text.corpus.progress import PrepareProgress
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES
from ernie_from_scratch.text.corpus.worker_pool import ChunkEncoder, encode_all
from ernie_from_scratch.text.settings import EncodingSettings, PreparationSettings
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.utils.files import atomic_write, cannot_write, flush_to_disk, sha256_file

FORMAT_VERSION = 1


def prepare(
    inputs: Inputs,
    output_prefix: str | os.PathLike,
    vocabulary: Vocabulary | str | os.PathLike,
    *,
    progress: bool | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    **options: Any,
) -> dict[str, Any]:
    """Encodes text to PREFIX_ids.npy, PREFIX_idx.npz, PREFIX_spans.npy and PREFIX_meta.json.

    Args:
        inputs: files, folders or "-" for standard input; reading.py describes the formats.
        vocabulary: a Vocabulary, a file, a folder or a name.
        progress: show a bar on stderr; by default if stderr is a terminal.
        chunk_bytes: bytes of text per chunk.
        options: the fields of `PreparationSettings`.

    Returns:
        The content of PREFIX_meta.json. Its "notes" say what the user should know: short documents dropped,
        sentences split …

    Raises:
        UserError: the input, the settings or the output location is wrong; existing output is then unchanged.
    """
    started = time.perf_counter()
    vocabulary = Vocabulary.load(vocabulary)
    chosen = PreparationSettings(**options).check()
    encoding, workers = chosen.subset(EncodingSettings), chosen.workers
    shuffle, seed = chosen.shuffle, chosen.seed
    files = find_files(inputs)
    is_known = all(os.path.isfile(name) for name in files)  # the size of a pipe is not
    total_bytes = sum(map(os.path.getsize, files)) if is_known else None
    prefix = Path(output_prefix)
    if prefix.name in ("", ".", "..") or str(output_prefix).endswith(os.sep):
        raise UserError(f"no file name: output {output_prefix}; give a prefix such as corpus/news")
    encoder = ChunkEncoder(vocabulary, encoding)
    if total_bytes is not None and total_bytes <= chunk_bytes:
        workers = 1
    with part_files.work_folder(prefix, _key(encoding, vocabulary, chunk_bytes)) as folder:
        stats: dict[int, dict] = {}
        with PrepareProgress(total_bytes, progress) as bar:
            chunks = read_chunks(inputs, encoding.format, chunk_bytes, bar.read)
            for number, result in encode_all(chunks, encoder, folder, workers):
                stats[number] = result
                bar.encoded(result["bytes"], result["tokens"])
        counts = _total([stats[number] for number in sorted(stats)])
        if not counts["documents"]:
            raise UserError(
                f"no document left: {counts['short_documents']} of {counts['documents_read']} documents have "
                f"fewer than {encoding.min_document_length} characters, the others no tokens; "
                "lower min_document_length or give other text"
            )
        paths = [part_files.part_path(folder, number) for number in range(len(stats))]
        meta = {
            "format": FORMAT_VERSION,
            "made_by": _versions(),
            "settings": {**asdict(encoding), "shuffle": shuffle, "seed": seed if shuffle else None},
            "vocabulary": {"path": vocabulary.source, "sha256": vocabulary.sha256, "size": len(vocabulary)},
            "inputs": files if len(files) <= 100 else [*files[:100], f"… {len(files) - 100} more"],
            "ids_dtype": encoder.ids_dtype.name,
            "counts": counts,
            "notes": notes(counts, encoding),
        }
        try:
            joined = _join(paths, folder, encoder.ids_dtype, counts, seed if shuffle else None, workers)
            _publish(joined, prefix, meta, workers, started)
        except OSError as error:
            raise cannot_write(prefix, error) from error
    return meta


def _total(stats: list[dict]) -> dict[str, Any]:
    """The statistics of all parts together."""
    names = [name for name in stats[0] if name not in ("source", "checksum", "entities")] if stats else []
    total: dict[str, Any] = {name: sum(part[name] for part in stats) for name in names}
    total["entities"] = {name: sum(part["entities"][name] for part in stats) for name in ENTITY_TYPES[1:]}
    return total


def notes(counts: dict[str, Any], settings: EncodingSettings) -> list[str]:
    """What the user should know about the input."""
    documents, one = counts["documents"], counts["one_sentence_documents"]
    short, long, cut = counts["short_documents"], counts["long_sentences"], counts["cut_documents"]
    unknown = counts["unknown_tokens"] / counts["tokens"]
    conditions = {
        "one document only: blank lines separate documents in .txt, lines in .jsonl": documents == 1,
        f"{one} of {documents} documents have one sentence: kept, but they give no sentence pairs": one > 0,
        f"{short} documents dropped: shorter than min_document_length {settings.min_document_length}": short
        > 0,
        f"{long} sentences split: more tokens than max_sentence_length {settings.max_sentence_length}": long
        > 0,
        f"{cut} documents cut: too long to be held in memory": cut > 0,
        f"{unknown:.1%} of the tokens are [UNK]: the vocabulary does not fit this text": unknown > 0.02,
    }
    return [note for note, applies in conditions.items() if applies]


def summary(meta: dict[str, Any], prefix: str | os.PathLike) -> str:
    """What was written, in a few lines for the terminal."""
    counts = meta["counts"]
    speed = counts["bytes"] / 1e6 / max(meta["seconds"], 1e-9)
    first = (
        f"{counts['documents']:,} documents, {counts['sentences']:,} sentences, {counts['tokens']:,} tokens, "
        f"{counts['words']:,} words, {sum(counts['entities'].values()):,} entities "
        f"from {counts['bytes'] / 1e6:,.1f} MB in {meta['seconds']:.1f} s ({speed:.1f} MB/s)"
    )
    names = ", ".join(f"{prefix}{suffix}" for suffix in (*meta["files"], part_files.META))
    return "\n".join([first, *(f"note: {note}" for note in meta["notes"]), f"wrote {names}"])


def _join(
    paths: list[Path],
    folder: Path,
    ids_dtype: np.dtype,
    counts: dict[str, Any],
    seed: int | None,
    workers: int,
) -> Path:
    """Joins the parts inside the work folder, with shuffled documents if there is a seed; returns the prefix."""
    joined = folder / "joined"
    sizes = (counts["tokens"], counts["sentences"], counts["documents"])
    part_files.join_parts(paths, joined, ids_dtype, *sizes, workers)
    if seed is None:
        return joined
    part_files.shuffle_documents(joined, folder / "shuffled", seed, workers)
    return folder / "shuffled"


def _publish(joined: Path, prefix: Path, meta: dict[str, Any], workers: int, started: float) -> None:
    """Renames the joined files to PREFIX_*; the meta file comes last, so that it implies complete files."""
    suffixes = (part_files.IDS, part_files.IDX, part_files.SPANS)

    def record(suffix: str) -> dict[str, Any]:
        file = Path(f"{joined}{suffix}")
        flush_to_disk(file)
        return {"bytes": file.stat().st_size, "sha256": sha256_file(file)}

    records = part_files.run_tasks([partial(record, suffix) for suffix in suffixes], workers)
    meta["files"] = dict(zip(suffixes, records, strict=True))
    meta["seconds"] = round(time.perf_counter() - started, 3)
    for suffix in suffixes:
        os.replace(f"{joined}{suffix}", f"{prefix}{suffix}")
    with atomic_write(f"{prefix}{part_files.META}") as temporary:
        temporary.write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("ernie_from_scratch", "numpy", "jieba"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def _key(settings: EncodingSettings, vocabulary: Vocabulary, chunk_bytes: int) -> str:
    """All that finished parts depend on; they are discarded when it changes."""
    user_words = (
        sha256_file(settings.user_dict) if settings.user_dict and os.path.exists(settings.user_dict) else None
    )
    record = {**asdict(settings), "vocabulary": vocabulary.sha256, "user_words": user_words}
    return json.dumps(
        {**record, "piece_bytes": chunk_bytes, "format": FORMAT_VERSION, **_versions()}, sort_keys=True
    )
