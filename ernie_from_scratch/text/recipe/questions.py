"""Question answering data from facts: a context of several facts, questions, and answers as spans."""

import random
from collections.abc import Iterator

from ernie_from_scratch.text.recipe.documents import Themes, group_facts
from ernie_from_scratch.text.recipe.fact_writer import FactWriter
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import load_relations

QUESTIONS_PER_CONTEXT = 2


def paragraphs(facts: list[Fact], questions: int, name: str, seed: int) -> Iterator[dict]:
    """Yields paragraphs in SQuAD's format with `questions` questions in all; their ids start with `name`.

    The subject of a question occurs once in the context, and so does the answer.
    """
    rng, relations = random.Random(f"qa:{seed}:{name}"), load_relations()
    themes, writer = Themes(facts, relations), FactWriter(relations, seed, rng)
    written = number = 0
    contexts: set[str] = set()
    while written < questions:
        for title, group in group_facts(facts, themes, rng)[0]:
            context = "".join(sentence.text for sentence in writer.document(group))
            answerable = [f for f in group if context.count(f.object) == 1 and context.count(f.subject) == 1]
            if context in contexts or len(answerable) < QUESTIONS_PER_CONTEXT:
                continue
            contexts.add(context)
            chosen = rng.sample(answerable, min(QUESTIONS_PER_CONTEXT, questions - written))
            qas = []
            for position, fact in enumerate(chosen, start=1):
                relation = relations[fact.relation]
                question, _ = relation.render_patterns(fact, (rng.choice(relation.questions),))
                answer = {"text": fact.object, "answer_start": context.index(fact.object)}
                qas.append({"id": f"{name}_{number}_{position}", "question": question, "answers": [answer]})
            yield {"title": title, "paragraphs": [{"id": f"{name}_{number}", "context": context, "qas": qas}]}
            written += len(qas)
            number += 1
            if written >= questions:
                return
