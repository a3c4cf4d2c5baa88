"""Reading a prepared corpus back, made by `ernie prepare` or by PaddleNLP's ernie-1.0 tools.

The files are checked against each other, against PREFIX_meta.json and against the vocabulary.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.part_files import IDS, IDX, META, SPANS
from ernie_from_scratch.text.corpus.spans import ENTITY_START, PHRASE_START, WORD_START
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, is_continuation
from ernie_from_scratch.utils.files import sha256_file

BLOCK = 1 << 24  # tokens read at a time
PAGE, PAGES = 2048, 256  # how much `identity` reads of arrays without a checksum


class DerivedSpans:
    """The span bytes of a corpus without PREFIX_spans.npy, computed for each slice when it is read.

    Words are read from the `##` forms; every word is a phrase, and there are no entities.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, ids: np.ndarray, continuation: np.ndarray):
        self.ids = ids  # [T] integers
        self.continuation = continuation  # [V] bool, `##` forms

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        return np.where(self.continuation[self.ids[index]], 0, WORD_START | PHRASE_START).astype(np.uint8)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or np.uint8)


@dataclass(frozen=True)
class PreparedCorpus:
    """T tokens in S sentences in D documents; the arrays with a value per token are memory-mapped.

    Raises UserError, from `spans`, when neither the file nor a vocabulary says where words start.
    """

    prefix: str
    ids: np.ndarray  # [T] uint16 or int32
    sentences: np.ndarray  # [S + 1] int64, first token of each sentence, then T
    documents: np.ndarray  # [D + 1] int64, first sentence of each document, then S
    stored_spans: np.ndarray | None  # [T] uint8 of PREFIX_spans.npy; PaddleNLP's tools write none
    continuation: np.ndarray | None  # [V] bool, ids of `##` forms; None when opened without a vocabulary
    meta: dict | None = None  # PREFIX_meta.json

    @property
    def spans(self) -> np.ndarray | DerivedSpans:
        """[T] uint8, word, phrase and entity boundaries (spans.py)."""
        if self.stored_spans is not None:
            return self.stored_spans
        if self.continuation is None:
            raise UserError(
                f"no word boundaries: {self.prefix}{SPANS} is missing; "
                "open the corpus with its vocabulary, whose ## forms mark them"
            )
        return DerivedSpans(self.ids, self.continuation)

    @property
    def lens(self) -> np.ndarray:
        """[S] int32, tokens of each sentence."""
        return np.diff(self.sentences).astype(np.int32)

    def has_entities(self) -> bool:
        """Whether any token starts an entity."""
        spans = self.stored_spans
        if spans is None:
            return False
        return any((spans[i : i + BLOCK] & ENTITY_START).any() for i in range(0, len(spans), BLOCK))

    def identity(self) -> str:
        """A digest of the content.

        It covers the index and the checksums of PREFIX_meta.json; without these, the number of tokens and
        some hundred pages of them.
        """
        files = None if self.meta is None else self.meta["files"]
        digest = hashlib.sha256(repr(files).encode())
        digest.update(self.sentences.tobytes())
        digest.update(self.documents.tobytes())
        for array in (self.ids, self.stored_spans) if files is None else ():
            if array is not None:
                digest.update(f"{array.dtype} {len(array)}".encode())
                for start in np.linspace(0, len(array), PAGES, endpoint=False).astype(np.int64):
                    digest.update(array[start : start + PAGE].tobytes())
        return digest.hexdigest()


def open_prepared(
    prefix: str | os.PathLike, vocabulary: Vocabulary | None = None, verify: bool = False
) -> PreparedCorpus:
    """Opens PREFIX_ids.npy, _idx.npz and, if they exist, _spans.npy and _meta.json.

    Args:
        vocabulary: the one that the corpus was prepared with; needed for `spans` without PREFIX_spans.npy.
        verify: compare the checksums too, which reads all files.

    Raises:
        UserError: a file is missing or damaged, lengths disagree, or the ids are of another vocabulary.
    """
    prefix = str(prefix)
    ids = _load(f"{prefix}{IDS}")
    index = _load(f"{prefix}{IDX}")
    if "lens" not in index or "docs" not in index:
        raise _disagree(f"{prefix}{IDX} has no lens and docs")
    lens, docs = index["lens"], index["docs"]
    total = int(lens.sum(dtype=np.int64))
    if ids.ndim != 1 or len(ids) != total:
        relation = "longer" if len(ids) > total else "shorter"
        raise _disagree(f"{prefix}{IDS} has {len(ids)} tokens, {relation} than the {total} of its index")
    bounds_agree = len(docs) >= 1 and docs[0] == 0 and docs[-1] == len(lens)
    if not bounds_agree or (np.diff(docs) < 0).any() or (lens < 0).any():
        raise _disagree(f"the documents of {prefix}{IDX} do not add up to its {len(lens)} sentences")
    meta = _read_meta(prefix, verify)
    spans = _load(f"{prefix}{SPANS}") if os.path.exists(f"{prefix}{SPANS}") else None
    if spans is not None and spans.shape != ids.shape:
        raise _disagree(f"{prefix}{SPANS} has {len(spans)} tokens, {prefix}{IDS} {len(ids)}")
    for suffix, array, allowed in ((IDS, ids, (np.uint16, np.int32)), (SPANS, spans, (np.uint8,))):
        if array is not None and array.dtype not in allowed:
            names = " or ".join(np.dtype(kind).name for kind in allowed)
            raise UserError(
                f"damaged file: {prefix}{suffix} holds {array.dtype}, not {names}; prepare the text again"
            )
    continuation = None
    if vocabulary is not None:
        _check_vocabulary(prefix, ids, meta, vocabulary)
        continuation = continuation_table(vocabulary)
    sentences = np.zeros(len(lens) + 1, dtype=np.int64)
    np.cumsum(lens, out=sentences[1:])
    documents = np.ascontiguousarray(docs, dtype=np.int64)
    return PreparedCorpus(prefix, ids, sentences, documents, spans, continuation, meta)


def continuation_table(vocabulary: Vocabulary) -> np.ndarray:
    """Which ids of a prepared corpus are `##` forms, those that PaddleNLP's tools add included: [V] bool."""
    return np.array([is_continuation(token) for token in vocabulary.with_continuations().tokens], dtype=bool)


def _load(path: str) -> Any:
    """The array of a .npy file, memory-mapped, or the dict of arrays of an .npz file."""
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
            f"wrong vocabulary: {prefix} was prepared with {meta['vocabulary']['path']}, "
            f"not {vocabulary.source}; give that one or prepare the text again"
        )
    blocks = [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
    lowest = min((int(block.min()) for block in blocks), default=0)
    highest = max((int(block.max()) for block in blocks), default=0)
    if lowest < 0:
        raise UserError(f"damaged file: {prefix}{IDS} has id {lowest}; prepare the text again")
    if highest >= len(vocabulary) and highest >= len(vocabulary.with_continuations()):
        raise UserError(
            f"wrong vocabulary: {prefix}{IDS} has id {highest}, {vocabulary.source} only "
            f"{len(vocabulary)} tokens; give the vocabulary that the corpus was prepared with"
        )


def _disagree(what: str) -> UserError:
    return UserError(f"files disagree: {what}; prepare the text again")
