"""Question answering from facts: a context of several facts, a question about one, the answer as a span."""

import random
from collections.abc import Iterator

from ernie_from_scratch.text.recipe.documents import Themes, group_facts
from ernie_from_scratch.text.recipe.facts import Fact
from ernie_from_scratch.text.recipe.patterns import load_relations
from ernie_from_scratch.text.recipe.worder import Worder

QUESTIONS_PER_CONTEXT = 2


def paragraphs(facts: list[Fact], questions: int, name: str, seed: int) -> Iterator[dict]:
    """Yields paragraphs in SQuAD's form until `questions` questions are asked; `name` begins their ids.

    Every question's subject stands once in its context, and so does the answer.
    """
    rng, relations = random.Random(f"qa:{seed}:{name}"), load_relations()
    themes, worder = Themes(facts, relations), Worder(relations, seed, rng)
    asked = number = 0
    contexts: set[str] = set()
    while asked < questions:
        for title, members in group_facts(facts, themes, rng)[0]:
            context = "".join(sentence.text for sentence in worder.document(members))
            answerable = [
                f for f in members if context.count(f.object) == 1 and context.count(f.subject) == 1
            ]
            if context in contexts or len(answerable) < QUESTIONS_PER_CONTEXT:
                continue
            contexts.add(context)
            chosen = rng.sample(answerable, min(QUESTIONS_PER_CONTEXT, questions - asked))
            qas = []
            for place, fact in enumerate(chosen, start=1):
                relation = relations[fact.relation]
                question, _ = relation.render_patterns(fact, (rng.choice(relation.questions),))
                answer = {"text": fact.object, "answer_start": context.index(fact.object)}
                qas.append({"id": f"{name}_{number}_{place}", "question": question, "answers": [answer]})
            yield {"title": title, "paragraphs": [{"id": f"{name}_{number}", "context": context, "qas": qas}]}
            asked += len(qas)
            number += 1
            if asked >= questions:
                return
