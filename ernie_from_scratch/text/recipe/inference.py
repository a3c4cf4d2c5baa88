"""Sentence pairs (NLI) from facts: does the hypothesis follow from the premise, contradict it, or neither?

All three labels use the same forms of hypothesis, denials too, so a hypothesis alone does not tell its label.
"""

import random
from collections import defaultdict
from collections.abc import Iterator

from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import Pattern, Relation, load_relations

LABELS = ("entailment", "contradiction", "neutral")
DENIALS = 0.3  # share of hypotheses that deny
STOP = Pattern("。")


class PairWriter:
    """Writes pairs about a set of facts; every name in them comes from that set."""

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
        """Yields `count` different (label, premise, hypothesis); labels in turn, facts evenly used."""
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
        deny = self.rng.random() < DENIALS
        wrong = deny == (label == "entailment") if label != "neutral" else self.rng.random() < 0.5
        if wrong:
            taken = f"{claim.object}|{fact.object}"
            others = {f.object for f in self.tables[claim.relation]}
            others = sorted(
                o for o in others if o not in taken and claim.object not in o and fact.object not in o
            )
            claim = Fact(claim.relation, claim.subject, self.rng.choice(others))
        return premise, self._hypothesis(claim, deny, avoid=relation.verbs[triple[1]])

    def _neighbour(self, fact: Fact) -> Fact:
        """Another fact, undecided by the premise: it shares the subject, the object or only the relation."""
        table = self.tables[fact.relation]
        same_subject = [f for f in self.about[fact.subject] if f.relation != fact.relation]
        same_object = [f for f in table if f.object == fact.object and f.subject != fact.subject]
        anything = [f for f in table if f.subject != fact.subject]
        chance = self.rng.random()
        choices = same_subject if chance < 0.5 else same_object if chance < 0.7 else anything
        return self.rng.choice(choices or anything)

    def _hypothesis(self, claim: Fact, deny: bool, avoid: Pattern) -> str:
        """Words `claim` without prefix or suffix, and not with the premise's verb phrase."""
        relation: Relation = self.relations[claim.relation]
        if deny:
            return relation.render_patterns(claim, (self.rng.choice(relation.denials),))[0]
        wordings = [(verb, STOP) for verb in relation.verbs if verb is not avoid and not verb.links_only]
        wordings += [(pattern,) for pattern in relation.held_out]
        return relation.render_patterns(claim, self.rng.choice(wordings))[0]
