"""Cloze probes: sentences whose object is to be predicted, and the distance of their wording to the corpus.

seen        sentences of the corpus
unseen      combinations of prefix, verb phrase and suffix that the corpus uses for no fact
reworded    verb phrases that the corpus never uses
"""

import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.text.recipe.fact_writer import MAX_LENGTH, RecipeSentence
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.generator import RecipeDocument
from ernie_from_scratch.text.recipe.patterns import (
    Relation,
    Span,
    Triple,
    is_reserved,
    load_relations,
    wording,
)

PROBE_KINDS = ("seen", "unseen", "reworded")


@dataclass(frozen=True)
class Probe:
    """A sentence; the caller masks `text[start:end] == answer`."""

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
        """The sentence with its entities replaced by letters (see `patterns.wording`)."""
        return wording(self.text, list(self.spans))


def make_probes(
    facts: list[Fact], documents: Iterable[RecipeDocument], seed: int = 1234, limit: int | None = None
) -> dict[str, list[Probe]]:
    """A probe of each kind for every fact, at most `limit` of a kind; all kinds have the same order of facts.

    `documents` and `seed` must be those of the corpus (`generate_corpus`), because the seed also reserves the
    unseen combinations. Copyable facts, and facts that `documents` do not state, are left out.
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
    counts: Counter[str] = Counter()  # facts used of each relation
    probes: dict[str, list[Probe]] = {kind: [] for kind in PROBE_KINDS}
    for fact in rng.sample(facts, len(facts)):
        if limit is not None and len(probes["seen"]) >= limit:
            break
        relation = relations[fact.relation]
        if fact.copyable or not stated[fact]:
            continue
        sentence = rng.choice(stated[fact])
        held_out = relation.held_out[counts[fact.relation] % len(relation.held_out)]
        wordings = {
            "seen": (sentence.text, list(sentence.spans)),
            "unseen": _unseen(fact, relation, reserved[fact.relation], rng),
            "reworded": relation.render_patterns(fact, (held_out,)),
        }
        # an answer that occurs twice in a sentence could be copied
        if all(text.count(fact.object) == 1 for text, _ in wordings.values()):
            counts[fact.relation] += 1
            for kind in PROBE_KINDS:
                probes[kind].append(_probe(fact, kind, *wordings[kind]))
    return probes


def _unseen(
    fact: Fact, relation: Relation, reserved: list[Triple], rng: random.Random
) -> tuple[str, list[Span]]:
    """A random reserved wording of at most MAX_LENGTH, or the shortest of forty."""
    drawn = [relation.render(fact, triple) for triple in rng.sample(reserved, min(40, len(reserved)))]
    return next((d for d in drawn if len(d[0]) <= MAX_LENGTH), min(drawn, key=lambda d: len(d[0])))


def _probe(fact: Fact, kind: str, text: str, spans: list[Span]) -> Probe:
    start = text.index(fact.object)
    end = start + len(fact.object)
    return Probe(text, fact.object, start, end, fact.relation, kind, fact.subject, tuple(spans))


def majority_share(probes: list[Probe]) -> float:
    """Accuracy of always predicting the most frequent answer of the relation."""
    answers: dict[str, Counter] = defaultdict(Counter)
    for probe in probes:
        answers[probe.relation][probe.answer] += 1
    return sum(counts.most_common(1)[0][1] for counts in answers.values()) / max(1, len(probes))


class WordingIndex:
    """An index of all wordings of a corpus, for `wording_distance`."""

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

    def has_common_substring(self, text: str, length: int) -> bool:
        """Whether a wording of the corpus contains a substring of `text` of this length."""
        return any(text[i : i + length] in self.joined for i in range(len(text) - length + 1))


@dataclass(frozen=True)
class WordingDistance:
    """Similarity to the nearest sentence of the corpus: 1.0 if contained in one, 0.0 if nothing is common."""

    common_substring: float  # length of the longest common substring, as a share of the probe's wording
    bigram_overlap: float  # share of the probe's character bigrams that the most similar sentence has
    equal: bool  # the corpus contains the same wording


def wording_distance(probe: Probe, index: WordingIndex) -> WordingDistance:
    """Compares a probe's wording, without the full stop, with every sentence of the corpus."""
    text = probe.wording.rstrip("。")
    # a common substring of length n implies one of length n - 1, so the longest is found by bisection
    lengths = range(1, len(text) + 1)
    longest = bisect_left(lengths, True, key=lambda n: not index.has_common_substring(text, n))
    bigrams = _bigrams(text)
    hits = np.zeros(len(index.wordings), dtype=np.int64)
    for bigram in bigrams & index.postings.keys():
        hits[index.postings[bigram]] += 1
    equal = f"\n{probe.wording}\n" in f"\n{index.joined}\n"
    return WordingDistance(longest / len(text), int(hits.max()) / len(bigrams), equal)


def _bigrams(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}
