"""Reviews from a grammar of hand-written opinion phrases: unlabelled notes, and labelled reviews for the task.

The small training set uses only the `familiar` phrases; notes use all of them. So a pretrained model can learn
from the notes the polarity of phrases that the training set for fine-tuning does not contain.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.recipe.facts import DATA_FOLDER
from ernie_from_scratch.text.recipe.patterns import Pattern, Span

POLARITIES = ("negative", "positive")  # the label is the position
FAMILIAR_SHARE = 0.35  # of the phrases, for the labelled training set
TASK_SHARE = 0.125  # of all texts, for the task data only
SENTENCE_LIMIT = 34  # characters of a sentence of a review
REMARK_LIMIT = 18  # characters of a sentence of a note: two of them fit in a short row


@dataclass(frozen=True)
class Clause:
    """An opinion about one aspect. In `source` phrases are in brackets."""

    source: str
    aspect: str
    mild: bool  # a criticism that praise can outweigh
    familiar: bool

    @property
    def text(self) -> str:
        return self.source.replace("[", "").replace("]", "")


class Opinions:
    """The phrases of `data/recipe/opinions.yaml`: clauses and verdicts by domain and polarity."""

    def __init__(self, file: str | Path | None = None):
        file = DATA_FOLDER / "recipe" / "opinions.yaml" if file is None else Path(file)
        if not file.is_file():
            raise UserError(f"no opinion phrases: {file}; the shipped ones are data/recipe/opinions.yaml")
        source = yaml.safe_load(file.read_text(encoding="utf-8"))
        general, domains = source["general"], source["domains"]
        self.domains = list(domains)
        self.joints, self.concessions, self.asides = (general[k] for k in ("joints", "concessions", "asides"))
        self.openers = {name: general["openers"] + entry["openers"] for name, entry in domains.items()}
        self.clauses: dict[tuple[str, str], list[Clause]] = {}
        self.verdicts: dict[tuple[str, str], list[Clause]] = {}
        for name, entry in domains.items():
            for polarity in POLARITIES:
                aspects = entry[polarity].items()
                self.clauses[name, polarity] = [
                    c for aspect, texts in aspects for c in _clauses(texts, aspect)
                ]
                own, shared = entry["verdicts"][polarity], general["verdicts"][polarity]
                self.verdicts[name, polarity] = [*_clauses(own, "verdict"), *_clauses(shared, "verdict")]


def _clauses(texts: list[str], aspect: str) -> list[Clause]:
    """A share of the clauses is familiar, chosen by hash, so that edits of other aspects do not change it."""
    ranked = sorted(texts, key=_hash_share)
    familiar = set(ranked[: max(1, round(FAMILIAR_SHARE * len(texts)))])
    return [Clause(t.removeprefix("~"), aspect, t.startswith("~"), t in familiar) for t in texts]


@lru_cache(maxsize=1)
def load_opinions() -> Opinions:
    """The shipped phrases."""
    return Opinions()


def _hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def belongs_to_tasks(text: str) -> bool:
    """Whether a text is reserved for the task data: no note, and no sentence of one, is a task review."""
    return _hash_share(text) < TASK_SHARE


@dataclass(frozen=True)
class Review:
    """A review: its sentences with spans, and the clauses that express its opinion."""

    domain: str
    polarity: str
    sentences: tuple[tuple[str, tuple[Span, ...]], ...]
    clauses: tuple[Clause, ...]
    minor: tuple[Clause, ...] = ()  # conceded points of the other polarity

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.sentences)


@dataclass(frozen=True)
class Note:
    """An unlabelled note: two sentences with spans."""

    domain: str
    sentences: tuple[tuple[str, tuple[Span, ...]], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.sentences)


class ReviewWriter:
    """Generates reviews of familiar phrases only (True), mostly of the others (False), or of both (None)."""

    def __init__(self, rng: random.Random, familiar: bool | None = None):
        self.rng, self.familiar, self.opinions = rng, familiar, load_opinions()

    def note(self) -> Note:
        """A short sentence of praise, then one of criticism, neither of which the task data contains.

        The fixed order makes SOP on notes a test of understanding.
        """
        while True:
            domain = self.rng.choice(self.opinions.domains)
            remarks = [self._remark(domain, polarity) for polarity in reversed(POLARITIES)]
            aspects = [clause.aspect for remark in remarks for clause in remark]
            sentences = ("，".join(clause.source for clause in remark) + "。" for remark in remarks)
            note = Note(domain, tuple(map(_render, sentences)))
            texts = [note.text, *(text for text, _ in note.sentences)]
            if len(set(aspects)) == len(aspects) and not any(map(belongs_to_tasks, texts)):
                return note

    def _remark(self, domain: str, polarity: str) -> list[Clause]:
        """One or two clauses, the second of which may be a verdict; two if both are short."""
        first = self._draw(self.opinions.clauses[domain, polarity], [])
        more = self.opinions.verdicts if self.rng.random() < 0.4 else self.opinions.clauses
        second = self._draw(more[domain, polarity], [first])
        both_fit = len(first.text) + len(second.text) + 2 <= REMARK_LIMIT
        return [first, second] if both_fit else [self.rng.choice([first, second])]

    def task_review(self, domain: str, polarity: str) -> Review:
        """A short review of one to three points, with a text that is reserved for the task data."""
        while True:
            points = self.rng.choices((1, 2, 3), weights=(3, 5, 2))[0]
            review = self._write(domain, polarity, points, mixed=self.rng.random() < 0.3)
            if belongs_to_tasks(review.text):
                return review

    def _write(self, domain: str, polarity: str, points: int, mixed: bool) -> Review:
        """`points` opinions of one polarity; `mixed` adds one of the other polarity, and a verdict."""
        clauses = self.opinions.clauses[domain, polarity]
        chosen: list[Clause] = []
        for _ in range(points):
            chosen.append(self._draw(clauses, chosen))
        expressed, sources = list(chosen), []
        minor = self._minor(domain, polarity, chosen) if mixed else []
        mixed = bool(minor)
        concede = mixed and (points == 1 or self.rng.random() < 0.6)
        if concede:
            frame = self.rng.choice(self.opinions.concessions)
            sources.append(frame.format(minor=minor[0].source, main=chosen.pop(0).source) + "。")
        sources += self._sentences(chosen)
        if mixed and not concede:
            sources.append(self.rng.choice(self.opinions.asides[polarity]).format(minor=minor[0].source))
        if self.rng.random() < 0.5:
            sources.insert(0, self.rng.choice(self.opinions.openers[domain]))
        if mixed or self.rng.random() < 0.6:
            verdict = self._draw(self.opinions.verdicts[domain, polarity], [])
            sources.append(verdict.source + self.rng.choice("。。。！"))
            expressed.append(verdict)
        sentences = tuple(_render(source) for source in sources)
        return Review(domain, polarity, sentences, tuple(expressed), tuple(minor))

    def _draw(self, clauses: list[Clause], chosen: list[Clause]) -> Clause:
        """A clause about an aspect that is not in `chosen`."""
        available = [c for c in clauses if c.aspect not in {other.aspect for other in chosen}]
        familiar = self.familiar
        if familiar is False and self.rng.random() < 0.15:
            familiar = True
        return self.rng.choice(
            [c for c in available if familiar is None or c.familiar == familiar] or available
        )

    def _minor(self, domain: str, polarity: str, chosen: list[Clause]) -> list[Clause]:
        """A point of the other polarity, if there is one; in a positive review only a mild criticism."""
        aspects = {clause.aspect for clause in chosen}
        available = [
            clause
            for clause in self.opinions.clauses[domain, POLARITIES[1 - POLARITIES.index(polarity)]]
            if clause.aspect not in aspects
            and (clause.mild or polarity == "negative")
            and (clause.familiar or not self.familiar)
        ]
        return [self.rng.choice(available)] if available else []

    def _sentences(self, clauses: list[Clause]) -> list[str]:
        """Joins one to three clauses to a sentence, within the length limit."""
        sentences: list[str] = []
        while clauses:
            source = clauses.pop(0).source
            for _ in range(self.rng.choice((0, 1, 1, 2, 2))):
                if clauses and len(source) + len(clauses[0].source) + 4 <= SENTENCE_LIMIT:
                    source += self.rng.choice(self.opinions.joints) + clauses.pop(0).source
            sentences.append(source + self.rng.choice("。。。。。！"))
        return sentences


def _render(source: str) -> tuple[str, tuple[Span, ...]]:
    spans: list[Span] = []
    text = Pattern(source).render({}, spans)
    return text, tuple(spans)
