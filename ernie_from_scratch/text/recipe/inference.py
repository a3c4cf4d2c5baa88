"""Sentence pairs from facts for natural language inference: entailment, contradiction or neutral.

All three labels use the same forms of hypothesis, negations too, so a hypothesis alone does not reveal its
label.
"""

import random
from collections import defaultdict
from collections.abc import Iterator

from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import Pattern, Relation, load_relations

LABELS = ("entailment", "contradiction", "neutral")
NEGATED_SHARE = 0.3  # of the hypotheses
STOP = Pattern("。")


class PairWriter:
    """Generates pairs about a set of facts, with names of that set only."""

    def __init__(self, facts: list[Fact], rng: random.Random):
        self.rng, self.relations = rng, load_relations()
        self.tables: dict[str, list[Fact]] = defaultdict(list)
        self.about: dict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            if self.relations[fact.relation].exclusive:
                self.tables[fact.relation].append(fact)
                self.about[fact.subject].append(fact)
        self.facts = [
            f for table in self.tables.values() for f in table if len({g.object for g in table}) > 2
        ]

    def pairs(self, count: int) -> Iterator[tuple[str, str, str]]:
        """Yields `count` different (label, premise, hypothesis), with equal numbers of labels and facts."""
        queue: list[Fact] = []
        seen: set[tuple[str, str]] = set()
        while len(seen) < count:
            if not queue:
                queue = self.rng.sample(self.facts, len(self.facts))
            fact, label = queue.pop(), LABELS[len(seen) % 3]
            premise, hypothesis = self._pair(fact, label)
            if (premise, hypothesis) not in seen:
                seen.add((premise, hypothesis))
                yield label, premise, hypothesis

    def _pair(self, fact: Fact, label: str) -> tuple[str, str]:
        relation = self.relations[fact.relation]
        triple = self.rng.choice([t for t in relation.triples if relation.prefixes[t[0]].place == "any"])
        premise, _ = relation.render(fact, triple)
        claim = self._neighbour(fact) if label == "neutral" else fact
        negated = self.rng.random() < NEGATED_SHARE
        false = negated == (label == "entailment") if label != "neutral" else self.rng.random() < 0.5
        if false:
            used = f"{claim.object}|{fact.object}"
            objects = {f.object for f in self.tables[claim.relation]}
            others = sorted(
                o for o in objects if o not in used and claim.object not in o and fact.object not in o
            )
            claim = Fact(claim.relation, claim.subject, self.rng.choice(others))
        return premise, self._hypothesis(claim, negated, avoid=relation.verbs[triple[1]])

    def _neighbour(self, fact: Fact) -> Fact:
        """Another fact, independent of the premise, with the same subject, object or only relation."""
        table = self.tables[fact.relation]
        same_subject = [f for f in self.about[fact.subject] if f.relation != fact.relation]
        same_object = [f for f in table if f.object == fact.object and f.subject != fact.subject]
        same_relation = [f for f in table if f.subject != fact.subject]
        draw = self.rng.random()
        choices = same_subject if draw < 0.5 else same_object if draw < 0.7 else same_relation
        return self.rng.choice(choices or same_relation)

    def _hypothesis(self, claim: Fact, negated: bool, avoid: Pattern) -> str:
        """`claim` as a sentence without prefix or suffix, and without the premise's verb phrase."""
        relation: Relation = self.relations[claim.relation]
        if negated:
            return relation.render_patterns(claim, (self.rng.choice(relation.denials),))[0]
        wordings = [(verb, STOP) for verb in relation.verbs if verb is not avoid and not verb.links_only]
        wordings += [(pattern,) for pattern in relation.held_out]
        return relation.render_patterns(claim, self.rng.choice(wordings))[0]
