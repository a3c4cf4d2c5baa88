"""The bytes of `PREFIX_spans.npy`: word, phrase and entity boundaries of each token.

bit 0 = the token starts a word; bit 1 = it starts a phrase (every token is in exactly one phrase, which may
be a single word); bit 2 = it starts an entity; bits 4 to 7 = type of the entity that contains it, 0 outside of
entities. An entity extends from a token with bit 2 to the last one of the same type before the next token with
bit 2. Every phrase start and every entity start is a word start.
"""

import numpy as np

ENTITY_TYPES = ("", "PER", "LOC", "ORG", "TIME", "WORK", "OTHER")
WORD = "WORD"
PHRASE = "PHRASE"
SPAN_KINDS = (*ENTITY_TYPES[1:], PHRASE, WORD)

# Entity types are 1 to 6.
KIND_CODES = {kind: code for code, kind in enumerate((*ENTITY_TYPES, PHRASE, WORD)) if kind}
PHRASE_CODE = KIND_CODES[PHRASE]
WORD_CODE = KIND_CODES[WORD]

WORD_START = 1
PHRASE_START = 2
ENTITY_START = 4
TYPE_SHIFT = 4


def word_runs(bits: np.ndarray) -> list[tuple[int, int]]:
    """(first token, one past the last) of each word of one sentence; `bits` [T] uint8."""
    return _runs(bits & WORD_START)


def phrase_runs(bits: np.ndarray) -> list[tuple[int, int]]:
    """(first token, one past the last) of each phrase of one sentence; `bits` [T] uint8."""
    return _runs(bits & PHRASE_START)


def entity_runs(bits: np.ndarray) -> list[tuple[int, int, str]]:
    """(first token, one past the last, type) of each entity of one sentence; `bits` [T] uint8."""
    types = bits >> TYPE_SHIFT  # [T]
    new = (bits & ENTITY_START) > 0  # [T]
    changes = np.flatnonzero(np.diff(types) != 0) + 1
    edges = np.unique(np.concatenate([[0], changes, np.flatnonzero(new), [len(bits)]]))
    return [
        (int(a), int(b), ENTITY_TYPES[types[a]])
        for a, b in zip(edges, edges[1:], strict=False)
        if types[a] and new[a]
    ]


def _runs(starts: np.ndarray) -> list[tuple[int, int]]:
    edges = np.concatenate([[0], np.flatnonzero(starts), [len(starts)]])
    edges = np.unique(edges)
    return [(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]
