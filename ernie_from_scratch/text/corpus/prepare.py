"""Raw text to the four files of a prepared corpus: `ernie prepare`.

Text streams through in pieces of whole documents. Each piece is encoded to a part in the work folder
PREFIX.parts; when all parts are there they are joined, the files renamed into place, and the work folder
removed. A run that was killed finds its finished parts again.
"""

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus import part_files as parts
from ernie_from_scratch.text.corpus.progress import PrepareProgress
from ernie_from_scratch.text.corpus.reading import PIECE_BYTES, find_files, read_pieces
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES
from ernie_from_scratch.text.corpus.worker_pool import PieceEncoder, encode_all
from ernie_from_scratch.text.settings import EncodingSettings, PreparationSettings
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.utils.files import atomic_write, cannot_write, flush_to_disk, sha256_file

FORMAT_VERSION = 1


def prepare(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    output_prefix: str | os.PathLike,
    vocabulary: Vocabulary | str | os.PathLike,
    *,
    progress: bool | None = None,
    piece_bytes: int = PIECE_BYTES,
    **options,
) -> dict:
    """Encodes text to PREFIX_ids.npy, PREFIX_idx.npz, PREFIX_spans.npy and PREFIX_meta.json; returns the meta
    record.

    inputs: files, folders or "-"; see corpus.py for the forms. vocabulary: a Vocabulary, a file, a folder or
    a name. `options` are the fields of PreparationSettings.
    progress: a bar on stderr; by default where stderr is a terminal. The result does not depend on `workers`.
    meta["notes"] says in words what the user should know (short documents dropped, sentences split …).
    Raises UserError for whatever is wrong with the input or the output place; earlier output then stays as it
    was.
    """
    started = time.perf_counter()
    vocabulary = Vocabulary.load(vocabulary)
    chosen = PreparationSettings(**options).check()
    settings, workers = chosen.subset(EncodingSettings), chosen.workers
    shuffle, seed = chosen.shuffle, chosen.seed
    files = find_files(inputs)
    known = all(os.path.isfile(name) for name in files)  # the size of a pipe is not
    stored = sum(map(os.path.getsize, files)) if known else None
    prefix = Path(output_prefix)
    if prefix.name in ("", ".", "..") or str(output_prefix).endswith(os.sep):
        raise UserError(f"no file name: output {output_prefix}; give a prefix such as corpus/news")
    encoder = PieceEncoder(vocabulary, settings)
    if stored is not None and stored <= piece_bytes:
        workers = 1
    with parts.work_folder(prefix, _key(settings, vocabulary, piece_bytes)) as folder:
        with PrepareProgress(stored, progress) as bar:
            pieces = read_pieces(inputs, settings.format, piece_bytes, bar.read)
            stats = []
            for number, result in encode_all(pieces, encoder, folder, workers):
                stats.append((number, result))
                bar.encoded(result["bytes"], result["tokens"])
        stats = [result for _, result in sorted(stats, key=lambda item: item[0])]
        counts = _total(stats)
        if not counts["documents"]:
            raise UserError(
                f"no document left: {counts['short_documents']} of {counts['documents_read']} documents have "
                f"fewer than {settings.min_document_length} characters, the others no tokens; "
                "lower min_document_length or give other text"
            )
        paths = [parts.part_path(folder, number) for number in range(len(stats))]
        ids_dtype = encoder.ids_dtype
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
            _publish(paths, folder, prefix, ids_dtype, meta, shuffle, seed, workers, started)
        except OSError as error:
            raise cannot_write(prefix, error) from error
    return meta


def _total(stats: list[dict]) -> dict:
    names = [name for name in stats[0] if name not in ("source", "checksum", "entities")] if stats else []
    total = {name: sum(part[name] for part in stats) for name in names}
    total["entities"] = {name: sum(part["entities"][name] for part in stats) for name in ENTITY_TYPES[1:]}
    return total


def notes(counts: dict, settings: EncodingSettings) -> list[str]:
    """What the user should know about the input, in sentences."""
    documents, one = counts["documents"], counts["one_sentence_documents"]
    short, long, cut = counts["short_documents"], counts["long_sentences"], counts["cut_documents"]
    unknown = counts["unknown_tokens"] / counts["tokens"]
    said = {
        "one document only: blank lines separate documents in .txt, lines in .jsonl": documents == 1,
        f"{one} of {documents} documents have one sentence: kept, but they give no sentence pairs": one > 0,
        f"{short} documents dropped: shorter than min_document_length {settings.min_document_length}": short
        > 0,
        f"{long} sentences split: more tokens than max_sentence_length {settings.max_sentence_length}": long
        > 0,
        f"{cut} documents cut: too long to be held in memory": cut > 0,
        f"{unknown:.1%} of the tokens are [UNK]: the vocabulary does not fit this text": unknown > 0.02,
    }
    return [sentence for sentence, holds in said.items() if holds]


def summary(meta: dict, prefix: str | os.PathLike) -> str:
    """What was written, in a few lines for a terminal."""
    counts = meta["counts"]
    speed = counts["bytes"] / 1e6 / max(meta["seconds"], 1e-9)
    first = (
        f"{counts['documents']:,} documents, {counts['sentences']:,} sentences, {counts['tokens']:,} tokens, "
        f"{counts['words']:,} words, {sum(counts['entities'].values()):,} entities "
        f"from {counts['bytes'] / 1e6:,.1f} MB in {meta['seconds']:.1f} s ({speed:.1f} MB/s)"
    )
    names = ", ".join(f"{prefix}{suffix}" for suffix in (*meta["files"], parts.META))
    return "\n".join([first, *(f"note: {note}" for note in meta["notes"]), f"wrote {names}"])


def _publish(paths, folder, prefix, ids_dtype, meta, shuffle, seed, workers, started) -> None:
    """Joins the parts beside the target, then renames; the meta file, which says that all are whole, comes
    last.
    """
    counts = meta["counts"]
    joined = folder / "joined"
    sizes = (counts["tokens"], counts["sentences"], counts["documents"])
    parts.join_parts(paths, joined, ids_dtype, *sizes, workers)
    if shuffle:
        parts.shuffle_documents(joined, folder / "shuffled", seed, workers)
        joined = folder / "shuffled"
    suffixes = (parts.IDS, parts.IDX, parts.SPANS)

    def record(suffix):
        file = Path(f"{joined}{suffix}")
        flush_to_disk(file)
        return {"bytes": file.stat().st_size, "sha256": sha256_file(file)}

    records = parts.at_once([partial(record, suffix) for suffix in suffixes], workers)
    meta["files"] = dict(zip(suffixes, records, strict=True))
    meta["seconds"] = round(time.perf_counter() - started, 3)
    for suffix in suffixes:
        os.replace(f"{joined}{suffix}", f"{prefix}{suffix}")
    with atomic_write(f"{prefix}{parts.META}") as temporary:
        temporary.write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _versions() -> dict:
    found = {"python": platform.python_version()}
    for name in ("ernie_from_scratch", "numpy", "jieba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _key(settings: EncodingSettings, vocabulary: Vocabulary, piece_bytes: int) -> str:
    """What finished parts depend on; another key makes them useless."""
    user_words = (
        sha256_file(settings.user_dict) if settings.user_dict and os.path.exists(settings.user_dict) else None
    )
    record = {**asdict(settings), "vocabulary": vocabulary.sha256, "user_words": user_words}
    return json.dumps(
        {**record, "piece_bytes": piece_bytes, "format": FORMAT_VERSION, **_versions()}, sort_keys=True
    )
