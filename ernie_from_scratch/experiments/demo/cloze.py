"""Stage "cloze": facts as cloze questions, in sentences of the corpus, in new combinations and in new wordings."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import paddle

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.deployment.pipelines.beam_search import fill_spans
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.text.recipe import Probe
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

STRATEGIES = ("all_at_once", "left_to_right")
TITLES = {"seen": "seen sentences", "unseen": "unseen combinations", "reworded": "differently worded"}
EXAMPLES = 8  # questions of each kind that the report lists
Probes = Mapping[str, Sequence[Probe]]  # kind of probe -> probes; all kinds have equally many


def cloze_accuracy(model: ErnieForPretraining, vocabulary: Vocabulary, probes: Probes) -> list[dict]:
    """Share of the probes in which greedy decoding fills in the complete entity correctly.

    Returns:
        A dict for each kind of probe and order of decoding: `probes` (the kind's title), `strategy`, `accuracy`
        (0 to 1), and `answers`, what was filled in, in the order of the probes.
    """
    tokenizer = ErnieTokenizer(vocabulary)
    results = []
    for kind, questions in probes.items():
        texts = [probe.text for probe in questions]
        spans = [[(probe.start, probe.end)] for probe in questions]
        expected = [tuple(tokenizer.encode(probe.answer)["input_ids"][1:-1]) for probe in questions]
        for strategy in STRATEGIES:
            fillings = fill_spans(
                model, tokenizer, texts, spans, strategy=strategy, beam_size=1, batch_size=64
            )
            answers = [best.token_ids for best, *_ in fillings]
            correct = [answer == right for answer, right in zip(answers, expected, strict=True)]
            words = [tokenizer.decode(answer) for answer in answers]
            accuracy = float(np.mean(correct))
            results.append(dict(probes=TITLES[kind], strategy=strategy, accuracy=accuracy, answers=words))
    return results


def majority_accuracy(probes: Probes) -> float:
    """Accuracy of always answering with the relation's most frequent answer, so without knowing any subject."""
    answers = Counter((probe.relation, probe.answer) for probe in probes["unseen"])
    most_frequent = Counter()
    for (relation, _), count in answers.items():
        most_frequent[relation] = max(most_frequent[relation], count)
    return sum(most_frequent.values()) / len(probes["unseen"])


def compare_models(
    models: Mapping[str, str | os.PathLike],
    config_file: str | os.PathLike,
    vocabulary_file: str | os.PathLike,
    probes: Probes,
    seed: int,
) -> dict:
    """Cloze accuracy of each pretrained network, and of the untrained one that all started from.

    Args:
        models: masking -> from_pretrained folder.

    Returns:
        JSON-able dict: `rows` (one per masking, kind of probe and strategy, with `accuracy` and, for the untrained
        network, `before`), `majority` (`majority_accuracy`), `questions` (examples with every network's answer).
    """
    vocabulary = Vocabulary.load(vocabulary_file)
    paddle.seed(seed)
    before = cloze_accuracy(ErnieForPretraining(ErnieConfig.from_file(config_file)), vocabulary, probes)
    rows, answers = [], {}
    for masking, folder in models.items():
        after = cloze_accuracy(ErnieForPretraining.from_pretrained(folder), vocabulary, probes)
        for untrained, trained in zip(before, after, strict=True):
            answers[masking, trained["probes"], trained["strategy"]] = trained.pop("answers")
            rows.append({"masking": masking, **trained, "before": untrained["accuracy"]})
    questions = [
        {
            "text": probe.text[: probe.start] + "＿" * (probe.end - probe.start) + probe.text[probe.end :],
            "answer": probe.answer,
            "kind": TITLES[kind],
            **{masking: answers[masking, TITLES[kind], "all_at_once"][number] for masking in models},
        }
        for kind in ("unseen", "reworded")
        for number, probe in enumerate(probes[kind][:EXAMPLES])
    ]
    return {"rows": rows, "majority": majority_accuracy(probes), "questions": questions}
