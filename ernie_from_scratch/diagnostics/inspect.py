"""Statistics of a prepared corpus, and warnings about what will hurt training: behind `ernie inspect`."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus, open_prepared
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    ENTITY_TYPES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
)
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

BLOCK = 1 << 22  # tokens read at a time
DUPLICATE_SAMPLE = 200_000  # sentences compared
LONG_SENTENCE = 512  # tokens
# Upper edges of histogram bins.
SENTENCE_EDGES = (0, 4, 8, 16, 32, 64, 128, 256, 512)
DOCUMENT_EDGES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
WORD_EDGES = (0, 1, 2, 3, 4, 5, 6)


@dataclass
class Inspection:
    """Counts, histograms (upper edge of each bin and its count) and warnings of one corpus."""

    prefix: str
    counts: dict[str, float]
    entities: dict[str, int]
    histograms: dict[str, list[tuple[str, int]]]
    unknown_share: float
    duplicate_share: float
    warnings: list[str] = field(default_factory=list)


def vocabulary_of(prefix: str | os.PathLike, vocabulary: str | os.PathLike | None = None) -> Vocabulary:
    """The given vocabulary, else the one that the corpus was prepared with, if its file still exists."""
    if vocabulary is not None:
        return Vocabulary.load(vocabulary)
    meta = open_prepared(prefix).meta
    if meta is None or not Path(meta["vocabulary"]["path"]).exists():
        raise UserError(f"unknown vocabulary: {prefix} names none that exists; give it with --vocab")
    return Vocabulary.load(meta["vocabulary"]["path"])


def inspect_corpus(prefix: str | os.PathLike, vocabulary: Vocabulary) -> Inspection:
    """Reads a prepared corpus once and counts. Raises UserError when its files disagree."""
    corpus = open_prepared(prefix, vocabulary)
    lengths, per_document = corpus.lens, np.diff(corpus.documents)  # [S], [D]
    unknown = words = phrases = 0
    entities = np.zeros(len(ENTITY_TYPES), np.int64)
    word_lengths = np.zeros(len(WORD_EDGES), np.int64)
    for start in range(0, len(corpus.ids), BLOCK):
        ids = corpus.ids[start : start + BLOCK]
        spans = np.asarray(corpus.spans[start : start + BLOCK])
        unknown += int((ids == vocabulary.unk_id).sum())
        starts = np.flatnonzero(spans & WORD_START)
        words += len(starts)
        phrases += int(((spans & PHRASE_START) > 0).sum())
        word_lengths += _histogram(np.diff(np.append(starts, len(spans))), WORD_EDGES)
        entities += np.bincount(spans[(spans & ENTITY_START) > 0] >> TYPE_SHIFT, minlength=len(ENTITY_TYPES))
    tokens, sentences, documents = len(corpus.ids), len(lengths), len(per_document)
    result = Inspection(
        prefix=str(prefix),
        counts={
            "documents": documents,
            "sentences": sentences,
            "tokens": tokens,
            "words": words,
            "phrases": phrases,
            "entities": int(entities.sum()),
            "documents of one sentence": int((per_document == 1).sum()),
            f"sentences over {LONG_SENTENCE} tokens": int((lengths > LONG_SENTENCE).sum()),
            "tokens per sentence": round(tokens / max(1, sentences), 2),
            "sentences per document": round(sentences / max(1, documents), 2),
        },
        entities={name: int(entities[code]) for code, name in enumerate(ENTITY_TYPES) if code},
        histograms={
            "tokens per sentence": _labelled(_histogram(lengths, SENTENCE_EDGES), SENTENCE_EDGES),
            "sentences per document": _labelled(_histogram(per_document, DOCUMENT_EDGES), DOCUMENT_EDGES),
            "tokens per word": _labelled(word_lengths, WORD_EDGES),
        },
        unknown_share=unknown / max(1, tokens),
        duplicate_share=duplicate_share(corpus),
    )
    result.warnings = warnings_of(result)
    return result


def duplicate_share(corpus: PreparedCorpus, limit: int = DUPLICATE_SAMPLE) -> float:
    """Share of repeated sentences, among about `limit` evenly spaced ones of 8 tokens or more."""
    long_enough = np.flatnonzero(corpus.lens >= 8)
    chosen = long_enough[:: max(1, len(long_enough) // limit)]
    seen = {hash(corpus.ids[corpus.sentences[s] : corpus.sentences[s + 1]].tobytes()) for s in chosen}
    return 1 - len(seen) / len(chosen) if len(chosen) else 0.0


def warnings_of(found: Inspection) -> list[str]:
    """What will hurt training, the worst first."""
    counts = found.counts
    single = counts["documents of one sentence"] / max(1, counts["documents"])
    long = counts[f"sentences over {LONG_SENTENCE} tokens"]
    word_length = counts["tokens"] / max(1, counts["words"])
    warnings = {
        f"{found.unknown_share:.1%} of the tokens are [UNK]: build a vocabulary from this text (ernie vocab)":
            found.unknown_share > 0.02,
        f"{single:.0%} of the documents have one sentence, without a pair for SOP: separate documents by blank "
        "lines, or train with sentence_pairs=none": single > 0.1,
        "one document: it cannot be split into train and valid; put blank lines between documents":
            counts["documents"] == 1,
        f"{long} sentences have over {LONG_SENTENCE} tokens: they are split when sampled": long > 0,
        f"{found.duplicate_share:.1%} of the sentences are repeated: remove duplicates":
            found.duplicate_share > 0.05,
        "nearly all words have one character: masking=word masks characters; prepare with a segmenter":
            word_length < 1.05,
        "no entities: masking=entity and knowledge need spans, --segmenter lac or a typed --user_dict":
            counts["entities"] == 0,
    }  # fmt: skip
    return [warning for warning, applies in warnings.items() if applies]


def random_sentences(
    corpus: PreparedCorpus, vocabulary: Vocabulary, count: int, seed: int
) -> list[tuple[list[str], np.ndarray]]:
    """(tokens, spans [T] uint8) of sentences drawn at random."""
    tokens = vocabulary.with_continuations().tokens
    chosen = np.random.default_rng(seed).permutation(len(corpus.sentences) - 1)[:count]
    sentences = []
    for number in sorted(chosen):
        start, end = corpus.sentences[number : number + 2]
        sentences.append(([tokens[i] for i in corpus.ids[start:end]], np.asarray(corpus.spans[start:end])))
    return sentences


def _histogram(values: np.ndarray, edges: tuple[int, ...]) -> np.ndarray:
    """Counts of values in (previous edge, edge], the last bin unbounded: [len(edges)]."""
    return np.bincount(np.searchsorted(edges[1:], values, side="left"), minlength=len(edges))


def _labelled(counts: np.ndarray, edges: tuple[int, ...]) -> list[tuple[str, int]]:
    """(range of values, count) of each bin."""
    names = [
        f"{low + 1}-{high}" if high > low + 1 else str(high)
        for low, high in zip(edges, edges[1:], strict=False)
    ]
    return list(zip([*names, f">{edges[-1]}"], map(int, counts), strict=True))
