"""Word segmentation with a dictionary (most probable path) and a hidden Markov model for unknown words.

The words are those of the jieba package (https://github.com/fxsjy/jieba, MIT) in accurate mode, whose
dictionary and HMM tables are read. This is the Python version; helpers_cpp/segment.cpp gives equal words.
"""

import functools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ernie_from_scratch.config import UserError

Entity = tuple[int, int, str]  # first character, one past the last, type

IMPOSSIBLE = -3.14e100  # log probability, as in jieba's tables
STATES = "BEMS"  # beginning, end and middle of a word, single character; the later state wins a tie
PREVIOUS_STATES = {"B": "ES", "E": "BM", "M": "BM", "S": "ES"}

_BLOCK = re.compile(r"([\u4E00-\u9FD5a-zA-Z0-9+#&._%\-]+)")
_SPACE = re.compile(r"(\r\n|\s)")
_HAN = re.compile(r"([\u4E00-\u9FD5]+)")
_NUMBER_OR_NAME = re.compile(r"([a-zA-Z0-9]+(?:\.\d+)?%?)")
_LETTER_OR_DIGIT = re.compile(r"[a-zA-Z0-9]")


class Segmenter(Protocol):
    """Splits text into words."""

    name: str

    def words(self, text: str) -> list[str]:
        """The words; joined, they are the text."""
        ...

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        """Entities in the text, without overlaps; `words` are those of `words(text)`."""
        ...


class ExtensibleSegmenter(Segmenter, Protocol):
    """A segmenter that takes words of a user dictionary."""

    @property
    def total(self) -> int:
        """Sum of all frequencies."""
        ...

    def frequency(self, word: str) -> int | None:
        """Frequency of a word; 0 for a prefix of a longer word, None for neither."""
        ...

    def add_word(self, word: str, frequency: int, entity_type: str = "") -> None: ...

    def words(self, text: str, hmm: bool = True) -> list[str]: ...


@dataclass(frozen=True)
class HmmTables:
    """Log probabilities: initial, of transitions between the states, and of characters in each state."""

    start: dict[str, float]
    transition: dict[str, dict[str, float]]
    emission: dict[str, dict[str, float]]


@functools.cache
def jieba_dictionary() -> Path:
    """The dictionary file of the installed jieba package."""
    package = find_spec("jieba")
    if package is None or package.origin is None:
        raise UserError("no dictionary: the package jieba is not installed; run `pip install jieba`")
    return Path(package.origin).parent / "dict.txt"


@functools.cache
def jieba_hmm() -> HmmTables:
    """The HMM tables of the installed jieba package."""
    jieba_dictionary()
    from jieba.finalseg import prob_emit, prob_start, prob_trans

    return HmmTables(prob_start.P, prob_trans.P, prob_emit.P)


def read_dictionary(path: Path) -> Iterator[tuple[str, int]]:
    """(word, frequency) of the lines "word frequency tag"."""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                word, frequency = line.strip().split(" ")[:2]
                yield word, int(frequency)
            except ValueError as error:
                raise UserError(f"not a dictionary: {path} line {number}; install jieba again") from error


class DictionarySegmenter:
    """jieba's accurate mode: best path of dictionary words, then the HMM on runs of single characters."""

    name = "builtin"

    def __init__(self, words: Iterable[tuple[str, int]] | None = None, hmm: HmmTables | None = None):
        """`words` are (word, frequency) pairs; they and `hmm` default to jieba's."""
        self.hmm = hmm or jieba_hmm()
        self.frequencies: dict[str, int] = {}  # of words; 0 for every prefix of a word
        self.total = 0
        self.always_split: set[str] = set()  # user words of frequency 0
        self.types: dict[str, str] = {}
        for word, frequency in read_dictionary(jieba_dictionary()) if words is None else words:
            self._insert(word, frequency)

    def _insert(self, word: str, frequency: int) -> None:
        self.frequencies[word] = frequency
        self.total += frequency
        for end in range(1, len(word)):
            self.frequencies.setdefault(word[:end], 0)

    def frequency(self, word: str) -> int | None:
        return self.frequencies.get(word)

    def add_word(self, word: str, frequency: int, entity_type: str = "") -> None:
        self._insert(word, frequency)
        if frequency == 0:
            self.always_split.add(word)
        if entity_type:
            self.types[word] = entity_type

    def words(self, text: str, hmm: bool = True) -> list[str]:
        return list(self._cut(text, hmm))

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return typed_words(words, self.types)

    def _cut(self, text: str, hmm: bool) -> Iterator[str]:
        for block in _BLOCK.split(text):
            if not block:
                continue
            if _BLOCK.match(block):
                yield from self.words_of_block(block, hmm)
            else:
                for part in _SPACE.split(block):
                    yield from [part] if _SPACE.match(part) else part

    def words_of_block(self, block: str, hmm: bool = True) -> Iterator[str]:
        """Words of a block without separators: Han characters, letters, digits and +#&._%-."""
        return self._cut_block(block) if hmm else self._cut_block_without_hmm(block)

    def best_path(self, block: str) -> list[int]:
        """For each character, the end of the word that starts there on the most probable path."""
        log_total, length = math.log(self.total), len(block)
        scores, ends = [0.0] * (length + 1), [0] * length
        for start in range(length - 1, -1, -1):
            best, best_end, end = -math.inf, start + 1, start + 1
            known, found = self.frequencies.get(block[start:end]), False
            while known is not None:
                if known:
                    score = math.log(known) - log_total + scores[end]
                    if score >= best:  # the longer word wins a tie
                        best, best_end, found = score, end, True
                end += 1
                known = self.frequencies.get(block[start:end]) if end <= length else None
            if not found:
                best, best_end = math.log(1) - log_total + scores[start + 1], start + 1
            scores[start], ends[start] = best, best_end
        return ends

    def _cut_block(self, block: str) -> Iterator[str]:
        ends, start, singles = self.best_path(block), 0, ""
        while start < len(block):
            end = ends[start]
            if end - start == 1:
                singles += block[start]
            else:
                yield from self._cut_singles(singles)
                singles = ""
                yield block[start:end]
            start = end
        yield from self._cut_singles(singles)

    def _cut_singles(self, singles: str) -> Iterator[str]:
        if len(singles) <= 1 or self.frequencies.get(singles):
            yield from singles
            return
        for part in _HAN.split(singles):
            if _HAN.match(part):
                for word in self.viterbi(part):
                    yield from word if word in self.always_split else [word]
            else:
                yield from filter(None, _NUMBER_OR_NAME.split(part))

    def _cut_block_without_hmm(self, block: str) -> Iterator[str]:
        ends, start, letters = self.best_path(block), 0, ""
        while start < len(block):
            word = block[start : ends[start]]
            if len(word) == 1 and _LETTER_OR_DIGIT.match(word):
                letters += word
            else:
                if letters:
                    yield letters
                letters = ""
                yield word
            start = ends[start]
        if letters:
            yield letters

    def viterbi(self, text: str) -> list[str]:
        """Words of a run of Han characters, from the most probable sequence of states (Viterbi)."""
        start, transition, emission = self.hmm.start, self.hmm.transition, self.hmm.emission
        scores = [{s: start[s] + emission[s].get(text[0], IMPOSSIBLE) for s in STATES}]
        backpointers: list[dict[str, str]] = [{}]
        for char in text[1:]:
            row, origin = {}, {}
            for state in STATES:
                emitted = emission[state].get(char, IMPOSSIBLE)
                row[state], origin[state] = max(
                    (scores[-1][old] + transition[old].get(state, IMPOSSIBLE) + emitted, old)
                    for old in PREVIOUS_STATES[state]
                )
            scores.append(row)
            backpointers.append(origin)
        _, state = max((scores[-1][s], s) for s in "ES")
        words, end = [], len(text)
        for position in range(len(text) - 1, -1, -1):
            if state in "BS":
                words.append(text[position:end])
                end = position
            state = backpointers[position].get(state, state)
        if end:
            words.append(text[:end])
        return words[::-1]


class CharacterSegmenter:
    """No segmentation: every character is a word."""

    name = "none"

    def words(self, text: str) -> list[str]:
        return list(text)

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return []


def typed_words(words: list[str], types: dict[str, str]) -> list[Entity]:
    """The words that have an entity type, with their positions."""
    if not types:
        return []
    found, position = [], 0
    for word in words:
        if types.get(word):
            found.append((position, position + len(word), types[word]))
        position += len(word)
    return found
