"""Choosing the words of a fact: which prefix, verb phrase and suffix it gets, and where in a document."""

import random
from dataclasses import dataclass

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import Relation, Span, Triple, is_reserved

MAX_LENGTH = 34  # characters of a sentence; only a fact with very long names goes beyond
ATTEMPTS = 200  # draws before a wording counts as used up; the last ones may be long or repeat a phrase


@dataclass(frozen=True)
class RecipeSentence:
    """`text` with its known `spans`; `fact` and `triple` say what it states and how (None in notes)."""

    text: str
    spans: tuple[Span, ...]
    fact: Fact | None = None
    triple: Triple | None = None


class Worder:
    """Words facts; no triple serves a fact twice while another is left, and reserved triples never."""

    def __init__(self, relations: dict[str, Relation], seed: int, rng: random.Random):
        self.relations, self.rng = relations, rng
        self.allowed = {
            name: {t for t in relation.triples if not is_reserved(name, t, seed)}
            for name, relation in relations.items()
        }
        self.prefixes = {name: _prefixes_by_place(relation) for name, relation in relations.items()}
        self.used: dict[Fact, set[Triple]] = {}
        self.verb_order: dict[Fact, list[int]] = {}

    def document(self, facts: list[Fact]) -> tuple[RecipeSentence, ...]:
        """One sentence for each fact; none holds the answer of another, no prefix or suffix comes twice."""
        sentences, taken = [], set()
        for i, fact in enumerate(facts):
            place = "opening" if i == 0 else "closing" if i == len(facts) - 1 else "middle"
            others = [other.object for other in facts if other is not fact]
            sentence = self._word(fact, place, others, taken)
            relation, (prefix, _, suffix) = self.relations[fact.relation], sentence.triple
            taken |= {relation.prefixes[prefix].pattern.source, relation.suffixes[suffix].source} - {"", "。"}
            sentences.append(sentence)
        return tuple(sentences)

    def _word(self, fact: Fact, place: str, others: list[str], taken: set[str]) -> RecipeSentence:
        relation = self.relations[fact.relation]
        used = self.used.setdefault(fact, set())
        if fact not in self.verb_order:
            self.verb_order[fact] = self.rng.sample(range(len(relation.verbs)), len(relation.verbs))
        for attempt in range(ATTEMPTS):
            verb = self.verb_order[fact][(len(used) + attempt // 20) % len(relation.verbs)]
            triple = (self._prefix(relation, verb, place), verb, self._suffix(relation))
            desperate = attempt >= 0.9 * ATTEMPTS
            if triple not in self.allowed[fact.relation] or triple in used:
                continue
            if self._repeats(relation, triple, taken) and not desperate:
                continue
            text, spans = relation.render(fact, triple)
            alone = text.count(fact.object) == 1 and not any(other in text for other in others)
            if alone and (len(text) <= MAX_LENGTH or desperate):
                used.add(triple)
                return RecipeSentence(text, tuple(spans), fact, triple)
        if not used:
            raise UserError(
                f"cannot word a fact: {fact.relation} of {fact.subject}; mend its row or its patterns"
            )
        used.clear()  # every triple has served: start again
        return self._word(fact, place, others, taken)

    def _repeats(self, relation: Relation, triple: Triple, taken: set[str]) -> bool:
        prefix, _, suffix = triple
        return relation.prefixes[prefix].pattern.source in taken or relation.suffixes[suffix].source in taken

    def _prefix(self, relation: Relation, verb: int, place: str) -> int:
        """None for two fifths of the sentences, else a connective that fits the place, or a source."""
        chance = self.rng.random()
        if chance < 0.4:
            place = "any"
        elif chance >= 0.7 and not relation.verbs[verb].links_only:
            place = "source"
        return self.rng.choice(self.prefixes[relation.name][place])

    def _suffix(self, relation: Relation) -> int:
        return 0 if self.rng.random() < 0.45 else self.rng.randrange(len(relation.suffixes))


def _prefixes_by_place(relation: Relation) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for number, prefix in enumerate(relation.prefixes):
        places.setdefault(prefix.place if prefix.link else "source", []).append(number)
    return places
