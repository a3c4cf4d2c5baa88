"""Chinese text to words, by name: the built-in segmenter, the packages jieba and rjieba, Baidu's LAC, or
none.

The user's own words go to every one of them, with an entity type where the user gives one.
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
    Segmenter,
    jieba_dictionary,
    typed_words,
)
from ernie_from_scratch.text.settings import SEGMENTERS, EncodingSettings

HIGHEST_FREQUENCY = 10**12  # sums of these stay exact in float64

# Part-of-speech tags that jieba's user dictionaries give to names.
TAG_TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG", "t": "TIME", "nw": "WORK", "nz": "OTHER"}


@dataclass(frozen=True)
class UserWord:
    text: str
    frequency: int | None  # None: enough to be cut out
    entity_type: str


def read_user_dict(path: str | os.PathLike) -> list[UserWord]:
    """Lines of "word [frequency] [type]", separated by spaces or tabs; # starts a comment line.

    The type is one of PER, LOC, ORG, TIME, WORK, OTHER, or a tag of jieba's (nr, ns, nt, t, nw, nz mean
    these; other tags mean no entity).
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(
            f"cannot read: user dictionary {path} ({error.strerror.lower()}); check the path"
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
        if frequency is not None and frequency > HIGHEST_FREQUENCY:
            raise UserError(
                f"frequency too high: user dictionary {path} line {number}; give at most {HIGHEST_FREQUENCY}"
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
    """The package rjieba, jieba in Rust: fast, and nearly jieba's cuts."""

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
        clean = text.encode("utf-8", "replace").decode(
            "utf-8"
        )  # lone surrogates are not UTF-8: one ? for each
        ends = list(accumulate(map(len, self._rjieba.cut(clean))))
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        return []


class WithUserWords:
    """A segmenter that takes no user dictionary, with the user's words put over its cuts, leftmost longest
    first.
    """

    def __init__(self, segmenter: Segmenter, user_words: list[UserWord]):
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


def suggested_frequency(segmenter, word: str) -> int:
    """The least frequency that lets `word` win over the words that it would be cut into (jieba's
    suggest_freq).
    """
    total, share = float(segmenter.total), 1.0
    for part in segmenter.words(word, hmm=False):
        known = segmenter.frequency(part)
        share *= (1 if known is None else known) / total
    known = segmenter.frequency(word)
    return max(int(share * total) + 1, 1 if known is None else known)


def make_segmenter(
    name: str = EncodingSettings.segmenter,
    user_dict: str | os.PathLike | None = None,
    lac_model: str | os.PathLike | None = None,
) -> Segmenter:
    """A segmenter by name, with the words of a user dictionary. UserError when its package is missing."""
    user_words = read_user_dict(user_dict) if user_dict else []
    if name == "builtin":
        segmenter = builtin_segmenter()
    elif name == "jieba":
        segmenter = JiebaSegmenter()
    elif name == "rjieba":
        segmenter = RjiebaSegmenter()
    elif name == "lac":
        from ernie_from_scratch.text.segmenters.lac import LacSegmenter

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
