"""Pieces of text to finished parts, in this process or in several."""

import ctypes
import multiprocessing
import signal
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus import part_files as parts
from ernie_from_scratch.text.corpus.native_encoding import make_encoder
from ernie_from_scratch.text.corpus.reading import Piece, parse_piece
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    ENTITY_TYPES,
    KIND_CODES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
)
from ernie_from_scratch.text.segmenters.segmenter import make_segmenter
from ernie_from_scratch.text.settings import EncodingSettings
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary


class PieceEncoder:
    """Turns pieces into parts; made once per process."""

    def __init__(self, vocabulary: Vocabulary, settings: EncodingSettings):
        self.settings = settings
        self.vocabulary = vocabulary
        marked = vocabulary
        if settings.word_marks == "paddlenlp":
            marked = Vocabulary([*vocabulary.tokens, *vocabulary.missing_continuations()], vocabulary.source)
        self.core = make_encoder(
            marked,
            make_segmenter(settings.segmenter, settings.user_dict, settings.lac_model),
            settings.word_marks,
            settings.do_lower_case,
            settings.split_sentences,
            settings.max_sentence_length,
        )
        self.ids_dtype = np.dtype(np.uint16 if len(self.core.vocabulary) < 65535 else np.int32)

    def encode(self, piece: Piece, path: Path) -> dict:
        """Writes the part and returns its statistics; a part that is already there for the same bytes is
        kept.
        """
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
        unknown_tokens = int(np.count_nonzero(encoded.ids == self.vocabulary.unk_id))
        if self.vocabulary.duplicates:  # PaddleNLP's numbers
            encoded.ids[encoded.ids >= len(self.vocabulary)] -= self.vocabulary.duplicates
        encoded.ids = encoded.ids.astype(self.ids_dtype)
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
            "unknown_tokens": unknown_tokens,
            "words": int(np.count_nonzero(starts & WORD_START)),
            "phrases": int(np.count_nonzero(starts & PHRASE_START)),
            "entities": {name: int((types == code).sum()) for code, name in enumerate(ENTITY_TYPES) if code},
        }
        parts.write_part(path, encoded, stats)
        return stats


_encoder: PieceEncoder | None = None  # of a worker process


def _start_worker(vocabulary: Vocabulary | None, settings: EncodingSettings | None) -> None:
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the workers
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: do not outlive a killed parent
    if vocabulary is not None:
        _encoder = PieceEncoder(vocabulary, settings)


def _encode_in_worker(piece: Piece, path: Path) -> dict:
    return _encoder.encode(piece, path)


def encode_all(
    pieces: Iterator[Piece], encoder: PieceEncoder, folder: Path, workers: int
) -> Iterator[tuple[int, dict]]:
    """(number, statistics) of each piece, as they are finished; at most 2 pieces per worker wait."""
    global _encoder
    if workers == 1:
        for number, piece in enumerate(pieces):
            yield number, encoder.encode(piece, parts.part_path(folder, number))
        return
    forked = "fork" in multiprocessing.get_all_start_methods() and encoder.settings.segmenter != "lac"
    _encoder = (
        encoder if forked else None
    )  # forked workers share the dictionary's memory; Paddle must not be forked
    given = (None, None) if forked else (encoder.vocabulary, encoder.settings)
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
            "a worker process was killed: memory may be short; run again with fewer workers, "
            "finished parts are kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _encoder = None
