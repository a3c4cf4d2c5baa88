"""Sentence patterns: the ways to express a fact. A sentence is prefix + verb phrase + suffix.

They are in `data/recipe/relations.yaml`. In a pattern `{s}` and `{o}` stand for subject and object, `{n}` for
a word that depends on the subject (省会 or 首府), and `[...]` encloses a phrase of several words. A verb phrase
that starts with `~` takes only connectives as prefix (此外，), not sources (据资料记载，).
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path

import yaml

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.recipe.facts import DATA_FOLDER, Fact

Span = tuple[int, int, str]  # first character, one past the last, kind
Triple = tuple[int, int, int]  # numbers of prefix, verb phrase and suffix within a relation
KIND_LETTERS = {"PER": "P", "LOC": "L", "ORG": "O", "TIME": "T", "WORK": "W", "OTHER": "X"}
PLACES = ("opening", "middle", "closing", "any")
_MARK = re.compile(r"(\{[son]\}|\[|\])")


class Pattern:
    """A parsed pattern; `render` fills in the slots."""

    def __init__(self, source: str):
        self.source = source
        self.links_only = source.startswith("~")
        self.parts = [part for part in _MARK.split(source.removeprefix("~")) if part]
        self.letters = "".join(part for part in self.parts if part[0] not in "{[]")
        if self.parts.count("[") != self.parts.count("]"):
            raise UserError(f"bad pattern: {source}; every [ needs a ]")

    def render(self, slots: dict[str, tuple[str, str]], spans: list[Span], start: int = 0) -> str:
        """The text with `slots` (text and kind) filled in; its spans, shifted by `start`, go to `spans`."""
        text, opened = "", 0
        for part in self.parts:
            if part == "[":
                opened = len(text)
            elif part == "]":
                spans.append((start + opened, start + len(text), "PHRASE"))
            elif part[0] == "{":
                filling, kind = slots[part]
                if kind:
                    spans.append((start + len(text), start + len(text) + len(filling), kind))
                text += filling
            else:
                text += part
        return text


@dataclass(frozen=True)
class Prefix:
    """An adverbial before the verb phrase."""

    pattern: Pattern
    place: str  # where in a document it can be used, one of PLACES
    link: bool  # a connective such as 此外，; otherwise it names a source


@dataclass(frozen=True)
class Relation:
    """All patterns of a relation. The corpus uses `verbs`; `held_out` verb phrases are for probes only."""

    name: str
    title: str
    subject_kind: str
    object_kind: str
    nouns: tuple[tuple[str, re.Pattern], ...]
    verbs: tuple[Pattern, ...]
    held_out: tuple[Pattern, ...]
    prefixes: tuple[Prefix, ...]
    suffixes: tuple[Pattern, ...]
    questions: tuple[Pattern, ...]
    denials: tuple[Pattern, ...]  # negations
    exclusive: bool  # a second object contradicts the first; False for the profession of a person

    def slots(self, fact: Fact) -> dict[str, tuple[str, str]]:
        """(text, kind or "") of each slot of the patterns."""
        noun = next((word for word, subjects in self.nouns if subjects.search(fact.subject)), "")
        return {
            "{s}": (fact.subject, self.subject_kind),
            "{o}": (fact.object, self.object_kind),
            "{n}": (noun, ""),
        }

    @cached_property
    def triples(self) -> tuple[Triple, ...]:
        """Every natural (prefix, verb, suffix): no two of them have a two-character word in common."""
        bigrams = [[_bigrams(p.pattern) for p in self.prefixes], [_bigrams(v) for v in self.verbs]]
        bigrams.append([_bigrams(s) for s in self.suffixes])
        return tuple(
            (p, v, s)
            for v, p, s in product(
                range(len(self.verbs)), range(len(self.prefixes)), range(len(self.suffixes))
            )
            if not (self.verbs[v].links_only and not self.prefixes[p].link)
            and not (bigrams[0][p] & bigrams[1][v])
            and not (bigrams[0][p] & bigrams[2][s])
            and not (bigrams[1][v] & bigrams[2][s])
        )

    def render(self, fact: Fact, triple: Triple) -> tuple[str, list[Span]]:
        """`fact` as a sentence with the given triple, and its spans in order."""
        prefix, verb, suffix = triple
        return self.render_patterns(
            fact, (self.prefixes[prefix].pattern, self.verbs[verb], self.suffixes[suffix])
        )

    def render_patterns(self, fact: Fact, patterns: tuple[Pattern, ...]) -> tuple[str, list[Span]]:
        """`fact` as the concatenation of patterns, and its spans in order."""
        slots, spans, text = self.slots(fact), [], ""
        for pattern in patterns:
            text += pattern.render(slots, spans, start=len(text))
        return text, spans


def is_reserved(relation: str, triple: Triple, seed: int, share: float = 0.12) -> bool:
    """Whether the triple is one of the share that the corpus never uses, reserved for unseen probes."""
    key = f"{seed}:{relation}:{triple}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") < share * 2**32


def wording(text: str, spans: list[Span]) -> str:
    """The text with entities replaced by a letter for their kind: L的省会是L。 for 黑龙江的省会是哈尔滨。"""
    for start, end, kind in sorted(spans, reverse=True):
        if kind in KIND_LETTERS:
            text = text[:start] + KIND_LETTERS[kind] + text[end:]
    return text


@lru_cache(maxsize=4)
def load_relations(file: str | Path | None = None) -> dict[str, Relation]:
    """The relations by name, from a file (default: the shipped `data/recipe/relations.yaml`).

    Raises UserError for a missing file or key, an unknown kind, or an unbalanced bracket.
    """
    file = DATA_FOLDER / "recipe" / "relations.yaml" if file is None else Path(file)
    if not file.is_file():
        raise UserError(f"no sentence patterns: {file}; the shipped ones are data/recipe/relations.yaml")
    source = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        return {name: _relation(name, entry, source["shared"]) for name, entry in source["relations"].items()}
    except KeyError as error:
        raise UserError(f"missing key {error}: {file}; compare with the other relations there") from None


def _relation(name: str, entry: dict, shared: dict) -> Relation:
    for kind in (entry["subject"], entry["object"]):
        if kind not in KIND_LETTERS:
            raise UserError(f"unknown kind {kind}: relation {name}; known are {', '.join(KIND_LETTERS)}")
    links = [Prefix(Pattern(text), place, True) for place in PLACES for text in shared["links"][place]]
    sources = [Prefix(Pattern(text), "any", False) for text in shared["sources"] + entry.get("sources", [])]
    return Relation(
        name=name,
        title=entry["title"],
        subject_kind=entry["subject"],
        object_kind=entry["object"],
        nouns=tuple((word, re.compile(subjects)) for word, subjects in entry.get("nouns", {}).items()),
        verbs=_patterns(entry["verbs"]),
        held_out=_patterns(entry["held_out"]),
        prefixes=(*links, *sources),
        suffixes=_patterns(shared["suffixes"] + entry.get("suffixes", [])),
        questions=_patterns(entry["questions"]),
        denials=_patterns(entry.get("denials", [])),
        exclusive=bool(entry.get("exclusive", True)),
    )


def _patterns(sources: list[str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(source) for source in sources)


def _bigrams(pattern: Pattern) -> set[str]:
    """Pairs of adjacent Chinese characters in the text of the pattern, outside its slots."""
    return {
        part[i : i + 2]
        for part in pattern.parts
        for i in range(len(part) - 1)
        if part[0] not in "{[]" and all("一" <= c <= "鿿" for c in part[i : i + 2])
    }
