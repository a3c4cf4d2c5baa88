"""Stage "cloze": ask the networks for the facts, in wordings that they have read, half read and never read."""

from collections import Counter

import numpy as np
import paddle

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.deployment.pipelines.beam_search import fill_spans
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

STRATEGIES = ("all_at_once", "left_to_right")
TITLES = {"seen": "seen sentences", "unseen": "unseen combinations", "reworded": "differently worded"}


def cloze_accuracy(model, vocabulary, probes):
    """Share of probes whose whole entity is filled rightly, greedily, by kind of probe and way of filling.

    Returns:
        List of dicts with `probes`, `strategy`, `accuracy`, and `answers`: what was filled in, in order.
    """
    tokenizer = ErnieTokenizer(vocabulary)
    results = []
    for kind, questions in probes.items():
        texts = [probe.text for probe in questions]
        spans = [[(probe.start, probe.end)] for probe in questions]
        gold = [tuple(tokenizer.encode(probe.answer)["input_ids"][1:-1]) for probe in questions]
        for strategy in STRATEGIES:
            found = fill_spans(model, tokenizer, texts, spans, strategy=strategy, beam_size=1, batch_size=64)
            answers = [filling[0].token_ids for filling in found]
            right = [answer == expected for answer, expected in zip(answers, gold, strict=True)]
            words = [tokenizer.decode(answer) for answer in answers]
            accuracy = float(np.mean(right))
            results.append(dict(probes=TITLES[kind], strategy=strategy, accuracy=accuracy, answers=words))
    return results


def majority_answer(probes):
    """Accuracy of always giving a relation's commonest answer: what knowing nothing of the subject can reach."""
    relations = Counter((probe.relation, probe.answer) for probe in probes["unseen"])
    best = Counter()
    for (relation, _), count in relations.items():
        best[relation] = max(best[relation], count)
    return sum(best.values()) / len(probes["unseen"])


def ask(arms, config_file, vocabulary_file, probes, seed):
    """Cloze accuracy of each arm's network and of the untrained one that both started from.

    Args:
        arms: masking -> from_pretrained folder.

    Returns:
        JSON-able dict: `rows` (one per masking, kind and strategy, with `accuracy` and `before`), `majority`,
        `questions`: sample probes with every arm's answers.
    """
    vocabulary = Vocabulary.load(vocabulary_file)
    paddle.seed(seed)
    before = cloze_accuracy(ErnieForPretraining(ErnieConfig.from_file(config_file)), vocabulary, probes)
    rows, answers = [], {}
    for masking, folder in arms.items():
        after = cloze_accuracy(ErnieForPretraining.from_pretrained(folder), vocabulary, probes)
        for untrained, trained in zip(before, after, strict=True):
            answers[masking, trained["probes"], trained["strategy"]] = trained.pop("answers")
            rows.append({"masking": masking, **trained, "before": untrained["accuracy"]})
    questions = [
        {
            "text": probe.text[: probe.start] + "＿" * (probe.end - probe.start) + probe.text[probe.end :],
            "answer": probe.answer,
            "kind": TITLES[kind],
            **{masking: answers[masking, TITLES[kind], "all_at_once"][number] for masking in arms},
        }
        for kind in ("unseen", "reworded")
        for number, probe in enumerate(probes[kind][:8])
    ]
    return {"rows": rows, "majority": majority_answer(probes), "questions": questions}
