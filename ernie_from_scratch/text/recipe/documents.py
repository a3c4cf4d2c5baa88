"""Groups facts to documents by theme, so that no sentence contains the answer of another one."""

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml

from ernie_from_scratch.text.recipe.facts import DATA_FOLDER, Fact
from ernie_from_scratch.text.recipe.patterns import Relation

SIZES = (4, 10)  # fewest and most sentences of a document
OPEN_DOCUMENTS = 12  # documents of a theme that are filled at the same time


class Themes:
    """The themes of a fact: its relation, its field, its region, or mixed."""

    def __init__(self, facts: list[Fact], relations: dict[str, Relation], file: str | Path | None = None):
        file = DATA_FOLDER / "recipe" / "themes.yaml" if file is None else Path(file)
        source = yaml.safe_load(file.read_text(encoding="utf-8"))
        self.relations = relations
        self.mixed_titles = source["mixed_titles"]
        self.region_titles = source["region_titles"]
        self.fields = defaultdict(list)
        for field, members in source["fields"].items():
            for relation in members:
                self.fields[relation].append(field)
        self.region = {place: region for region, places in source["regions"].items() for place in places}
        self.inside = {
            f.subject: f.object for f in facts if f.relation in ("city_province", "country_continent")
        }
        self.inside |= {f.object: f.subject for f in facts if f.relation == "province_capital"}

    def region_of(self, place: str) -> str | None:
        """The region of a city (through its province) or country; None if it is unknown."""
        for _ in range(3):
            if place in self.region:
                return self.region[place]
            place = self.inside.get(place, "")
        return None

    def draw(self, fact: Fact, rng: random.Random) -> str:
        """A random title for the document of this fact; facts with the same title may share a document."""
        chance = rng.random()
        if chance < 0.4:
            return self.relations[fact.relation].title
        region = self.region_of(fact.object) or self.region_of(fact.subject)
        if chance < 0.6 and region:
            return rng.choice(self.region_titles).format(r=region)
        if chance < 0.8 and self.fields[fact.relation]:
            return rng.choice(self.fields[fact.relation])
        return rng.choice(self.mixed_titles)


class _Draft:
    """A document that is being filled."""

    def __init__(self, size: int):
        self.size = size
        self.facts: list[Fact] = []
        self.names = ""  # all subjects and objects so far

    def accepts(self, fact: Fact) -> bool:
        """Whether neither the fact nor one of the document contains the other's answer."""
        own = f"{fact.subject}|{fact.object}"
        return (
            fact.object not in self.names
            and f"|{fact.subject}|" not in self.names
            and not any(other.object in own for other in self.facts)
        )

    def add(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.names += f"|{fact.subject}|{fact.object}|"


def group_facts(
    facts: list[Fact], themes: Themes, rng: random.Random
) -> tuple[list[tuple[str, list[Fact]]], list[Fact]]:
    """Distributes `facts` over documents of 4 to 10; returns (title, facts) pairs and the remaining facts.

    In a document all subjects and objects differ, and no object is part of the names in another sentence.
    """
    buckets: dict[str, list[Fact]] = defaultdict(list)
    for fact in rng.sample(facts, len(facts)):
        buckets[themes.draw(fact, rng)].append(fact)
    documents, unplaced, remaining = [], [], []
    for title, bucket in buckets.items():
        for draft in _fill(bucket, rng):
            if len(draft.facts) >= SIZES[0]:
                documents.append((title, draft.facts))
            else:
                unplaced.extend(draft.facts)
    rng.shuffle(unplaced)
    for draft in _fill(unplaced, rng):
        if len(draft.facts) >= SIZES[0]:
            documents.append((rng.choice(themes.mixed_titles), draft.facts))
        else:
            remaining.extend(draft.facts)
    rng.shuffle(documents)
    return documents, remaining


def _fill(facts: list[Fact], rng: random.Random) -> Iterator[_Draft]:
    """Adds each fact to the first open document that accepts it; yields full documents, then the others."""
    drafts: list[_Draft] = []
    for fact in facts:
        draft = next((d for d in drafts if d.accepts(fact)), None)
        if draft is None:
            if len(drafts) >= OPEN_DOCUMENTS:
                yield drafts.pop(0)
            draft = _Draft(rng.randint(*SIZES))
            drafts.append(draft)
        draft.add(fact)
        if len(draft.facts) == draft.size:
            drafts.remove(draft)
            yield draft
    yield from drafts
