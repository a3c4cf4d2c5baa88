"""The generated corpus: facts in varied sentences, in thematic documents, with annotated boundaries.

The facts have equal numbers of sentences, within one or two. Some documents are unlabelled notes about hotels,
books or phones: a sentence of praise, then one of criticism (see sentiment.py).
"""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.recipe.documents import Themes, group_facts
from ernie_from_scratch.text.recipe.fact_writer import FactWriter, RecipeSentence
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import load_relations
from ernie_from_scratch.text.recipe.sentiment import Note, ReviewWriter
from ernie_from_scratch.utils.files import atomic_write


@dataclass(frozen=True)
class RecipeDocument:
    """A generated document."""

    title: str
    sentences: tuple[RecipeSentence, ...]

    @property
    def is_note(self) -> bool:
        """Whether it states opinions, not facts."""
        return self.sentences[0].fact is None

    def to_dict(self) -> dict:
        """The row of a .jsonl that `ernie prepare` reads."""
        return {
            "title": self.title,
            "sentences": [
                {"text": s.text, "spans": [list(span) for span in s.spans]} for s in self.sentences
            ],
        }


def generate_corpus(
    facts: list[Fact], sentences: int = 30000, seed: int = 1234, note_share: float = 0.25
) -> Iterator[RecipeDocument]:
    """Yields documents until they have at least `sentences` sentences; equal arguments give equal documents.

    After each document, another note follows with probability `note_share`. Raises UserError if a relation
    has no patterns, or if there are too few facts for a document.
    """
    relations = load_relations()
    unknown = {fact.relation for fact in facts} - relations.keys()
    if unknown:
        raise UserError(f"no patterns: relation {min(unknown)}; add it to data/recipe/relations.yaml")
    rng = random.Random(f"corpus:{seed}")
    writer, themes = FactWriter(relations, seed, rng), Themes(facts, relations)
    notes = ReviewWriter(random.Random(f"notes:{seed}"))
    written, remaining = 0, []
    while written < sentences:
        groups, remaining = group_facts(facts + remaining, themes, rng)
        if not groups:
            raise UserError(f"too few facts: {len(facts)} do not fill a document; give at least 20")
        for title, group in groups:
            document = RecipeDocument(title, writer.document(group))
            written += len(document.sentences)
            yield document
            while rng.random() < note_share and written < sentences:
                note = _note(notes.note())
                written += len(note.sentences)
                yield note
            if written >= sentences:
                return


def _note(note: Note) -> RecipeDocument:
    return RecipeDocument(
        f"{note.domain}点评", tuple(RecipeSentence(text, spans) for text, spans in note.sentences)
    )


def write_jsonl(documents: Iterable[RecipeDocument], path: str | Path) -> int:
    """Writes a document per line with its boundaries; returns the number of sentences."""
    count = 0
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(document.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")
            count += len(document.sentences)
    return count


def write_text(documents: Iterable[RecipeDocument], path: str | Path) -> int:
    """Writes a sentence per line, with blank lines between documents; returns the number of sentences."""
    count = 0
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for number, document in enumerate(documents):
            file.write("\n" * (number > 0) + "".join(f"{sentence.text}\n" for sentence in document.sentences))
            count += len(document.sentences)
    return count
