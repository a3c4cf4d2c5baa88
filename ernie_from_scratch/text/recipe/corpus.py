"""The encyclopaedia-like corpus: facts worded in varied sentences, in themed documents, with known boundaries.

Every fact gets the same number of sentences within one or two. Some documents are notes: impressions of hotels,
books or phones without a label (see sentiment.py).
"""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.files import atomic_write
from ernie_from_scratch.text.recipe.documents import Themes, group_facts
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import Relation, Span, Triple, is_reserved, load_relations
from ernie_from_scratch.text.recipe.sentiment import Review, ReviewWriter

MAX_LENGTH = 34  # characters of a sentence; only a fact with very long names goes beyond


@dataclass(frozen=True)
class RecipeSentence:
    """`text` with its known `spans`; `fact` and `triple` say what it states and how (None in notes)."""

    text: str
    spans: tuple[Span, ...]
    fact: Fact | None = None
    triple: Triple | None = None


@dataclass(frozen=True)
class RecipeDocument:
    title: str
    sentences: tuple[RecipeSentence, ...]

    @property
    def is_note(self) -> bool:
        return self.sentences[0].fact is None

    def to_dict(self) -> dict:
        return {
            "title": self.title,
            "sentences": [{"text": s.text, "spans": [list(span) for span in s.spans]} for s in self.sentences],
        }


class _Worder:
    """Words facts; no triple serves a fact twice while another is left, and reserved triples never."""

    def __init__(self, relations: dict[str, Relation], seed: int, rng: random.Random):
        self.relations, self.rng = relations, rng
        self.allowed = {
            name: {t for t in relation.triples if not is_reserved(name, t, seed)}
            for name, relation in relations.items()
        }
        self.used: dict[Fact, set[Triple]] = {}
        self.verb_order: dict[Fact, list[int]] = {}

    def word(self, fact: Fact, place: str, others: list[str]) -> RecipeSentence:
        """A new sentence for `fact`, to stand at `place`, that contains none of the `others` (answers nearby)."""
        relation = self.relations[fact.relation]
        used = self.used.setdefault(fact, set())
        verbs = self.verb_order.setdefault(fact, self.rng.sample(range(len(relation.verbs)), len(relation.verbs)))
        for attempt in range(200):
            verb = verbs[(len(used) + attempt // 20) % len(verbs)]
            triple = (self._prefix(relation, verb, place), verb, self._suffix(relation))
            if triple in self.allowed[fact.relation] and triple not in used:
                text, spans = relation.render(fact, triple)
                roomy = len(text) <= MAX_LENGTH or attempt >= 180
                if roomy and text.count(fact.object) == 1 and not any(other in text for other in others):
                    used.add(triple)
                    return RecipeSentence(text, tuple(spans), fact, triple)
        if not used:
            raise UserError(f"cannot word a fact: {fact.relation} of {fact.subject}; mend its row or its patterns")
        used.clear()  # every triple has served: start again
        return self.word(fact, place, others)

    def _prefix(self, relation: Relation, verb: int, place: str) -> int:
        chance = self.rng.random()
        if chance < 0.25:
            return next(i for i, p in enumerate(relation.prefixes) if p.link and p.place == "any")
        link = chance < 0.6 or relation.verbs[verb].links_only
        wanted = place if link else "any"
        return self.rng.choice(
            [i for i, p in enumerate(relation.prefixes) if p.link == link and p.place == wanted]
        )

    def _suffix(self, relation: Relation) -> int:
        return 0 if self.rng.random() < 0.2 else self.rng.randrange(len(relation.suffixes))


def generate_corpus(
    facts: list[Fact], sentences: int = 30000, seed: int = 1234, note_share: float = 0.12
) -> Iterator[RecipeDocument]:
    """Yields documents until `sentences` sentences are out (the last document is finished).

    `note_share` of the documents are notes. The same arguments give the same documents.
    Raises UserError for a fact whose relation has no patterns or for a table too small for one document.
    """
    relations = load_relations()
    unknown = {fact.relation for fact in facts} - relations.keys()
    if unknown:
        raise UserError(f"no patterns: relation {min(unknown)}; add it to data/recipe/relations.yaml")
    rng = random.Random(f"corpus:{seed}")
    worder, themes = _Worder(relations, seed, rng), Themes(facts, relations)
    notes = ReviewWriter(random.Random(f"notes:{seed}"))
    written, left = 0, []
    while written < sentences:
        groups, left = group_facts(facts + left, themes, rng)
        if not groups:
            raise UserError(f"too few facts: {len(facts)} do not fill a document; give at least 20")
        for title, members in groups:
            document = RecipeDocument(title, tuple(_word_all(members, worder)))
            written += len(document.sentences)
            yield document
            while rng.random() < note_share and written < sentences:
                note = _note(notes.note())
                written += len(note.sentences)
                yield note
            if written >= sentences:
                return


def _word_all(facts: list[Fact], worder: _Worder) -> Iterator[RecipeSentence]:
    for i, fact in enumerate(facts):
        place = "opening" if i == 0 else "closing" if i == len(facts) - 1 else "middle"
        yield worder.word(fact, place, [other.object for other in facts if other is not fact])


def _note(review: Review) -> RecipeDocument:
    return RecipeDocument(
        f"{review.domain}点评", tuple(RecipeSentence(text, spans) for text, spans in review.sentences)
    )


def write_jsonl(documents: Iterable[RecipeDocument], path: str | Path) -> int:
    """Writes one document a line with its boundaries; returns the number of sentences."""
    count = 0
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(document.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")
            count += len(document.sentences)
    return count


def write_text(documents: Iterable[RecipeDocument], path: str | Path) -> int:
    """Writes plain text, one sentence a line and a blank line between documents; returns the number of sentences."""
    count = 0
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for number, document in enumerate(documents):
            file.write("\n" * (number > 0) + "".join(f"{sentence.text}\n" for sentence in document.sentences))
            count += len(document.sentences)
    return count
