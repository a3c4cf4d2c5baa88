"""The segmenter and the encoder in C++, with the interface of the Python ones, and the choice between them."""

import functools
import unicodedata
from typing import Any

import numpy as np

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.encoding import CodedSpans, Encoded, Encoder, PythonEncoder, segment
from ernie_from_scratch.text.corpus.sentences import split_sentences
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES
from ernie_from_scratch.text.segmenters.dictionary import (
    IMPOSSIBLE,
    STATES,
    CharacterSegmenter,
    DictionarySegmenter,
    Entity,
    Segmenter,
    jieba_dictionary,
    jieba_hmm,
    typed_words,
)
from ernie_from_scratch.text.settings import EncodingSettings
from ernie_from_scratch.text.tokenizers.basic import DROPPED, HAN, SPACE, analyse, is_han
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

EXPANDED = 5  # class of a character that becomes other characters, or that needs canonical ordering
ASSIGNED = (range(0x32400), range(0xE0000, 0xE0200))  # all other code points are unassigned or private
FIRST_HAN, LAST_HAN = 0x4E00, 0x9FD5


class NativeSegmenter:
    """DictionarySegmenter in C++ (helpers_cpp/segment.cpp)."""

    name = "builtin"

    def __init__(self):
        path, hmm = jieba_dictionary(), jieba_hmm()
        emission = np.full((LAST_HAN + 1 - FIRST_HAN, len(STATES)), IMPOSSIBLE)  # [characters, states]
        for column, state in enumerate(sorted(STATES)):
            for character, value in hmm.emission[state].items():
                if FIRST_HAN <= ord(character) <= LAST_HAN:
                    emission[ord(character) - FIRST_HAN, column] = value
        transition = [
            [hmm.transition[old].get(new, IMPOSSIBLE) for new in sorted(STATES)] for old in sorted(STATES)
        ]
        start = [hmm.start[state] for state in sorted(STATES)]
        try:
            dictionary = path.read_text(encoding="utf-8")
            self.core = _helpers().Segmenter(dictionary, start, transition, emission.tolist())
        except ValueError as error:
            raise UserError(f"not a dictionary: {path} ({error}); install jieba again") from error
        self.types: dict[str, str] = {}

    @property
    def total(self) -> int:
        return self.core.total

    def frequency(self, word: str) -> int | None:
        return self.core.frequency(word)

    def add_word(self, word: str, frequency: int, entity_type: str = "") -> None:
        self.core.add_word(word, frequency, ENTITY_TYPES.index(entity_type))
        if entity_type:
            self.types[word] = entity_type

    def words(self, text: str, hmm: bool = True) -> list[str]:
        return self.core.words(text, hmm)

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return typed_words(words, self.types)


def builtin_segmenter() -> DictionarySegmenter | NativeSegmenter:
    """The built-in segmenter, in C++ if the helpers are built."""
    return NativeSegmenter() if hasattr(native.helpers(), "Segmenter") else DictionarySegmenter()


class NativeEncoder:
    """PythonEncoder in C++ (helpers_cpp/encode.cpp)."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        segmenter: Segmenter,
        word_marks: str = EncodingSettings.word_marks,
        do_lower_case: bool = True,
        splitter: str = EncodingSettings.split_sentences,
        max_sentence_length: int = EncodingSettings.max_sentence_length,
    ):
        helpers = _helpers()
        self.vocabulary = vocabulary
        self.segmenter = segmenter
        self.splitter = splitter
        self._segments = isinstance(segmenter, (NativeSegmenter, CharacterSegmenter))  # in C++
        pieces = helpers.WordPiece(vocabulary.tokens, *character_table(do_lower_case))
        core = segmenter.core if isinstance(segmenter, NativeSegmenter) else None
        self._core = helpers.Encoder(
            pieces, core, word_marks == "paddlenlp", splitter == "newline", max_sentence_length
        )

    def add_text(self, text: str) -> None:
        if self._segments:
            self._core.add_text(text)
            return
        for sentence in split_sentences(text, self.splitter):
            self.add_sentence(sentence)

    def add_sentence(self, text: str, annotated: CodedSpans = ()) -> None:
        if self._segments:
            self._core.add_sentence(text, None, annotated, ())
            return
        words, detected = segment(self.segmenter, text)
        self._core.add_sentence(text, words, annotated, detected)

    def end_document(self) -> None:
        self._core.end_document()

    def take(self) -> Encoded:
        return Encoded(*self._core.take())


def make_encoder(vocabulary: Vocabulary, segmenter: Segmenter, *settings, **named_settings) -> Encoder:
    """The encoder in C++ if the helpers are built, else in Python; arguments as for `PythonEncoder`."""
    is_built = hasattr(native.helpers(), "Encoder")
    return (NativeEncoder if is_built else PythonEncoder)(vocabulary, segmenter, *settings, **named_settings)


def _helpers() -> Any:
    helpers = native.helpers()
    if helpers is None:
        raise RuntimeError(f"the C++ helpers are missing: {native.why_missing()}")
    return helpers


@functools.cache
def character_table(do_lower_case: bool) -> tuple[np.ndarray, dict[int, list[tuple[int, int, int, bool]]]]:
    """The results of `basic.analyse` for every character: classes [0x110000] uint8, and expansions.

    A character of class EXPANDED has a list of (character, class, combining class, is it a nonspacing mark).
    """
    classes = np.full(0x110000, DROPPED, np.uint8)
    expansions = {}
    for code in (code for block in ASSIGNED for code in block):
        char = chr(code)
        if code > 0xFF and unicodedata.category(char)[0] == "C":  # most of these are unassigned
            continue
        if is_han(char) and unicodedata.is_normalized("NFD", char):
            classes[code] = HAN
            continue
        parts = analyse(char, do_lower_case)
        if not parts:
            continue
        kind, part = parts[0]
        if len(parts) == 1 and (kind == SPACE or (part == char and not (do_lower_case and _combines(part)))):
            classes[code] = kind
        else:
            classes[code] = EXPANDED
            expansions[code] = [
                (
                    ord(part),
                    kind,
                    *((unicodedata.combining(part), _is_nonspacing(part)) if do_lower_case else (0, False)),
                )
                for kind, parts_of_kind in parts
                for part in parts_of_kind
            ]
    return classes, expansions


def _is_nonspacing(char: str) -> bool:
    return unicodedata.category(char) == "Mn"


def _combines(char: str) -> bool:
    return unicodedata.combining(char) != 0 or _is_nonspacing(char)
