"""A prepared corpus as the sampler reads it: token ids on disk, and where sentences and documents begin."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.corpus.spans import ENTITY_START

PAGE, PAGES = 2048, 256  # what `identity` reads of arrays without a checksum
CHUNK = 1 << 24  # tokens looked at in one go


@dataclass(frozen=True)
class IndexedCorpus:
    """T tokens in S sentences in D documents; ids and spans are memory-mapped."""

    prefix: str
    ids: np.ndarray  # [T] uint16 or int32, `##` forms inside words
    spans: np.ndarray | None  # [T] uint8, bits of text/spans.py; None: only the `##` forms tell words
    sentences: np.ndarray  # [S + 1] int64, first token of each sentence, then T
    documents: np.ndarray  # [D + 1] int64, first sentence of each document, then S
    files: dict | None  # size and checksum of each file, from PREFIX_meta.json

    def identity(self) -> str:
        """A digest of the content.

        That is the whole index, and the checksums of PREFIX_meta.json; in their absence, the number of
        tokens and some hundred pages of them.
        """
        parts = [repr(self.files), self.sentences.tobytes(), self.documents.tobytes()]
        for array in (self.ids, self.spans) if self.files is None else ():
            if array is not None:
                starts = np.linspace(0, len(array), PAGES, endpoint=False).astype(np.int64)
                parts += [f"{array.dtype} {len(array)}", *(array[i : i + PAGE].tobytes() for i in starts)]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part.encode() if isinstance(part, str) else part)
        return digest.hexdigest()

    def has_entities(self) -> bool:
        """Whether any token starts an entity."""
        if self.spans is None:
            return False
        starts = range(0, len(self.spans), CHUNK)
        return any(bool(np.any(self.spans[i : i + CHUNK] & ENTITY_START)) for i in starts)


def open_corpus(prefix: str | Path, vocabulary) -> IndexedCorpus:
    """Open PREFIX_*, made by `ernie prepare` or by PaddleNLP's ernie-1.0 tools.

    Raises:
        UserError: a file is missing or damaged, or does not fit the others or the vocabulary.
    """
    prepared = open_prepared(prefix, vocabulary)
    ids, spans = prepared.ids, prepared.spans
    if ids.dtype not in (np.uint16, np.int32) or (spans is not None and spans.dtype != np.uint8):
        raise UserError(
            f"damaged file: {prefix}_ids.npy holds {ids.dtype} (not uint16 or int32), or _spans.npy "
            f"{'nothing' if spans is None else spans.dtype} (not uint8); prepare the text again"
        )
    sentences = np.zeros(len(prepared.lens) + 1, dtype=np.int64)
    np.cumsum(prepared.lens, out=sentences[1:])
    documents = np.ascontiguousarray(prepared.docs, dtype=np.int64)
    files = prepared.meta["files"] if prepared.meta else None
    return IndexedCorpus(str(prefix), ids, spans, sentences, documents, files)
