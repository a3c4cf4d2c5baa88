"""Reading a prepared corpus back, made here or by PaddleNLP's ernie-1.0 tools, with its files checked against
each other.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.part_files import IDS, IDX, META, SPANS
from ernie_from_scratch.text.corpus.spans import PHRASE_START, WORD_START
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.utils.files import sha256_file


@dataclass(frozen=True)
class Prepared:
    """A prepared corpus of T tokens, S sentences, D documents; the big arrays stay on disk (memory map)."""

    prefix: str
    ids: np.ndarray  # [T] uint16 or int32
    lens: np.ndarray  # [S] int32, tokens of each sentence
    docs: np.ndarray  # [D + 1] int64, sentences before each document
    spans: np.ndarray | None  # [T] uint8, see spans.py; None for PaddleNLP's files
    meta: dict | None


def open_prepared(
    prefix: str | os.PathLike, vocabulary: Vocabulary | None = None, verify: bool = False
) -> Prepared:
    """Opens PREFIX_ids.npy, _idx.npz and, where there, _spans.npy and _meta.json.

    Raises UserError when a file is missing or damaged, when lengths disagree, or when `vocabulary` is not the
    one that the ids were made with. `verify` also compares checksums, which reads all files.
    """
    prefix = str(prefix)
    ids = _load(f"{prefix}{IDS}")
    index = _load(f"{prefix}{IDX}")
    lens, docs = index.get("lens"), index.get("docs")
    if lens is None or docs is None:
        raise _disagree(f"{prefix}{IDX} has no lens and docs")
    total = int(lens.sum(dtype=np.int64))
    if ids.ndim != 1 or len(ids) != total:
        relation = "longer" if len(ids) > total else "shorter"
        raise _disagree(f"{prefix}{IDS} has {len(ids)} tokens, {relation} than the {total} of its index")
    if (
        len(docs) < 1
        or docs[0] != 0
        or docs[-1] != len(lens)
        or (np.diff(docs) < 0).any()
        or (lens < 0).any()
    ):
        raise _disagree(f"the documents of {prefix}{IDX} do not add up to its {len(lens)} sentences")
    meta = _read_meta(prefix, verify)
    spans = _load(f"{prefix}{SPANS}") if os.path.exists(f"{prefix}{SPANS}") else None
    if spans is not None and spans.shape != ids.shape:
        raise _disagree(f"{prefix}{SPANS} has {len(spans)} tokens, {prefix}{IDS} {len(ids)}")
    if vocabulary is not None:
        _check_vocabulary(prefix, ids, meta, vocabulary)
    return Prepared(prefix, ids, lens, docs, spans, meta)


def bits_from_ids(ids: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Span bits [T] uint8 for files without PREFIX_spans.npy: words from `##` forms, one phrase per word, no
    entities.
    """
    goes_on = np.array(
        [token.startswith("##") and len(token) > 2 for token in vocabulary.with_word_marks().tokens], bool
    )  # [V]
    return np.where(goes_on[ids], 0, WORD_START | PHRASE_START).astype(np.uint8)


def _load(path: str):
    try:
        loaded = np.load(path, mmap_mode="r")
        return dict(loaded) if path.endswith(".npz") else loaded
    except FileNotFoundError as error:
        raise UserError(
            f"no prepared corpus: {path} is missing; run `ernie prepare --output PREFIX` first"
        ) from error
    except Exception as error:  # numpy raises many kinds for a damaged file
        raise UserError(f"damaged file: {path} ({error}); prepare the text again") from error


def _read_meta(prefix: str, verify: bool) -> dict | None:
    path = Path(f"{prefix}{META}")
    if not path.exists():
        return None
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in meta["files"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"damaged file: {path}; prepare the text again") from error
    for suffix, (size, checksum) in files.items():
        file = Path(f"{prefix}{suffix}")
        if not file.exists() or file.stat().st_size != size or (verify and sha256_file(file) != checksum):
            raise _disagree(f"{file} is not the one that {path.name} describes")
    return meta


def _check_vocabulary(prefix: str, ids: np.ndarray, meta: dict | None, vocabulary: Vocabulary) -> None:
    if meta is not None and meta["vocabulary"]["sha256"] != vocabulary.sha256:
        raise UserError(
            f"other vocabulary: {prefix} was made with {meta['vocabulary']['path']}, "
            f"not {vocabulary.source}; give that one or prepare the text again"
        )
    step = 1 << 24
    top = max((int(ids[start : start + step].max()) for start in range(0, len(ids), step)), default=0)
    if top >= len(vocabulary) and top >= len(vocabulary.with_word_marks()):
        raise UserError(
            f"other vocabulary: {prefix}{IDS} has id {top}, "
            f"{vocabulary.source} only {len(vocabulary)} tokens; give the vocabulary that it was made with"
        )


def _disagree(what: str) -> UserError:
    return UserError(f"files disagree: {what}; prepare the text again")
