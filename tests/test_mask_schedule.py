"""Which level a row is masked at: shares, stages, and what a corpus must have for it."""

import numpy as np
import pytest
from dataset_helpers import random_documents, random_sentence, standard_score, toy_vocabulary, write_corpus

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.mask_schedule import check_levels, mask_stages
from ernie_from_scratch.dataset.masking import MaskingRules
from ernie_from_scratch.dataset.rng import fold
from ernie_from_scratch.dataset.settings import LEVELS
from ernie_from_scratch.text.corpus.prepared import open_prepared


def levels(masking, schedule, numbers):
    rules = MaskingRules(mask_stages(masking, schedule))
    return np.bincount([rules.level(number, fold(1, number)) for number in numbers], minlength=len(LEVELS))


@pytest.mark.parametrize("masking", LEVELS)
def test_one_level(masking):
    assert levels(masking, None, range(200))[LEVELS.index(masking)] == 200


def test_knowledge_is_a_third_of_each_of_the_papers_levels():
    counts = levels("knowledge", None, range(3000))
    assert counts[1] == 0 and abs(standard_score(counts[[0, 2, 3]], [1000] * 3)) < 5


def test_shares():
    counts = levels("knowledge", {"word": 3, "entity": 1}, range(4000))
    assert counts[0] == counts[2] == 0 and abs(standard_score(counts[[1, 3]], [3000, 1000])) < 5


def test_the_papers_stages():
    schedule = [(0, "char"), (100, "phrase"), (200, {"entity": 1.0})]
    assert levels("knowledge", schedule, range(100)).tolist() == [100, 0, 0, 0]
    assert levels("knowledge", schedule, range(100, 200)).tolist() == [0, 0, 100, 0]
    assert levels("knowledge", schedule, range(200, 999)).tolist() == [0, 0, 0, 799]


@pytest.mark.parametrize(
    "masking, schedule",
    [
        ("sentence", None),
        ("entity", {"char": 1}),
        ("knowledge", {}),
        ("knowledge", {"chars": 1}),
        ("knowledge", {"char": -1, "entity": 2}),
        ("knowledge", {"char": "much"}),
        ("knowledge", {"char": float("nan")}),
        ("knowledge", []),
        ("knowledge", [(5, "char")]),
        ("knowledge", [(0, "char"), (0, "entity")]),
        ("knowledge", [(0, "char"), ("later", "entity")]),
        ("knowledge", ["char", "entity"]),
        ("knowledge", [(0, 3)]),
        ("knowledge", 7),
    ],
)
def test_bad_schedules_are_refused(masking, schedule):
    with pytest.raises(UserError):
        mask_stages(masking, schedule)


@pytest.mark.parametrize("masking", ["phrase", "entity", "knowledge"])
def test_levels_above_words_need_spans(tmp_path, masking):
    write_corpus(tmp_path / "toy", random_documents(1), spans=False)
    corpus = open_prepared(tmp_path / "toy", toy_vocabulary())
    with pytest.raises(UserError, match="ernie prepare"):
        check_levels(corpus, mask_stages(masking), masking)
    for possible in ("char", "word"):
        check_levels(corpus, mask_stages(possible), possible)
    check_levels(corpus, mask_stages("knowledge", {"char": 1, "word": 1}), "knowledge")


def test_entity_masking_needs_entities(tmp_path):
    write_corpus(tmp_path / "toy", [[random_sentence(np.random.default_rng(0), 90, entity_share=0.0)]])
    corpus = open_prepared(tmp_path / "toy", toy_vocabulary())
    check_levels(corpus, mask_stages("phrase"), "phrase")
    with pytest.raises(UserError, match="user_dict"):
        check_levels(corpus, mask_stages("entity"), "entity")
