"""Named entity recognition data from annotated spans: characters with B-/I-/O labels, as in the MSRA files."""

import random
from collections.abc import Iterator

from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import Span, load_relations
from ernie_from_scratch.text.recipe.sentiment import ReviewWriter, load_opinions

LABELLED_KINDS = ("PER", "LOC", "ORG", "TIME", "WORK")
SEPARATOR = "\002"


def bio_labels(text: str, spans: list[Span]) -> list[str]:
    """A label for each character; kinds outside LABELLED_KINDS are labelled O."""
    labels = ["O"] * len(text)
    for start, end, kind in spans:
        if kind in LABELLED_KINDS:
            labels[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return labels


def labelled_sentences(facts: list[Fact], count: int, rng: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Yields `count` different (text, labels): one or two facts, or a review without names (one in ten)."""
    relations = load_relations()
    writer = ReviewWriter(rng)
    seen: set[str] = set()
    queue: list[Fact] = []
    while len(seen) < count:
        if len(queue) < 2:
            queue = rng.sample(facts, len(facts))
        text, spans = "", []
        if rng.random() < 0.1:
            text = writer.task_review(
                rng.choice(load_opinions().domains), rng.choice(("positive", "negative"))
            ).text
        else:
            for _ in range(rng.choice((1, 1, 2))):
                fact = queue.pop()
                relation = relations[fact.relation]
                if rng.random() < 0.3:
                    sentence, of_sentence = relation.render_patterns(fact, (rng.choice(relation.held_out),))
                else:
                    sentence, of_sentence = relation.render(fact, rng.choice(relation.triples))
                spans += [(start + len(text), end + len(text), kind) for start, end, kind in of_sentence]
                text += sentence
        if text not in seen:
            seen.add(text)
            yield text, bio_labels(text, spans)
