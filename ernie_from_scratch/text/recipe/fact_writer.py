"""Facts to sentences: the choice of prefix, verb phrase and suffix."""

import random
from dataclasses import dataclass

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import Relation, Span, Triple, is_reserved

MAX_LENGTH = 34  # characters of a sentence; only a fact with very long names exceeds it
ATTEMPTS = 200  # draws before the wordings count as used up; the last ones may be long or repeat a phrase


@dataclass(frozen=True)
class RecipeSentence:
    """A generated sentence with its spans, and the fact and the triple that it expresses (None in notes)."""

    text: str
    spans: tuple[Span, ...]
    fact: Fact | None = None
    triple: Triple | None = None


class FactWriter:
    """Writes facts as sentences; a fact uses each triple once before any is repeated, and no reserved ones."""

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
        """A sentence for each fact; none contains the answer of another, no prefix or suffix is repeated."""
        sentences, used_patterns = [], set()
        for i, fact in enumerate(facts):
            place = "opening" if i == 0 else "closing" if i == len(facts) - 1 else "middle"
            others = [other.object for other in facts if other is not fact]
            sentence, (prefix, _, suffix) = self._sentence(fact, place, others, used_patterns)
            relation = self.relations[fact.relation]
            patterns = {relation.prefixes[prefix].pattern.source, relation.suffixes[suffix].source}
            used_patterns |= patterns - {"", "。"}
            sentences.append(sentence)
        return tuple(sentences)

    def _sentence(
        self, fact: Fact, place: str, others: list[str], used_patterns: set[str]
    ) -> tuple[RecipeSentence, Triple]:
        relation = self.relations[fact.relation]
        used = self.used.setdefault(fact, set())
        if fact not in self.verb_order:
            self.verb_order[fact] = self.rng.sample(range(len(relation.verbs)), len(relation.verbs))
        for attempt in range(ATTEMPTS):
            verb = self.verb_order[fact][(len(used) + attempt // 20) % len(relation.verbs)]
            triple = (self._prefix(relation, verb, place), verb, self._suffix(relation))
            relaxed = attempt >= 0.9 * ATTEMPTS
            if triple not in self.allowed[fact.relation] or triple in used:
                continue
            if self._repeats(relation, triple, used_patterns) and not relaxed:
                continue
            text, spans = relation.render(fact, triple)
            is_only_answer = text.count(fact.object) == 1 and not any(other in text for other in others)
            if is_only_answer and (len(text) <= MAX_LENGTH or relaxed):
                used.add(triple)
                return RecipeSentence(text, tuple(spans), fact, triple), triple
        if not used:
            raise UserError(
                f"no sentence for a fact: {fact.relation} of {fact.subject}; correct its row or its patterns"
            )
        used.clear()  # all triples have been used: start again
        return self._sentence(fact, place, others, used_patterns)

    def _repeats(self, relation: Relation, triple: Triple, used_patterns: set[str]) -> bool:
        prefix, _, suffix = triple
        patterns = {relation.prefixes[prefix].pattern.source, relation.suffixes[suffix].source}
        return not patterns.isdisjoint(used_patterns)

    def _prefix(self, relation: Relation, verb: int, place: str) -> int:
        """No prefix for two fifths of the sentences, else a connective for the place, or a source."""
        draw = self.rng.random()
        if draw < 0.4:
            place = "any"
        elif draw >= 0.7 and not relation.verbs[verb].links_only:
            place = "source"
        return self.rng.choice(self.prefixes[relation.name][place])

    def _suffix(self, relation: Relation) -> int:
        return 0 if self.rng.random() < 0.45 else self.rng.randrange(len(relation.suffixes))


def _prefixes_by_place(relation: Relation) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for number, prefix in enumerate(relation.prefixes):
        places.setdefault(prefix.place if prefix.link else "source", []).append(number)
    return places
