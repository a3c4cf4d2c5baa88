"""Chinese text to words: a dictionary, the most probable path through it, and a hidden Markov model for the rest.

The built-in segmenter makes the cuts of the jieba package (https://github.com/fxsjy/jieba, MIT) and reads that
package's dictionary and HMM tables; here in plain Python, in helpers_cpp/segment.cpp in C++. The packages jieba and
rjieba and Baidu's LAC can do the same job, more slowly.
"""

import functools
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.spans import ENTITY_TYPES

SEGMENTERS = ("builtin", "jieba", "rjieba", "lac", "none")
Entity = tuple[int, int, str]  # first character, character after the last, type

# Part-of-speech tags that jieba's user dictionaries give to names.
TAG_TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG", "t": "TIME", "nw": "WORK", "nz": "OTHER"}

IMPOSSIBLE = -3.14e100  # log probability, the value in jieba's tables
STATES = "BEMS"  # begin, end and middle of a word, single; in the order that breaks ties
PREVIOUS_STATES = {"B": "ES", "E": "BM", "M": "BM", "S": "ES"}

_BLOCK = re.compile(r"([\u4E00-\u9FD5a-zA-Z0-9+#&._%\-]+)")
_SPACE = re.compile(r"(\r\n|\s)")
_HAN = re.compile(r"([\u4E00-\u9FD5]+)")
_NUMBER_OR_NAME = re.compile(r"([a-zA-Z0-9]+(?:\.\d+)?%?)")
_LETTER_OR_DIGIT = re.compile(r"[a-zA-Z0-9]")


class Segmenter(Protocol):
    """What cuts text into words. Words joined give the text back, character by character."""

    name: str

    def words(self, text: str) -> list[str]: ...

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        """Entities found in the text, none overlapping another."""


@dataclass(frozen=True)
class HmmTables:
    """Log probabilities of the four states: at the start, from state to state, and of a character in a state."""

    start: dict[str, float]
    transition: dict[str, dict[str, float]]
    emission: dict[str, dict[str, float]]


@functools.cache
def jieba_dictionary() -> Path:
    """The dictionary file of the installed jieba package."""
    package = find_spec("jieba")
    if package is None:
        raise UserError("no dictionary: the package jieba is not installed; run `pip install jieba`")
    return Path(package.origin).parent / "dict.txt"


@functools.cache
def jieba_hmm() -> HmmTables:
    """The HMM tables of the installed jieba package."""
    jieba_dictionary()
    from jieba.finalseg import prob_emit, prob_start, prob_trans

    return HmmTables(prob_start.P, prob_trans.P, prob_emit.P)


class DictionarySegmenter:
    """jieba's accurate mode: best path through the graph of dictionary words, then the HMM on runs of single characters."""

    name = "builtin"

    def __init__(self, dictionary: str | os.PathLike | None = None, hmm: HmmTables | None = None):
        self.hmm = hmm or jieba_hmm()
        self.frequencies: dict[str, int] = {}  # words, and with 0 every beginning of a word
        self.total = 0
        self.forced_apart: set[str] = set()  # user words of frequency 0
        self.types: dict[str, str] = {}
        path = Path(dictionary or jieba_dictionary())
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if line.strip():
                try:
                    word, frequency = line.strip().split(" ")[:2]
                    self._insert(word, int(frequency))
                except ValueError as error:
                    raise UserError(f"not a dictionary line: {path} line {number}; give: word frequency tag") from error

    def _insert(self, word: str, frequency: int) -> None:
        self.frequencies[word] = frequency
        self.total += frequency
        for end in range(1, len(word)):
            self.frequencies.setdefault(word[:end], 0)

    def frequency(self, word: str) -> int | None:
        """Of a word; 0 for the beginning of a longer word, None for neither."""
        return self.frequencies.get(word)

    def add_word(self, word: str, frequency: int, entity_type: str = "") -> None:
        self._insert(word, frequency)
        if frequency == 0:
            self.forced_apart.add(word)
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
                yield from self._cut_block(block) if hmm else self._cut_block_without_hmm(block)
            else:
                for part in _SPACE.split(block):
                    yield from [part] if _SPACE.match(part) else part

    def best_path(self, block: str) -> list[int]:
        """For each character, where the word that starts there ends on the most probable path."""
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
                    yield from word if word in self.forced_apart else [word]
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
        came_from: list[dict[str, str]] = [{}]
        for char in text[1:]:
            row, origin = {}, {}
            for state in STATES:
                emitted = emission[state].get(char, IMPOSSIBLE)
                row[state], origin[state] = max(
                    (scores[-1][old] + transition[old].get(state, IMPOSSIBLE) + emitted, old)
                    for old in PREVIOUS_STATES[state]
                )
            scores.append(row)
            came_from.append(origin)
        _, state = max((scores[-1][s], s) for s in "ES")
        words, end = [], len(text)
        for position in range(len(text) - 1, -1, -1):
            if state in "BS":
                words.append(text[position:end])
                end = position
            state = came_from[position].get(state, state)
        if end:
            words.append(text[:end])
        return words[::-1]


class JiebaSegmenter:
    """The package jieba itself."""

    name = "jieba"

    def __init__(self):
        import jieba

        jieba_dictionary()
        jieba.setLogLevel(60)
        self._jieba = jieba.Tokenizer()
        self.types: dict[str, str] = {}

    @property
    def total(self) -> int:
        self._jieba.check_initialized()
        return self._jieba.total

    def frequency(self, word: str) -> int | None:
        self._jieba.check_initialized()
        return self._jieba.FREQ.get(word)

    def add_word(self, word: str, frequency: int, entity_type: str = "") -> None:
        self._jieba.add_word(word, frequency)
        if entity_type:
            self.types[word] = entity_type

    def words(self, text: str, hmm: bool = True) -> list[str]:
        return self._jieba.lcut(text, HMM=hmm)

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return typed_words(words, self.types)


class RjiebaSegmenter:
    """The package rjieba, jieba in Rust: fast, and nearly jieba's cuts."""

    name = "rjieba"

    def __init__(self):
        try:
            import rjieba
        except ImportError as error:
            raise UserError("no segmenter rjieba: the package is not installed; run `pip install rjieba`") from error
        self._rjieba = rjieba

    def words(self, text: str) -> list[str]:
        return self._rjieba.cut(text.encode("utf-8", "replace").decode("utf-8"))  # lone surrogates are not UTF-8

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return []


class CharacterSegmenter:
    """No words: every character is one."""

    name = "none"

    def words(self, text: str) -> list[str]:
        return list(text)

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return []


class WithUserWords:
    """A segmenter that takes no user dictionary, with the user's words put over its cuts, leftmost longest first."""

    def __init__(self, segmenter: Segmenter, user_words: "list[UserWord]"):
        self.name, self.segmenter = segmenter.name, segmenter
        self.types = {word.text: word.entity_type for word in user_words if word.frequency != 0}
        self._lengths: dict[str, list[int]] = {}  # of the user's words, by first character, longest first
        for word in sorted(self.types, key=len, reverse=True):
            lengths = self._lengths.setdefault(word[0], [])
            if len(word) not in lengths:
                lengths.append(len(word))

    def words(self, text: str) -> list[str]:
        cuts, position = {0}, 0
        for word in self.segmenter.words(text):
            position += len(word)
            cuts.add(position)
        position = 0
        while position < len(text):
            lengths = self._lengths.get(text[position], ())
            length = next((n for n in lengths if text[position : position + n] in self.types), 0)
            if length:
                cuts.difference_update(range(position + 1, position + length))
                cuts.update((position, position + length))
            position += length or 1
        edges = sorted(cuts)
        return [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        own = typed_words(words, self.types)
        taken = {position for start, end, _ in own for position in range(start, end)}
        theirs = self.segmenter.entities(text, words)
        return sorted(own + [e for e in theirs if taken.isdisjoint(range(e[0], e[1]))])


def typed_words(words: list[str], types: dict[str, str]) -> list[Entity]:
    """The words that have an entity type, with their places."""
    if not types:
        return []
    found, position = [], 0
    for word in words:
        if types.get(word):
            found.append((position, position + len(word), types[word]))
        position += len(word)
    return found


@dataclass(frozen=True)
class UserWord:
    text: str
    frequency: int | None  # None: enough to be cut out
    entity_type: str


def read_user_dict(path: str | os.PathLike) -> list[UserWord]:
    """Lines of "word [frequency] [type]", separated by spaces or tabs; # starts a comment line.

    The type is one of PER, LOC, ORG, TIME, WORK, OTHER, or a tag of jieba's (nr, ns, nt, t, nw, nz mean these; other
    tags mean no entity).
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"cannot read: user dictionary {path} ({error.strerror.lower()}); check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: user dictionary {path}; convert it to UTF-8") from error
    words = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        word, *rest = fields
        frequency = int(rest.pop(0)) if rest and rest[0].isascii() and rest[0].isdigit() else None
        tag = rest.pop(0) if rest else ""
        if rest or not (tag in ENTITY_TYPES or tag.islower()):
            raise UserError(
                f"wrong line: user dictionary {path} line {number}; give: word [frequency] [type], "
                f"type one of {', '.join(ENTITY_TYPES[1:])}"
            )
        words.append(UserWord(word, frequency, tag if tag in ENTITY_TYPES else TAG_TYPES.get(tag, "")))
    return words


def suggested_frequency(segmenter, word: str) -> int:
    """The least frequency that lets `word` win over the words that it would be cut into (jieba's suggest_freq)."""
    total, share = float(segmenter.total), 1.0
    for part in segmenter.words(word, hmm=False):
        known = segmenter.frequency(part)
        share *= (1 if known is None else known) / total
    known = segmenter.frequency(word)
    return max(int(share * total) + 1, 1 if known is None else known)


def make_segmenter(
    name: str = "builtin", user_dict: str | os.PathLike | None = None, lac_model: str | os.PathLike | None = None
) -> Segmenter:
    """A segmenter by name, with the words of a user dictionary. Raises UserError when its package is missing."""
    user_words = read_user_dict(user_dict) if user_dict else []
    if name == "builtin":
        segmenter = DictionarySegmenter()
    elif name == "jieba":
        segmenter = JiebaSegmenter()
    elif name == "rjieba":
        segmenter = RjiebaSegmenter()
    elif name == "lac":
        from ernie_from_scratch.text.lac import LacSegmenter

        segmenter = LacSegmenter(lac_model)
    elif name == "none":
        segmenter = CharacterSegmenter()
    else:
        raise UserError(f"unknown segmenter: {name}; known: {', '.join(SEGMENTERS)}")
    if not user_words:
        return segmenter
    if not hasattr(segmenter, "add_word"):
        return WithUserWords(segmenter, user_words)
    for word in user_words:
        frequency = suggested_frequency(segmenter, word.text) if word.frequency is None else word.frequency
        segmenter.add_word(word.text, frequency, word.entity_type)
    return segmenter
