"""What is in a prepared corpus, and what of it will hurt training: the numbers behind `ernie inspect`."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.prepared import Prepared, bits_from_ids, open_prepared
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    ENTITY_TYPES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
)
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

BLOCK = 1 << 22  # tokens looked at at a time
LOOKED_AT_FOR_DUPLICATES = 200_000  # sentences
LONG_SENTENCE = 512  # tokens
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
    """The given vocabulary, else the one that the corpus was prepared with, where it still is."""
    if vocabulary is not None:
        return Vocabulary.load(vocabulary)
    meta = open_prepared(prefix).meta
    if meta is None or not Path(meta["vocabulary"]["path"]).exists():
        raise UserError(f"which vocabulary: {prefix} does not say, or it has moved; give it with --vocab")
    return Vocabulary.load(meta["vocabulary"]["path"])


def inspect_corpus(prefix: str | os.PathLike, vocabulary: Vocabulary) -> Inspection:
    """Reads a prepared corpus once and counts. Raises UserError when its files disagree."""
    corpus = open_prepared(prefix, vocabulary)
    sentences_of = np.diff(corpus.docs)  # [D]
    unknown = words = phrases = 0
    entities = np.zeros(len(ENTITY_TYPES), np.int64)
    word_lengths = np.zeros(len(WORD_EDGES), np.int64)
    for start in range(0, len(corpus.ids), BLOCK):
        ids = corpus.ids[start : start + BLOCK]
        bits = _bits(corpus, start, start + BLOCK, vocabulary)
        unknown += int((ids == vocabulary.unk_id).sum())
        starts = np.flatnonzero(bits & WORD_START)
        words += len(starts)
        phrases += int(((bits & PHRASE_START) > 0).sum())
        word_lengths += _histogram(np.diff(np.append(starts, len(bits))), WORD_EDGES)
        entities += np.bincount(bits[(bits & ENTITY_START) > 0] >> TYPE_SHIFT, minlength=len(ENTITY_TYPES))
    tokens, sentences, documents = len(corpus.ids), len(corpus.lens), len(sentences_of)
    result = Inspection(
        prefix=str(prefix),
        counts={
            "documents": documents,
            "sentences": sentences,
            "tokens": tokens,
            "words": words,
            "phrases": phrases,
            "entities": int(entities.sum()),
            "documents of one sentence": int((sentences_of == 1).sum()),
            f"sentences over {LONG_SENTENCE} tokens": int((corpus.lens > LONG_SENTENCE).sum()),
            "tokens per sentence": round(tokens / max(1, sentences), 2),
            "sentences per document": round(sentences / max(1, documents), 2),
        },
        entities={name: int(entities[code]) for code, name in enumerate(ENTITY_TYPES) if code},
        histograms={
            "tokens per sentence": _labelled(corpus.lens, SENTENCE_EDGES),
            "sentences per document": _labelled(sentences_of, DOCUMENT_EDGES),
            "tokens per word": _labels(word_lengths, WORD_EDGES),
        },
        unknown_share=unknown / max(1, tokens),
        duplicate_share=duplicate_share(corpus),
    )
    result.warnings = warnings_of(result)
    return result


def duplicate_share(corpus: Prepared, limit: int = LOOKED_AT_FOR_DUPLICATES) -> float:
    """Share of sentences of 8 tokens or more that occurred before, among `limit` evenly spread ones."""
    ends = np.cumsum(corpus.lens, dtype=np.int64)
    long_enough = np.flatnonzero(corpus.lens >= 8)
    chosen = long_enough[:: max(1, len(long_enough) // limit)]
    seen = {hash(corpus.ids[ends[s] - corpus.lens[s] : ends[s]].tobytes()) for s in chosen}
    return 1 - len(seen) / len(chosen) if len(chosen) else 0.0


def warnings_of(found: Inspection) -> list[str]:
    """What will hurt training, in sentences, worst first."""
    counts = found.counts
    single = counts["documents of one sentence"] / max(1, counts["documents"])
    long = counts[f"sentences over {LONG_SENTENCE} tokens"]
    word_length = counts["tokens"] / max(1, counts["words"])
    said = {
        f"{found.unknown_share:.1%} of the tokens are [UNK]: build a vocabulary from this text (ernie vocab)":
            found.unknown_share > 0.02,
        f"{single:.0%} of the documents have one sentence: SOP has nothing to swap there; separate documents "
        "by blank lines, or train with sentence_pairs=none": single > 0.1,
        "one document: it cannot be split into train and valid; put blank lines between documents":
            counts["documents"] == 1,
        f"{long} sentences have over {LONG_SENTENCE} tokens: they are cut when sampled": long > 0,
        f"{found.duplicate_share:.1%} of the sentences occur again: remove duplicates":
            found.duplicate_share > 0.05,
        "hardly a word of two characters: masking=word masks characters; prepare with a segmenter":
            word_length < 1.05,
        "no entities: masking=entity and knowledge need spans, --segmenter lac or a typed --user_dict":
            counts["entities"] == 0,
    }  # fmt: skip
    return [sentence for sentence, holds in said.items() if holds]


def random_sentences(
    corpus: Prepared, vocabulary: Vocabulary, count: int, seed: int
) -> list[tuple[list[str], np.ndarray]]:
    """(tokens, bits [T] uint8) of sentences drawn at random."""
    texts = vocabulary.with_word_marks().tokens
    ends = np.cumsum(corpus.lens, dtype=np.int64)
    chosen = np.random.default_rng(seed).permutation(len(corpus.lens))[:count]
    out = []
    for sentence in sorted(chosen):
        end = int(ends[sentence])
        start = end - int(corpus.lens[sentence])
        tokens = [texts[i] for i in corpus.ids[start:end]]
        out.append((tokens, _bits(corpus, start, end, vocabulary)))
    return out


def _bits(corpus: Prepared, start: int, end: int, vocabulary: Vocabulary) -> np.ndarray:
    if corpus.spans is not None:
        return np.asarray(corpus.spans[start:end])
    return bits_from_ids(np.asarray(corpus.ids[start:end]), vocabulary)


def _histogram(values: np.ndarray, edges: tuple[int, ...]) -> np.ndarray:
    """Counts of values in (edge before, edge], the last bin open: [len(edges)]."""
    return np.bincount(np.searchsorted(edges[1:], values, side="left"), minlength=len(edges))


def _labelled(values: np.ndarray, edges: tuple[int, ...]) -> list[tuple[str, int]]:
    return _labels(_histogram(values, edges), edges)


def _labels(counts: np.ndarray, edges: tuple[int, ...]) -> list[tuple[str, int]]:
    names = [
        f"{low + 1}-{high}" if high > low + 1 else str(high)
        for low, high in zip(edges, edges[1:], strict=False)
    ]
    return list(zip([*names, f">{edges[-1]}"], map(int, counts), strict=True))
