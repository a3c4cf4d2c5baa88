"""Cloze probes: sentences whose object is to be filled in, and how far their wording is from the corpus.

seen        sentences of the corpus itself
unseen      combinations of prefix, verb phrase and suffix that the corpus uses with no fact
reworded    verb phrases that the corpus never uses with this relation
"""

import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.text.recipe.corpus import RecipeDocument
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import (
    Relation,
    Span,
    is_reserved,
    load_relations,
    wording,
)
from ernie_from_scratch.text.recipe.worder import MAX_LENGTH, RecipeSentence

PROBE_KINDS = ("seen", "unseen", "reworded")


@dataclass(frozen=True)
class Probe:
    """A whole sentence; `text[start:end] == answer` is to be masked by the caller."""

    text: str
    answer: str
    start: int
    end: int
    relation: str
    kind: str  # one of PROBE_KINDS
    subject: str
    spans: tuple[Span, ...]

    @property
    def wording(self) -> str:
        """The sentence with its entities replaced by one letter per entity type."""
        return wording(self.text, list(self.spans))


def make_probes(
    facts: list[Fact], documents: Iterable[RecipeDocument], seed: int = 1234, limit: int | None = None
) -> dict[str, list[Probe]]:
    """One probe of each kind for every fact, at most `limit` of a kind; the same facts in the same order.

    `documents` and `seed` must be those of the corpus (`generate_corpus`): the seed also reserves the unseen
    combinations. Facts whose answer can be read off the subject, or that `documents` lack, are left out.
    """
    relations = load_relations()
    stated: dict[Fact, list[RecipeSentence]] = defaultdict(list)
    for document in documents:
        for sentence in document.sentences:
            if sentence.fact is not None:
                stated[sentence.fact].append(sentence)
    rng = random.Random(f"probes:{seed}")
    reserved = {
        name: [t for t in relation.triples if is_reserved(name, t, seed)]
        for name, relation in relations.items()
    }
    turns: Counter = Counter()
    probes: dict[str, list[Probe]] = {kind: [] for kind in PROBE_KINDS}
    for fact in rng.sample(facts, len(facts)):
        if limit is not None and len(probes["seen"]) >= limit:
            break
        relation = relations[fact.relation]
        if fact.copyable or not stated[fact]:
            continue
        sentence = rng.choice(stated[fact])
        held_out = relation.held_out[turns[fact.relation] % len(relation.held_out)]
        wordings = {
            "seen": (sentence.text, list(sentence.spans)),
            "unseen": _unseen(fact, relation, reserved[fact.relation], rng),
            "reworded": relation.render_patterns(fact, (held_out,)),
        }
        made = {kind: _probe(fact, kind, *wordings[kind]) for kind in PROBE_KINDS}
        if all(made.values()):
            turns[fact.relation] += 1
            for kind in PROBE_KINDS:
                probes[kind].append(made[kind])
    return probes


def _unseen(fact: Fact, relation: Relation, reserved: list, rng: random.Random) -> tuple[str, list[Span]]:
    """A reserved wording of normal length, or the shortest of forty drawn."""
    drawn = [relation.render(fact, triple) for triple in rng.sample(reserved, min(40, len(reserved)))]
    return next((d for d in drawn if len(d[0]) <= MAX_LENGTH), min(drawn, key=lambda d: len(d[0])))


def _probe(fact: Fact, kind: str, text: str, spans: list[Span]) -> Probe | None:
    """None when the answer occurs twice in the sentence: then it could be copied."""
    if text.count(fact.object) != 1:
        return None
    start = text.index(fact.object)
    end = start + len(fact.object)
    return Probe(text, fact.object, start, end, fact.relation, kind, fact.subject, tuple(spans))


def majority_share(probes: list[Probe]) -> float:
    """Share of probes that a reader who knows no fact, but each relation's commonest answer, gets right."""
    answers: dict[str, Counter] = defaultdict(Counter)
    for probe in probes:
        answers[probe.relation][probe.answer] += 1
    return sum(counts.most_common(1)[0][1] for counts in answers.values()) / max(1, len(probes))


class WordingIndex:
    """All wordings of a corpus, entities replaced by type letters, ready for `wording_distance`."""

    def __init__(self, documents: Iterable[RecipeDocument]):
        self.wordings = sorted(
            {wording(s.text, list(s.spans)) for d in documents for s in d.sentences if s.fact is not None}
        )
        self.joined = "\n".join(self.wordings)
        postings: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(self.wordings):
            for bigram in _bigrams(text):
                postings[bigram].append(number)
        self.postings = {bigram: np.array(numbers) for bigram, numbers in postings.items()}

    def contains_piece(self, text: str, length: int) -> bool:
        """True when some training wording holds a piece of `text` of this length."""
        return any(text[i : i + length] in self.joined for i in range(len(text) - length + 1))


@dataclass(frozen=True)
class WordingDistance:
    """How near the nearest training sentence is: 1.0 means contained in one, 0.0 nothing in common."""

    common_substring: float  # longest common substring, as a share of the probe's wording
    bigram_overlap: (
        float  # share of the probe's character bigrams that the most similar training sentence has
    )
    equal: bool  # the very wording occurs in the corpus


def wording_distance(probe: Probe, index: WordingIndex) -> WordingDistance:
    """Compares a probe's wording with every training sentence's; full stops are left aside."""
    text = probe.wording.rstrip("。")
    # a piece of length n brings one of length n - 1 with it, so the longest is found by bisection
    longest = bisect_left(range(1, len(text) + 1), True, key=lambda n: not index.contains_piece(text, n))
    bigrams = _bigrams(text)
    hits = np.zeros(len(index.wordings), dtype=np.int64)
    for bigram in bigrams & index.postings.keys():
        hits[index.postings[bigram]] += 1
    equal = f"\n{probe.wording}\n" in f"\n{index.joined}\n"
    return WordingDistance(longest / len(text), int(hits.max()) / len(bigrams), equal)


def _bigrams(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}
