"""Chunks of text to part files, in this process or in several."""

import ctypes
import multiprocessing
import signal
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus import part_files
from ernie_from_scratch.text.corpus.chunks import Chunk
from ernie_from_scratch.text.corpus.native_encoding import make_encoder
from ernie_from_scratch.text.corpus.reading import parse_chunk
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


class ChunkEncoder:
    """Encodes chunks to part files; there is one per process."""

    def __init__(self, vocabulary: Vocabulary, settings: EncodingSettings):
        self.settings = settings
        self.vocabulary = vocabulary
        extended = vocabulary
        if settings.word_marks == "paddlenlp":
            tokens = [*vocabulary.tokens, *vocabulary.missing_continuations()]
            extended = Vocabulary(tokens, vocabulary.source)
        self.encoder = make_encoder(
            extended,
            make_segmenter(settings.segmenter, settings.user_dict, settings.lac_model),
            settings.word_marks,
            settings.do_lower_case,
            settings.split_sentences,
            settings.max_sentence_length,
        )
        self.ids_dtype = np.dtype(np.uint16 if len(extended) < 65535 else np.int32)

    def encode(self, chunk: Chunk, path: Path) -> dict[str, Any]:
        """Writes the part file and returns its statistics; an existing one of the same bytes is kept."""
        checksum = zlib.crc32(chunk.data)
        stats = part_files.read_stats(path)
        if stats is not None and stats["checksum"] == checksum and stats["source"] == chunk.source:
            return stats
        documents_read = short = characters = 0
        for document in parse_chunk(chunk, self.settings.json_key):
            documents_read += 1
            characters += len(document)
            if len(document) < self.settings.min_document_length:
                short += 1
                continue
            if document.text is not None:
                self.encoder.add_text(document.text)
            for sentence in document.sentences or ():
                spans = [(start, end, KIND_CODES[kind]) for start, end, kind in sentence.spans or ()]
                self.encoder.add_sentence(sentence.text, spans)
            self.encoder.end_document()
        encoded = self.encoder.take()
        unknown_tokens = int(np.count_nonzero(encoded.ids == self.vocabulary.unk_id))
        if self.vocabulary.duplicates:  # PaddleNLP's numbers
            encoded.ids[encoded.ids >= len(self.vocabulary)] -= self.vocabulary.duplicates
        encoded.ids = encoded.ids.astype(self.ids_dtype)
        bits = encoded.bits
        types = bits[(bits & ENTITY_START) > 0] >> TYPE_SHIFT
        stats = {
            "source": chunk.source,
            "checksum": checksum,
            "bytes": len(chunk.data),
            "characters": characters,
            "documents_read": documents_read,
            "short_documents": short,
            "documents": len(encoded.docs),
            "one_sentence_documents": int((encoded.docs == 1).sum()),
            "cut_documents": int(chunk.cut_document),
            "sentences": len(encoded.lens),
            "long_sentences": encoded.long_sentences,
            "tokens": len(encoded.ids),
            "unknown_tokens": unknown_tokens,
            "words": int(np.count_nonzero(bits & WORD_START)),
            "phrases": int(np.count_nonzero(bits & PHRASE_START)),
            "entities": {name: int((types == code).sum()) for code, name in enumerate(ENTITY_TYPES) if code},
        }
        part_files.write_part(path, encoded, stats)
        return stats


_encoder: ChunkEncoder | None = None  # of a worker process


def _start_worker(arguments: tuple[Vocabulary, EncodingSettings] | None) -> None:
    """Makes the encoder of a spawned worker; a forked one inherits it."""
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the workers
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end when the parent is killed
    if arguments is not None:
        _encoder = ChunkEncoder(*arguments)


def _encode_in_worker(chunk: Chunk, path: Path) -> dict[str, Any]:
    assert _encoder is not None
    return _encoder.encode(chunk, path)


def encode_all(
    chunks: Iterator[Chunk], encoder: ChunkEncoder, folder: Path, workers: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, statistics) of each chunk as it is finished; at most 2 chunks per worker are queued.

    Raises:
        UserError: a worker process was killed.
    """
    global _encoder
    if workers == 1:
        for number, chunk in enumerate(chunks):
            yield number, encoder.encode(chunk, part_files.part_path(folder, number))
        return
    # forked workers share the dictionary's memory, but Paddle, which runs LAC, must not be forked
    fork = "fork" in multiprocessing.get_all_start_methods() and encoder.settings.segmenter != "lac"
    _encoder = encoder if fork else None
    arguments = None if fork else (encoder.vocabulary, encoder.settings)
    context = multiprocessing.get_context("fork" if fork else "spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (arguments,))
    pending: dict[Future, int] = {}
    try:
        for number, chunk in enumerate(chunks):
            pending[pool.submit(_encode_in_worker, chunk, part_files.part_path(folder, number))] = number
            if len(pending) >= 2 * workers:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    yield pending.pop(future), future.result()
        for future in wait(pending).done:
            yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed: memory may be short; run again with fewer workers, "
            "finished parts are kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _encoder = None
