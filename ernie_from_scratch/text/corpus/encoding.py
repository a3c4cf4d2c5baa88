"""Documents to token ids and span bits: the Python version; helpers_cpp/encode.cpp is faster, with equal results.

A sentence is encoded in four steps: words (segmenters/), tokens with offsets (tokenizers/wordpiece.py), a
byte per token with word, phrase and entity boundaries (spans.py), and `##` forms of the Han characters that
continue a word.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, is_continuation
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

LONGEST_MARKED_WORD = 6  # tokens, in PaddleNLP's rule

CodedSpans = Sequence[tuple[int, int, int]]  # (first character, one past the last, spans.KIND_CODES)


@dataclass
class Encoded:
    """Encoded documents: T tokens, S sentences, D documents."""

    ids: np.ndarray  # [T] int32
    bits: np.ndarray  # [T] uint8, spans.py
    lens: np.ndarray  # [S] int32, tokens of each sentence
    docs: np.ndarray  # [D] int32, sentences of each document
    long_sentences: int  # sentences that were split because they had too many tokens


class Encoder(Protocol):
    """Encodes sentences and collects the arrays until `take` is called."""

    vocabulary: Vocabulary

    def add_text(self, text: str) -> None:
        """Encodes running text: splits it into sentences, and each sentence into the segmenter's words."""

    def add_sentence(self, text: str, annotated: CodedSpans = ()) -> None:
        """Encodes a sentence whose `annotated` spans are known."""

    def end_document(self) -> None: ...

    def take(self) -> Encoded:
        """Everything encoded since the last call."""
        ...


class Boundaries:
    """What is known about each position between the n characters of a sentence.

    `annotated` spans come with the text, `detected` ones from the segmenter.
    """

    def __init__(self, words: Sequence[str], annotated: CodedSpans, detected: CodedSpans):
        length = sum(map(len, words))
        self.word_start = [False] * (length + 1)  # a word of the segmenter starts here
        self.span_edge = [False] * (length + 1)  # a span starts or ends here
        self.phrase = [-1] * (length + 1)  # 1: a phrase starts; 0: none does; -1: one starts if a word does
        self.entity = [0] * length  # number of the entity that contains the character, from 1
        self.types = [0]  # type code of each entity
        position = 0
        for word in words:
            self.word_start[position] = True
            position += len(word)
        for start, end, code in annotated:
            if code == WORD_CODE:
                self.word_start[start + 1 : end] = [False] * (end - start - 1)
            self.span_edge[start] = self.span_edge[end] = True
        entities = sorted((s for s in annotated if s[2] < PHRASE_CODE), key=lambda s: (s[0] - s[1], s[0]))
        # annotated entities take precedence over detected ones, and longer over shorter ones
        for start, end, code in [*entities, *detected]:
            if not any(self.entity[start:end]):
                self.types.append(code)
                self.entity[start:end] = [len(self.types) - 1] * (end - start)
                self.span_edge[start] = self.span_edge[end] = True
                self._set_phrase(start, end)
        phrases = sorted((s for s in annotated if s[2] == PHRASE_CODE), key=lambda s: (s[1] - s[0], s[0]))
        for start, end, _ in phrases:  # outer phrases overwrite inner ones
            if not (self._inside_entity(start) or self._inside_entity(end)):
                self._set_phrase(start, end)

    def _set_phrase(self, start: int, end: int) -> None:
        self.phrase[start] = self.phrase[end] = 1
        self.phrase[start + 1 : end] = [0] * (end - start - 1)

    def _inside_entity(self, position: int) -> bool:
        return 0 < position < len(self.entity) and self.entity[position] == self.entity[position - 1] != 0


class PythonEncoder:
    """`Encoder` in Python.

    Args:
        word_marks: which characters get `##` forms: "position" for exactly those that continue a word,
            "paddlenlp" for PaddleNLP's rule, which gives its ids.
        splitter: one of sentences.SPLITTERS.
        max_sentence_length: tokens; longer sentences are split.
    """

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
        for sentence in split_sentences(text, self.splitter):
            self.add_sentence(sentence)

    def add_sentence(self, text: str, annotated: CodedSpans = ()) -> None:
        words, detected = segment(self.segmenter, text)
        ids, bits = self.encode(text, words, annotated, detected)
        if not ids:
            return
        points = split_points(bits, self.max_sentence_length)
        self._long += len(points) > 2
        for start, end in zip(points, points[1:], strict=False):
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
        self, text: str, words: Sequence[str], annotated: CodedSpans = (), detected: CodedSpans = ()
    ) -> tuple[list[int], bytearray]:
        """Ids and span bits of one sentence."""
        paddlenlp_rule = self.word_marks == "paddlenlp"
        pieces = self.tokenizer.pieces(text, special_tokens=paddlenlp_rule)
        known = Boundaries(words, annotated, detected)
        tokens = [token for token, _, _ in pieces]
        continues = [False] * len(tokens)  # by PaddleNLP's rule
        if paddlenlp_rule:
            continues = paddlenlp_continuations(tokens, _words_between(text, known))
        ids = [self.vocabulary.id_of(token) for token in tokens]
        bits = bytearray()
        previous_start, previous_entity = -1, 0  # first character and entity of the previous token
        for i, (token, start, end) in enumerate(pieces):
            start = max(start, previous_start)
            positions = range(
                previous_start + 1, start + 1
            )  # where a boundary separates it from the previous
            entity = next(filter(None, known.entity[start:end]), 0)
            if paddlenlp_rule:
                word_start = not (continues[i] or is_continuation(token))
            else:
                word_start = not is_continuation(token) and any(known.word_start[p] for p in positions)
            phrase_edge = any(known.phrase[p] == 1 for p in positions)
            starts_word = (
                i == 0
                or word_start
                or phrase_edge
                or entity != previous_entity
                or any(known.span_edge[p] for p in positions)
            )
            starts_phrase = i == 0 or (starts_word and (phrase_edge or known.phrase[start] == -1))
            bits.append(
                WORD_START * starts_word
                | PHRASE_START * starts_phrase
                | ENTITY_START * (entity != 0 and entity != previous_entity)
                | known.types[entity] << TYPE_SHIFT
            )
            continues_word = continues[i] if paddlenlp_rule else not starts_word and is_basic_han(token)
            if continues_word and f"##{token}" in self.vocabulary:
                ids[i] = self.vocabulary.id_of(f"##{token}")
            previous_start, previous_entity = start, entity
        return ids, bits


def segment(segmenter: Segmenter, text: str) -> tuple[list[str], CodedSpans]:
    """The words of a text, and its entities as coded spans."""
    words = segmenter.words(text)
    return words, [(start, end, KIND_CODES[kind]) for start, end, kind in segmenter.entities(text, words)]


def is_basic_han(token: str) -> bool:
    """Whether the token is one Han character whose `##` form PaddleNLP turns back: U+4E00 to U+9FA5."""
    return len(token) == 1 and "\u4e00" <= token <= "\u9fa5"


def paddlenlp_continuations(tokens: Sequence[str], words: Sequence[str]) -> list[bool]:
    """PaddleNLP's whole word rule (ernie-1.0, create_pretraining_data.py): which tokens continue a word.

    Starting at each token with a Han character, the longest run of up to six tokens that spells a word of the
    sentence is one word, wherever in the sentence that word was found.
    """
    known = {word for word in words if len(word) > 1}
    continues = [False] * len(tokens)
    i = 0
    while i < len(tokens):
        length = 1
        if any("\u4e00" <= char <= "\u9fa5" for char in tokens[i]):
            longest = min(LONGEST_MARKED_WORD, len(tokens) - i)
            length = next((n for n in range(longest, 1, -1) if "".join(tokens[i : i + n]) in known), 1)
        continues[i + 1 : i + length] = [True] * (length - 1)
        i += length
    return continues


def _words_between(text: str, known: Boundaries) -> list[str]:
    edges = [p for p in range(len(text) + 1) if known.word_start[p] or known.span_edge[p] or p == len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def split_points(bits: bytearray, longest: int) -> list[int]:
    """Where to split a sentence into chunks of at most `longest` tokens: 0, …, number of tokens.

    A chunk ends at the last phrase start in its second half, else at the last word start there, both outside
    of entities, else after `longest` tokens.
    """
    points = [0]
    while len(bits) - points[-1] > longest:
        end = points[-1] + longest
        candidates = range(end, end - (longest + 1) // 2, -1)
        outside = [p for p in candidates if bits[p] & ENTITY_START or bits[p] >> TYPE_SHIFT == 0]
        point = next((p for p in outside if bits[p] & PHRASE_START), None)
        point = point or next((p for p in outside if bits[p] & WORD_START), end)
        points.append(point)
    return [*points, len(bits)]
