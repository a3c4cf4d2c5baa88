"""Segmenters by name: the built-in one, the packages jieba and rjieba, Baidu's LAC, or none.

All of them take a user dictionary, whose words may have an entity type.
"""

import os
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.native_encoding import builtin_segmenter
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES
from ernie_from_scratch.text.segmenters.dictionary import (
    CharacterSegmenter,
    Entity,
    ExtensibleSegmenter,
    Segmenter,
    jieba_dictionary,
    typed_words,
)
from ernie_from_scratch.text.settings import SEGMENTERS, EncodingSettings

MAX_FREQUENCY = 10**12  # sums of frequencies are exact in float64

# Part-of-speech tags of names in jieba's user dictionaries.
TAG_TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG", "t": "TIME", "nw": "WORK", "nz": "OTHER"}


@dataclass(frozen=True)
class UserWord:
    """A line of a user dictionary."""

    text: str
    frequency: int | None  # None: high enough to become a word
    entity_type: str


def read_user_dict(path: str | os.PathLike) -> list[UserWord]:
    """Lines of "word [frequency] [type]", separated by spaces or tabs; # starts a comment line.

    The type is one of PER, LOC, ORG, TIME, WORK, OTHER, or one of jieba's tags: nr, ns, nt, t, nw, nz stand
    for these, in this order, and other tags for no entity. Raises UserError for a malformed line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(
            f"cannot read: user dictionary {path} ({str(error.strerror).lower()}); check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: user dictionary {path}; convert it to UTF-8") from error
    words = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        word, *rest = fields
        frequency = int(rest.pop(0)) if rest and rest[0].isascii() and rest[0].isdigit() else None
        if frequency is not None and frequency > MAX_FREQUENCY:
            raise UserError(
                f"frequency too high: user dictionary {path} line {number}; give at most {MAX_FREQUENCY}"
            )
        tag = rest.pop(0) if rest else ""
        if rest or not (tag in ENTITY_TYPES or tag.islower()):
            raise UserError(
                f"wrong line: user dictionary {path} line {number}; give: word [frequency] [type], "
                f"type one of {', '.join(ENTITY_TYPES[1:])}"
            )
        words.append(UserWord(word, frequency, tag if tag in ENTITY_TYPES else TAG_TYPES.get(tag, "")))
    return words


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
    """The package rjieba, jieba in Rust: fast, with nearly the words of jieba."""

    name = "rjieba"

    def __init__(self):
        try:
            import rjieba
        except ImportError as error:
            raise UserError(
                "no segmenter rjieba: the package is not installed; run `pip install rjieba`"
            ) from error
        self._rjieba = rjieba

    def words(self, text: str) -> list[str]:
        # lone surrogates are not valid UTF-8; each becomes ?
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ends = list(accumulate(map(len, self._rjieba.cut(clean))))
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return []


class UserDictionarySegmenter:
    """Adds user words to a segmenter without a user dictionary: leftmost, longest match on top of its words."""

    def __init__(self, segmenter: Segmenter, user_words: list[UserWord]):
        self.name, self.segmenter = segmenter.name, segmenter
        self.types = {word.text: word.entity_type for word in user_words if word.frequency != 0}
        self._lengths: dict[str, list[int]] = {}  # of the user words by first character, longest first
        for word in sorted(self.types, key=len, reverse=True):
            lengths = self._lengths.setdefault(word[0], [])
            if len(word) not in lengths:
                lengths.append(len(word))

    def words(self, text: str) -> list[str]:
        boundaries, position = {0}, 0
        for word in self.segmenter.words(text):
            position += len(word)
            boundaries.add(position)
        position = 0
        while position < len(text):
            lengths = self._lengths.get(text[position], ())
            length = next((n for n in lengths if text[position : position + n] in self.types), 0)
            if length:
                boundaries.difference_update(range(position + 1, position + length))
                boundaries.update((position, position + length))
            position += length or 1
        edges = sorted(boundaries)
        return [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        from_user = typed_words(words, self.types)
        covered = {position for start, end, _ in from_user for position in range(start, end)}
        detected = self.segmenter.entities(text, words)
        return sorted(from_user + [e for e in detected if covered.isdisjoint(range(e[0], e[1]))])


def suggested_frequency(segmenter: ExtensibleSegmenter, word: str) -> int:
    """The lowest frequency that keeps `word` from being split into shorter words (jieba's suggest_freq)."""
    total, share = float(segmenter.total), 1.0
    for shorter in segmenter.words(word, hmm=False):
        known = segmenter.frequency(shorter)
        share *= (1 if known is None else known) / total
    known = segmenter.frequency(word)
    return max(int(share * total) + 1, 1 if known is None else known)


def make_segmenter(
    name: str = EncodingSettings.segmenter,
    user_dict: str | os.PathLike | None = None,
    lac_model: str | os.PathLike | None = None,
) -> Segmenter:
    """A segmenter by name, with the words of a user dictionary.

    Raises:
        UserError: the name is unknown, or a package, a model or the user dictionary is missing or damaged.
    """
    user_words = read_user_dict(user_dict) if user_dict else []
    if name in ("builtin", "jieba"):
        segmenter = builtin_segmenter() if name == "builtin" else JiebaSegmenter()
        for word in user_words:
            frequency = word.frequency
            if frequency is None:
                frequency = suggested_frequency(segmenter, word.text)
            segmenter.add_word(word.text, frequency, word.entity_type)
        return segmenter
    if name == "rjieba":
        segmenter = RjiebaSegmenter()
    elif name == "lac":
        from ernie_from_scratch.text.segmenters.lac import LacSegmenter

        segmenter = LacSegmenter(lac_model)
    elif name == "none":
        segmenter = CharacterSegmenter()
    else:
        raise UserError(f"unknown segmenter: {name}; known: {', '.join(SEGMENTERS)}")
    return UserDictionarySegmenter(segmenter, user_words) if user_words else segmenter
