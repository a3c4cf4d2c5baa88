"""Which facts share a document: grouped by theme, and no sentence gives away another's answer."""

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml

from ernie_from_scratch.text.recipe.facts import DATA_FOLDER, Fact
from ernie_from_scratch.text.recipe.patterns import Relation

SIZES = (4, 10)  # sentences of a document
OPEN_DOCUMENTS = 12  # how many documents of a theme are filled side by side


class Themes:
    """Names the themes that a fact fits: its relation, its field, its region, or the mixed almanac."""

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
        """Follows city -> province -> region, or country -> continent."""
        for _ in range(3):
            if place in self.region:
                return self.region[place]
            place = self.inside.get(place, "")
        return None

    def draw(self, fact: Fact, rng: random.Random) -> str:
        """A title for the document in which this fact will stand; facts with the same title may share one."""
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
    """A document being filled: no answer may be read off another sentence."""

    def __init__(self, size: int):
        self.size = size
        self.facts: list[Fact] = []
        self.names = ""  # all subjects and objects so far

    def takes(self, fact: Fact) -> bool:
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
    """Distributes `facts` over documents of 4 to 10; returns (title, facts) pairs and the facts left over.

    In a document every subject and object is another, and no object is part of another sentence's names.
    """
    buckets: dict[str, list[Fact]] = defaultdict(list)
    for fact in rng.sample(facts, len(facts)):
        buckets[themes.draw(fact, rng)].append(fact)
    documents, spill = [], []
    for title, bucket in buckets.items():
        for draft in _fill(bucket, rng):
            if len(draft.facts) >= SIZES[0]:
                documents.append((title, draft.facts))
            else:
                spill.extend(draft.facts)
    rng.shuffle(spill)
    left = []
    for draft in _fill(spill, rng):
        if len(draft.facts) >= SIZES[0]:
            documents.append((rng.choice(themes.mixed_titles), draft.facts))
        else:
            left.extend(draft.facts)
    rng.shuffle(documents)
    return documents, left


def _fill(facts: list[Fact], rng: random.Random) -> Iterator[_Draft]:
    """Puts each fact into the first open document that takes it; yields full documents, then the rest."""
    drafts: list[_Draft] = []
    for fact in facts:
        draft = next((d for d in drafts if d.takes(fact)), None)
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
