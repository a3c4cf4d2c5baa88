"""Documents to token ids and span bits: the plain Python version; helpers_cpp/wordpiece.cpp does the same,
faster.

A sentence goes through four steps: words (segmentation.py), tokens with offsets (tokenizer.py), one byte per
token about words, phrases and entities (spans.py), and `##` forms of the Han characters that go on a word.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.text.corpus.sentences import split_sentences
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    KIND_CODES,
    PHRASE_CODE,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_CODE,
    WORD_START,
)
from ernie_from_scratch.text.segmenters.dictionary import Segmenter
from ernie_from_scratch.text.settings import EncodingSettings
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

LONGEST_MARKED_WORD = 6  # characters, in PaddleNLP's rule

Codes = Sequence[tuple[int, int, int]]  # (first character, character after the last, spans.KIND_CODES)


@dataclass
class Encoded:
    """Encoded documents: `ids` [T] int32, `bits` [T] uint8, `lens` [S] int32, `docs` [D] int32 sentences of
    each.
    """

    ids: np.ndarray
    bits: np.ndarray
    lens: np.ndarray
    docs: np.ndarray
    long_sentences: int  # had more tokens than allowed and were split


class Boundaries:
    """What is known of each position between two characters of a sentence of n characters: arrays of n + 1 or
    n.
    """

    def __init__(self, words: Sequence[str], given: Codes, found: Codes):
        length = sum(map(len, words))
        self.soft = [False] * (length + 1)  # a word of the segmenter starts here
        self.hard = [False] * (length + 1)  # a given span starts or ends here
        self.phrase = [-1] * (length + 1)  # 1 a phrase starts, 0 none does, -1 wherever a word starts
        self.entity = [0] * length  # number of the entity that the character is in, from 1
        self.types = [0]  # type code of each entity
        position = 0
        for word in words:
            self.soft[position] = True
            position += len(word)
        for start, end, code in given:
            if code == WORD_CODE:
                self.soft[start + 1 : end] = [False] * (end - start - 1)
            self.hard[start] = self.hard[end] = True
        entities = sorted((s for s in given if s[2] < PHRASE_CODE), key=lambda s: (s[0] - s[1], s[0]))
        for start, end, code in [
            *entities,
            *found,
        ]:  # the longer of two given ones wins; given ones win over found
            if not any(self.entity[start:end]):
                self.types.append(code)
                self.entity[start:end] = [len(self.types) - 1] * (end - start)
                self.hard[start] = self.hard[end] = True
                self._set_phrase(start, end)
        phrases = sorted((s for s in given if s[2] == PHRASE_CODE), key=lambda s: (s[1] - s[0], s[0]))
        for start, end, _ in phrases:  # the outer of two wins
            if not (self._inside_entity(start) or self._inside_entity(end)):
                self._set_phrase(start, end)

    def _set_phrase(self, start: int, end: int) -> None:
        self.phrase[start] = self.phrase[end] = 1
        self.phrase[start + 1 : end] = [0] * (end - start - 1)

    def _inside_entity(self, position: int) -> bool:
        return 0 < position < len(self.entity) and self.entity[position] == self.entity[position - 1] != 0


class PythonEncoder:
    """Encodes sentence by sentence and collects the arrays until `take` is called."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        segmenter: Segmenter,
        word_marks: str = EncodingSettings.word_marks,
        do_lower_case: bool = True,
        splitter: str = EncodingSettings.split_sentences,
        max_sentence_length: int = EncodingSettings.max_sentence_length,
    ):
        self.vocabulary = vocabulary
        self.segmenter = segmenter
        self.word_marks = word_marks
        self.splitter = splitter
        self.max_sentence_length = max_sentence_length
        self.tokenizer = ErnieTokenizer(vocabulary, do_lower_case)
        self._clear()

    def add_text(self, text: str) -> None:
        """Running text: split into sentences, each encoded with the segmenter's words."""
        for sentence in split_sentences(text, self.splitter):
            self.add_sentence(sentence)

    def add_sentence(self, text: str, given: Codes = ()) -> None:
        words = self.segmenter.words(text)
        found = [(start, end, KIND_CODES[kind]) for start, end, kind in self.segmenter.entities(text, words)]
        ids, bits = self.encode(text, words, given, found)
        if not ids:
            return
        cuts = cut_points(bits, self.max_sentence_length)
        self._long += len(cuts) > 2
        for start, end in zip(cuts, cuts[1:], strict=False):
            if start:
                bits[start] |= WORD_START | PHRASE_START | (ENTITY_START if bits[start] >> TYPE_SHIFT else 0)
            self._lens.append(end - start)
            self._sentences += 1
        self._ids.extend(ids)
        self._bits.extend(bits)

    def end_document(self) -> None:
        if self._sentences:
            self._docs.append(self._sentences)
        self._sentences = 0

    def take(self) -> Encoded:
        """Everything encoded since the last call."""
        encoded = Encoded(
            np.array(self._ids, np.int32),
            np.array(self._bits, np.uint8),
            np.array(self._lens, np.int32),
            np.array(self._docs, np.int32),
            self._long,
        )
        self._clear()
        return encoded

    def _clear(self) -> None:
        self._ids, self._bits, self._lens, self._docs = array("i"), bytearray(), array("i"), array("i")
        self._sentences = self._long = 0

    def encode(
        self, text: str, words: Sequence[str], given: Codes = (), found: Codes = ()
    ) -> tuple[list, bytearray]:
        """Ids and span bits of one sentence."""
        exact = self.word_marks == "paddlenlp"
        pieces = self.tokenizer.pieces(text, special_tokens=exact)
        known = Boundaries(words, given, found)
        tokens = [token for token, _, _ in pieces]
        marked = marks_by_set(tokens, _words_between(text, known)) if exact else None
        ids = [self.vocabulary.id_of(token) for token in tokens]
        bits = bytearray()
        before, entity_before = -1, 0  # first character and entity of the token before
        for i, (token, start, end) in enumerate(pieces):
            start = max(start, before)
            crossed = range(before + 1, start + 1)
            entity = next(filter(None, known.entity[start:end]), 0)
            continues_piece = token.startswith("##") and len(token) > 2
            if exact:
                soft = not (marked[i] or continues_piece)
            else:
                soft = not continues_piece and any(known.soft[p] for p in crossed)
            phrase_edge = any(known.phrase[p] == 1 for p in crossed)
            starts_word = (
                i == 0
                or soft
                or phrase_edge
                or entity != entity_before
                or any(known.hard[p] for p in crossed)
            )
            starts_phrase = i == 0 or (starts_word and (phrase_edge or known.phrase[start] == -1))
            bits.append(
                WORD_START * starts_word
                | PHRASE_START * starts_phrase
                | ENTITY_START * (entity != 0 and entity != entity_before)
                | known.types[entity] << TYPE_SHIFT
            )
            goes_on = marked[i] if exact else not starts_word and is_markable(token)
            if goes_on and f"##{token}" in self.vocabulary:
                ids[i] = self.vocabulary.id_of(f"##{token}")
            before, entity_before = start, entity
        return ids, bits


def is_markable(token: str) -> bool:
    """Whether the token is one Han character of the block whose `##` forms PaddleNLP turns back to plain."""
    return len(token) == 1 and "\u4e00" <= token <= "\u9fa5"


def marks_by_set(tokens: Sequence[str], words: Sequence[str]) -> list[bool]:
    """PaddleNLP's whole-word rule (ernie-1.0, create_pretraining_data.py): which tokens go on a word.

    From each token with a Han character, the longest run of up to six tokens whose letters are some word of
    the sentence is one word, wherever in the sentence that word was found.
    """
    known = {word for word in words if len(word) > 1}
    marked = [False] * len(tokens)
    i = 0
    while i < len(tokens):
        length = 1
        if any("\u4e00" <= char <= "\u9fa5" for char in tokens[i]):
            longest = min(LONGEST_MARKED_WORD, len(tokens) - i)
            length = next((n for n in range(longest, 1, -1) if "".join(tokens[i : i + n]) in known), 1)
        marked[i + 1 : i + length] = [True] * (length - 1)
        i += length
    return marked


def _words_between(text: str, known: Boundaries) -> list[str]:
    edges = [p for p in range(len(text) + 1) if known.soft[p] or known.hard[p] or p == len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def cut_points(bits: bytearray, longest: int) -> list[int]:
    """Where to cut a sentence so that no part has more than `longest` tokens: 0, …, number of tokens.

    A cut is made at the last phrase start in the second half of the room, else at the last word start there,
    outside of entities; without either, when the room is full.
    """
    cuts = [0]
    while len(bits) - cuts[-1] > longest:
        end = cuts[-1] + longest
        window = range(end, end - (longest + 1) // 2, -1)
        outside = [p for p in window if bits[p] & ENTITY_START or bits[p] >> TYPE_SHIFT == 0]
        cut = next((p for p in outside if bits[p] & PHRASE_START), None)
        cut = cut or next((p for p in outside if bits[p] & WORD_START), end)
        cuts.append(cut)
    return [*cuts, len(bits)]
