"""Masking: units, budgets, 80/10/10, and the distributions against theory and against PaddleNLP's rules."""

import random
from collections import Counter

import numpy as np
import pytest
from dataset_helpers import (
    BOTH,
    FIRST,
    random_documents,
    random_sentence,
    standard_score,
    toy_sampler,
    toy_vocabulary,
    two_sample_score,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_from_scratch.dataset.mask_schedule import mask_stages
from ernie_from_scratch.dataset.masking import (
    CHAR,
    ENTITY,
    PHRASE,
    WORD,
    MaskingRules,
    choose_masked,
    entity_tokens,
    find_units,
    mask_row,
)
from ernie_from_scratch.dataset.rng import fold
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.spans import entity_runs

TOKENS = TokenTable.of(toy_vocabulary())
HARBIN = "哈尔滨是黑龙江的省会，国际冰雪文化名城"  # the paper's figure 2, in Chinese
#         哈尔滨      是  黑龙江      的  省会   ，  国际  冰雪  文化  名城
BITS = [0x27, 0x20, 0x20, 3, 0x27, 0x20, 0x20, 3, 3, 0, 3, 3, 0, 1, 0, 3, 0, 1, 0]
BOUNDARY = 3


def row_of(bits):
    """Span bits and specials of [CLS] bits [SEP]."""
    spans = np.array([BOUNDARY, *bits, BOUNDARY], dtype=np.uint8)
    special = np.zeros(len(spans), dtype=bool)
    special[[0, -1]] = True
    return spans, special


def rules_of(masking="word", schedule=None, **settings):
    return MaskingRules(mask_stages(masking, schedule), **settings)


@pytest.mark.parametrize(
    "level, units",
    [
        (CHAR, list(HARBIN)),
        (WORD, ["哈尔滨", "是", "黑龙江", "的", "省会", "，", "国际", "冰雪", "文化", "名城"]),
        (PHRASE, ["哈尔滨", "是", "黑龙江", "的", "省会", "，", "国际冰雪", "文化名城"]),
        (ENTITY, ["哈尔滨", "是", "黑龙江", "的", "省会", "，", "国际", "冰雪", "文化", "名城"]),
    ],
)
def test_units_of_the_papers_example(level, units):
    found = find_units(*row_of(BITS), level)
    assert [HARBIN[a - 1 : b - 1] for a, b in zip(found.starts, found.ends, strict=True)] == units
    entities = [unit for unit, entity in zip(units, found.entity, strict=True) if entity]
    assert entities == (["哈尔滨", "黑龙江"] if level == ENTITY else [])


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40))
@settings(deadline=None)
def test_entities_are_those_of_the_span_format(bits):
    bits = np.array(bits, dtype=np.uint8)
    expected = np.zeros(len(bits), dtype=bool)
    for start, end, _ in entity_runs(bits % 112):  # types 1 to 6 are in use
        expected[start:end] = True
    assert entity_tokens(bits % 112).tolist() == expected.tolist()


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(0, 3), st.data())
@settings(deadline=None)
def test_units_are_apart_and_hold_no_special(bits, level, data):
    bits[0] |= BOUNDARY  # as every segment begins
    spans, special = row_of(bits)
    special[1:-1] = data.draw(st.lists(st.booleans(), min_size=len(bits), max_size=len(bits)))
    units = find_units(spans, special, level)
    assert (units.starts[1:] >= units.ends[:-1]).all() and (units.starts < units.ends).all()
    covered = np.concatenate([np.arange(a, b) for a, b in zip(units.starts, units.ends, strict=True)] or [[]])
    assert not special[covered.astype(int)].any()
    if not special[1:-1].any():
        assert covered.tolist() == list(range(1, len(bits) + 1))


def paddlenlp_masked(words, budget, max_ngrams, rng):
    """PaddleNLP's choice of positions (create_masked_lm_predictions), written anew from its rules; slow and
    plain.

    `words` are lists of positions. Like there, an n-gram at the end of the row is what is left of it.
    """
    order = list(range(len(words)))
    rng.shuffle(order)
    sizes = list(range(1, max_ngrams + 1))
    covered = set()
    for first in order:
        if len(covered) >= budget:
            break
        size = rng.choices(sizes, [1 / n for n in sizes])[0]
        ngram = [p for word in words[first : first + size] for p in word]
        while len(covered) + len(ngram) > budget and size > 1:
            size -= 1
            ngram = [p for word in words[first : first + size] for p in word]
        if len(covered) + len(ngram) > budget or covered & set(ngram):
            continue
        covered |= set(ngram)
    return covered


def runs(positions):
    """Lengths of the runs of neighbours."""
    breaks = np.flatnonzero(np.diff(positions) != 1)
    edges = np.concatenate([[-1], breaks, [len(positions) - 1]])
    return np.diff(edges).tolist()


@pytest.mark.parametrize("max_ngrams", [1, 3])
def test_word_masking_agrees_in_distribution_with_paddlenlp(max_ngrams):
    ids, bits = random_sentence(np.random.default_rng(4), 60)
    spans, special = row_of(bits)
    units = find_units(spans, special, WORD)
    words = [list(range(a, b)) for a, b in zip(units.starts, units.ends, strict=True)]
    rules, rng, times = rules_of(max_ngrams=max_ngrams), random.Random(1), 6000
    counts = {name: (Counter(), Counter(), Counter()) for name in ("ours", "theirs")}
    for number in range(times):
        ours = sorted(choose_masked(units, 60, WORD, rules, fold(21, number)))
        theirs = sorted(paddlenlp_masked(words, 9, max_ngrams, rng))
        for name, masked in (("ours", ours), ("theirs", theirs)):
            totals, places, lengths = counts[name]
            totals[len(masked)] += 1
            places.update(masked)
            lengths.update(runs(np.array(masked)))
    for ours, theirs in zip(counts["ours"], counts["theirs"], strict=True):
        cells = sorted(set(ours) | set(theirs))
        score = two_sample_score([ours[cell] for cell in cells], [theirs[cell] for cell in cells])
        assert score < 5, (score, ours, theirs)
    other = Counter()  # the scores above would notice another n-gram setting
    for number in range(times):
        masked = choose_masked(units, 60, WORD, rules_of(max_ngrams=4 - max_ngrams), fold(21, number))
        other.update(runs(np.array(sorted(masked))))
    cells = sorted(set(other) | set(counts["theirs"][2]))
    assert two_sample_score([other[c] for c in cells], [counts["theirs"][2][c] for c in cells]) > 20


@pytest.mark.parametrize("favor_longer_ngram", [False, True])
def test_ngram_lengths_follow_one_over_n(favor_longer_ngram):
    # One-character words far below the budget: the first n-gram drawn always fits, and fills the budget of 3.
    spans, special = row_of([BOUNDARY] * 20)
    units = find_units(spans, special, CHAR)
    rules = rules_of("char", favor_longer_ngram=favor_longer_ngram)
    shares = np.array([6, 3, 2]) / 11
    expected = shares[::-1] if favor_longer_ngram else shares
    first_lengths = np.zeros(3)
    for number in range(3000):
        masked = choose_masked(units, 20, CHAR, rules, fold(5, number))
        first = next(iter(masked))  # in the order of masking
        length = 1
        order = list(masked)
        while length < 3 and order[length] == first + length:
            length += 1
        first_lengths[length - 1] += 1
    # a one followed by its right neighbour by chance looks longer: rare among 20 places
    assert np.abs(first_lengths / 3000 - expected).max() < 0.06


def test_masked_share_is_exact_to_rounding():
    for count in (1, 2, 3, 10, 23, 50, 64, 125):
        spans, special = row_of([BOUNDARY] * count)
        units = find_units(spans, special, CHAR)
        for probability in (0.01, 0.15, 0.5, 1.0):
            rules = rules_of("char", masked_lm_prob=probability, max_ngrams=1)
            masked = choose_masked(units, count, CHAR, rules, fold(count, 1))
            assert len(masked) == max(1, round(probability * count))


def test_entities_are_masked_whole_and_drawn_equally():
    # Entities of 2, 5 and 3 tokens, budget 3 of 22: the long one overshoots when it comes first, and only then.
    bits = (
        [BOUNDARY] * 4
        + [0x17, 0x10]
        + [BOUNDARY] * 3
        + [0x27]
        + [0x20] * 4
        + [BOUNDARY] * 2
        + [0x37, 0x30, 0x30]
    )
    bits += [BOUNDARY] * 3
    spans, special = row_of(bits)
    units = find_units(spans, special, ENTITY)
    entities = [(5, 7), (10, 15), (17, 20)]
    assert list(zip(units.starts[units.entity], units.ends[units.entity], strict=True)) == entities
    first = Counter()
    for number in range(3000):
        masked = choose_masked(units, 22, ENTITY, rules_of("entity"), fold(6, number))
        whole = [range(*entity) for entity in entities if entity[0] in masked]
        assert len(whole) == 1 and all(position in masked for position in whole[0])
        inside = {position for entity in entities for position in range(*entity)}
        words = [position for position in masked if position not in inside]
        assert len(words) == {2: 1, 5: 0, 3: 0}[len(whole[0])]  # words fill the rest of the budget
        assert len(masked) - len(words) == len(whole[0])
        first[whole[0][0]] += 1
    assert abs(standard_score(list(first.values()), [1000] * 3)) < 5


def test_an_entity_above_half_the_row_is_left_alone():
    spans, special = row_of([0x17] + [0x10] * 10 + [BOUNDARY] * 5)
    units = find_units(spans, special, ENTITY)
    for number in range(50):
        masked = choose_masked(units, 16, ENTITY, rules_of("entity"), number)
        assert len(masked) == 2 and min(masked) > 11


@BOTH
def test_a_row_always_has_something_masked(implementation):
    bits = [0x17, 0x10, 0x10, 0x10]
    ids = [FIRST, FIRST + 301, FIRST + 302, FIRST + 303]
    for masking in ("char", "word", "phrase", "entity"):
        sampler = toy_sampler([[(ids, bits)]], implementation, masking=masking, pairs="none")
        batch = sampler.batch(np.arange(20))
        assert len(batch["masked_positions"]) == (20 if masking == "char" else 80)


@BOTH
@pytest.mark.parametrize("masking", ["char", "word", "phrase", "entity", "knowledge"])
def test_special_tokens_are_never_masked_and_never_drawn(implementation, masking):
    documents = random_documents(3)
    for document in documents:
        document[0][0][0] = 4  # [UNK]
        document[-1][0][-1] = 3  # [MASK] in the text
    sampler = toy_sampler(documents, implementation, masking=masking, masked_lm_prob=0.4)
    batch = sampler.batch(np.arange(600))
    labels = batch["masked_lm_labels"]
    assert (
        labels.min() >= FIRST and not TOKENS.special[labels].any() and not TOKENS.continuation[labels].any()
    )
    shown = batch["input_ids"].ravel()[batch["masked_positions"]]
    drawn = shown[(shown != TOKENS.mask_id) & (shown != labels)]
    assert len(drawn) > 100 and np.isin(drawn, TOKENS.replacements).all()
    assert not TOKENS.continuation[batch["input_ids"]].any()  # the model sees plain characters


@BOTH
@pytest.mark.parametrize("replace_per", ["token", "unit"])
def test_eighty_ten_ten(implementation, replace_per):
    sampler = toy_sampler(random_documents(7), implementation, max_ngrams=1, replace_per=replace_per)
    batch = sampler.batch(np.arange(2000))
    places, labels = batch["masked_positions"], batch["masked_lm_labels"]
    shown = batch["input_ids"].ravel()[places]
    what = np.where(shown == TOKENS.mask_id, 0, np.where(shown == labels, 1, 2))
    kept_by_chance = 1 / len(TOKENS.replacements)  # a random token may be the same
    expected = np.array([0.8, 0.1 + 0.1 * kept_by_chance, 0.1 - 0.1 * kept_by_chance]) * len(what)
    tokens_per_decision = 2.5 if replace_per == "unit" else 1
    assert abs(standard_score(np.bincount(what, minlength=3), expected)) < 5 * tokens_per_decision
    drawn = shown[what == 2]
    uniform = np.full(len(TOKENS.replacements), len(drawn) / len(TOKENS.replacements))
    assert abs(standard_score([np.sum(drawn == token) for token in TOKENS.replacements], uniform)) < 5
    neighbours = np.flatnonzero(np.diff(places) == 1)
    agree = np.mean((what[neighbours] == 0) == (what[neighbours + 1] == 0))
    if replace_per == "token":
        assert abs(agree - (0.8**2 + 0.2**2)) < 0.03  # independent
    else:
        assert agree > 0.85  # most neighbours are of one word


@BOTH
def test_labels_are_the_plain_text_and_kinds_the_entity_types(implementation):
    sampler = toy_sampler(random_documents(8), implementation, masking="entity", pairs="none")
    batch = sampler.batch(np.arange(300))
    rows, width = batch["input_ids"].shape
    text = {
        tuple(TOKENS.model_ids[sampler.corpus.ids[r["start"] : r["start"] + r["length"]]]): r
        for r in sampler.table
    }
    original = batch["input_ids"].copy().ravel()
    original[batch["masked_positions"]] = batch["masked_lm_labels"]
    for number, row in enumerate(original.reshape(rows, width)):
        ids = row[1 : list(row).index(TOKENS.sep_id)]
        sample = text[tuple(ids)]  # undoing the masking gives a sample of the corpus
        here = batch["masked_positions"] // width == number
        places = batch["masked_positions"][here] % width - 1 + sample["start"]
        assert batch["masked_span_kinds"][here].tolist() == (sampler.corpus.spans[places] >> 4).tolist()


@BOTH
def test_masks_of_neighbouring_samples_are_independent(implementation):
    sampler = toy_sampler([[random_sentence(np.random.default_rng(2), 60)]], implementation, masking="char",
                          max_ngrams=1, pairs="none")  # fmt: skip
    assert len(sampler.table) == 1  # so the sample numbers are epochs of one row
    batch = sampler.batch(np.arange(4000))
    masks = np.zeros(batch["input_ids"].shape)
    masks.ravel()[batch["masked_positions"]] = 1
    masks = masks[:, 1:61]
    assert abs(standard_score(masks.sum(axis=0), np.full(60, 600))) < 5
    for lag in (1, 2, 7):
        both = (masks[:-lag] * masks[lag:]).sum(axis=1).mean()  # hypergeometric: 9 of 60 twice
        assert abs(both - 9 * 9 / 60) < 5 * 1.0 / np.sqrt(4000)


@BOTH
def test_knowledge_masking_mixes_levels_by_share(implementation):
    # Two-token entities of one-token words: each level leaves its own traces.
    bits = [0x17, 0x11] * 5 + [1, 1] * 5
    sampler = toy_sampler([[([FIRST] * 20, bits)]], implementation, masking="knowledge", pairs="none",
                          masked_lm_prob=0.1, max_ngrams=1, schedule={"char": 1, "entity": 3})  # fmt: skip
    batch = sampler.batch(np.arange(4000))
    rows, places = np.divmod(batch["masked_positions"], batch["input_ids"].shape[1])
    pairs = np.stack([places[0::2], places[1::2]])
    assert (rows[0::2] == rows[1::2]).all()
    entities = np.mean((pairs[0] % 2 == 1) & (pairs[1] == pairs[0] + 1) & (pairs[0] <= 9))
    by_chance = 5 / (20 * 19 / 2)
    assert abs(entities - (0.75 + 0.25 * by_chance)) < 5 * np.sqrt(0.19 / 4000)


@BOTH
def test_stages_begin_at_their_sample(implementation):
    bits = [0x17, 0x11] * 5 + [BOUNDARY] * 10
    stages = [(0, "char"), (500, "entity")]
    sampler = toy_sampler([[([FIRST] * 20, bits)]], implementation, masking="knowledge", pairs="none",
                          masked_lm_prob=0.1, max_ngrams=1, schedule=stages)  # fmt: skip
    before, after = sampler.batch(np.arange(500)), sampler.batch(np.arange(500, 1000))
    assert (after["masked_span_kinds"] == 1).all() and (before["masked_span_kinds"] == 1).mean() < 0.6


@given(st.lists(st.integers(0, 127), min_size=1, max_size=60), st.integers(0, 2**64 - 1), st.integers(0, 3),
       st.floats(0.01, 1), st.integers(1, 6), st.booleans())  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_row(bits, key, level, probability, max_ngrams, per_unit):
    bits[0] |= BOUNDARY
    spans, _ = row_of(bits)
    rng = np.random.default_rng(key)
    ids = np.array([TOKENS.cls_id, *rng.integers(4, 600, len(bits)), TOKENS.sep_id])
    rules = rules_of(
        masked_lm_prob=probability, max_ngrams=max_ngrams, replace_per="unit" if per_unit else "token"
    )
    row = mask_row(ids, spans, len(bits), TOKENS, level, rules, key)
    budget = max(1, round(probability * len(bits)))
    units = find_units(spans, TOKENS.special[ids], level)
    longest = int((units.ends - units.starts).max(initial=0))
    assert len(row.positions) <= max(budget, longest) and (len(row.positions) > 0) == (longest > 0)
    assert (np.diff(row.positions) > 0).all() and (row.labels == TOKENS.model_ids[ids[row.positions]]).all()
    untouched = np.setdiff1d(np.arange(len(ids)), row.positions)
    assert (row.input_ids[untouched] == TOKENS.model_ids[ids[untouched]]).all()
    for start, end in zip(units.starts, units.ends, strict=True):  # whole units or none of it
        inside = np.isin(np.arange(start, end), row.positions)
        assert inside.all() or not inside.any()
