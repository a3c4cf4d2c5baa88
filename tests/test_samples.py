"""Packing sentences into samples and splitting them into segments."""

import itertools

import numpy as np
import pytest
from dataset_helpers import (
    BOTH,
    FIRST,
    random_documents,
    random_sentence,
    standard_score,
    toy_corpus,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_from_scratch import native
from ernie_from_scratch.dataset import samples
from ernie_from_scratch.dataset.rng import fold
from ernie_from_scratch.dataset.samples import (
    IGNORE_INDEX,
    SampleRules,
    Segments,
    choose_segments,
    count_samples,
)
from ernie_from_scratch.dataset.settings import SENTENCE_PAIRS
from ernie_from_scratch.text.corpus.spans import ENTITY_START, TYPE_SHIFT, WORD_START


def build(corpus, rules, implementation="plain", key=3):
    make = samples.build_samples if implementation == "plain" else native.helpers().build_samples
    return make(corpus, 0, len(corpus.documents) - 1, rules, key)


def document_of(lengths):
    rng = np.random.default_rng(0)
    return [random_sentence(rng, length) for length in lengths]


@BOTH
@pytest.mark.parametrize("pairs", SENTENCE_PAIRS)
@pytest.mark.parametrize("max_tokens", [2, 13, 61, 509])
def test_every_token_is_in_one_sample_of_its_document(implementation, pairs, max_tokens):
    corpus = toy_corpus(random_documents(4, lengths=(2, 90)))
    table = build(corpus, SampleRules(max_tokens, pairs), implementation)
    ends = table["start"] + table["length"]
    assert table["length"].min() >= 1 and table["length"].max() <= max_tokens
    covered = np.zeros(len(corpus.ids), dtype=int)
    for start, end in zip(table["start"], ends, strict=True):
        covered[start:end] += 1
    assert covered.max() == 1
    counts = count_samples(corpus, table, 0, len(corpus.documents) - 1, SampleRules(max_tokens, pairs))
    assert counts["dropped_tokens"] == (covered == 0).sum()
    assert counts["dropped_tokens"] == 0 or (
        pairs != "none" and max_tokens == 2
    )  # rows of one token are no pair
    sentence = np.searchsorted(corpus.sentences, table["start"], side="right") - 1
    assert (sentence == table["sentence"]).all()
    assert (np.searchsorted(corpus.documents, sentence, side="right") - 1 == table["document"]).all()
    assert (ends <= corpus.sentences[corpus.documents[table["document"] + 1]]).all()


@pytest.mark.parametrize(
    "field, value",
    [("start", -1), ("start", 10**9), ("length", 0), ("length", 62), ("sentence", -1), ("sentence", 10**9),
     ("sentence", 7), ("document", 99)],
)  # fmt: skip
def test_a_damaged_table_is_invalid(field, value):
    corpus, rules = toy_corpus(random_documents(4)), SampleRules(61)
    table = build(corpus, rules)
    assert samples.is_valid_table(corpus, table, rules) and samples.is_valid_table(corpus, table[:0], rules)
    table[field][3] = value
    assert not samples.is_valid_table(corpus, table, rules)


@BOTH
def test_samples_are_complete_sentences_where_they_fit(implementation):
    corpus = toy_corpus(random_documents(5, lengths=(2, 60)))
    table = build(corpus, SampleRules(61, short_seq_prob=0.0), implementation)
    edges = set(corpus.sentences.tolist())
    assert all(
        start in edges and start + length in edges
        for start, length in zip(table["start"], table["length"], strict=True)
    )


@BOTH
def test_packing_is_greedy_and_extends_the_last_sample(implementation):
    corpus = toy_corpus([document_of([10, 10, 10, 10, 30, 9, 9, 9, 9])])
    rules = SampleRules(40, short_seq_prob=0.0)
    assert build(corpus, rules, implementation)["length"].tolist() == [40, 39, 27]
    corpus = toy_corpus([document_of([10, 10, 10, 10, 7])])  # 40, 7 would leave a sample of one sentence
    assert build(corpus, rules, implementation)["length"].tolist() == [30, 17]
    none = SampleRules(40, "none", short_seq_prob=0.0)
    assert build(corpus, none, implementation)["length"].tolist() == [40, 7]


@BOTH
def test_long_sentences_are_split_at_words_outside_entities(implementation):
    corpus = toy_corpus([document_of([400]), document_of([20, 333])])
    table = build(corpus, SampleRules(50, short_seq_prob=0.0), implementation)
    assert table["length"].sum() == 753 and table["length"].max() <= 50 and table["length"].min() >= 20
    bits = corpus.spans[table["start"]]
    assert (bits & WORD_START != 0).all()
    assert ((bits >> TYPE_SHIFT == 0) | (bits & ENTITY_START != 0)).all()


@BOTH
def test_a_sentence_without_any_word_boundary_is_split_anyway(implementation):
    ids = [FIRST] + [FIRST + 300 + 1] * 199
    corpus = toy_corpus([[(ids, [WORD_START] + [0] * 199)]], spans=implementation == "plain")
    table = build(corpus, SampleRules(50, short_seq_prob=0.0), implementation)
    assert table["length"].tolist() == [50, 50, 50, 50]
    assert choose_segments(corpus, table, 1, "sop", 5) == Segments(50, 50, label=IGNORE_INDEX)


@BOTH
def test_one_sentence_documents_are_kept_and_single_tokens_are_counted(implementation):
    documents = [document_of([9]), document_of([1]), [], document_of([2]), document_of([1, 1])]
    corpus = toy_corpus(documents)
    rules = SampleRules(50, short_seq_prob=0.0)
    table = build(corpus, rules, implementation)
    assert table["length"].tolist() == [9, 1, 2, 2] and table["document"].tolist() == [0, 1, 3, 4]
    assert count_samples(corpus, table, 0, 5, rules) == {
        "documents": 4,
        "one_sentence_documents": 3,
        "sentences": 5,
        "long_sentences": 0,
        "tokens": 14,
        "samples": 4,
        "one_sentence_samples": 3,
        "sample_tokens": 14,
        "dropped_tokens": 0,
    }
    assert build(corpus, SampleRules(50, "none"), implementation)["length"].sum() == 14


@BOTH
def test_short_samples_have_their_share(implementation):
    corpus = toy_corpus([document_of([1] * 40000)])
    table = build(corpus, SampleRules(40, short_seq_prob=0.3), implementation)
    full = (table["length"] == 40).mean()
    # 0.7 + 0.3 / 39 of the targets are 40; the last sample of the document is what is left
    assert abs(full - (0.7 + 0.3 / 39)) < 5 * np.sqrt(0.25 / len(table))
    shorter = np.bincount(table["length"][:-2], minlength=41)[2:40]
    assert abs(standard_score(shorter, np.full(38, shorter.sum() / 38))) < 5


@BOTH
def test_max_sentences(implementation):
    corpus = toy_corpus(random_documents(6))
    table = build(corpus, SampleRules(500, "none", 0.0, max_sentences=1), implementation)
    assert table["length"].tolist() == np.diff(corpus.sentences).tolist()
    table = build(corpus, SampleRules(500, "none", 0.0, max_sentences=3), implementation)
    ends = np.searchsorted(corpus.sentences, table["start"] + table["length"])
    assert set((ends - table["sentence"]).tolist()) == {1, 2, 3}


@given(
    lengths=st.lists(st.lists(st.integers(0, 40), max_size=8), min_size=1, max_size=5),
    max_tokens=st.integers(2, 30),
    pairs=st.sampled_from(SENTENCE_PAIRS),
    max_sentences=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_of_document(lengths, max_tokens, pairs, max_sentences):
    corpus = toy_corpus([document_of(document) for document in lengths])
    rules = SampleRules(max_tokens, pairs, 0.2, max_sentences)
    table = build(corpus, rules)
    counts = count_samples(corpus, table, 0, len(lengths), rules)
    assert counts["tokens"] == sum(map(sum, lengths)) and counts["samples"] == len(table)
    assert counts["dropped_tokens"] == 0 or pairs == "nsp"
    for row in range(len(table)):
        segments = choose_segments(corpus, table, row, "sop" if pairs == "nsp" else pairs, row)
        assert segments.a_length + segments.b_length == table["length"][row] <= max_tokens
        has_pair = pairs != "none" and segments.label != IGNORE_INDEX
        assert segments.a_length and (segments.b_length > 0) == has_pair


def segments_of(corpus, pairs, count=6000, row=0, **rules):
    table = build(corpus, SampleRules(500, pairs, 0.0))
    return table, [choose_segments(corpus, table, row, pairs, fold(8, key)) for key in range(count)]


def test_sop_splits_at_each_sentence_equally_and_swaps_half():
    corpus = toy_corpus([document_of([7, 8, 9, 10])])
    _, segments = segments_of(corpus, "sop")
    outcomes = {outcome: 0 for outcome in itertools.product((7, 15, 24), (0, 1))}
    for s in segments:
        first, second = sorted([(s.a_start, s.a_length), (s.b_start, s.b_length)])
        assert first[0] == 0 and second == (first[1], 34 - first[1])
        assert s.label == (s.a_start > s.b_start)
        outcomes[first[1], s.label] += 1
    assert abs(standard_score(list(outcomes.values()), np.full(6, 1000))) < 5


def test_one_sentence_is_split_at_words_outside_entities():
    corpus = toy_corpus([document_of([30]), document_of([30])])
    bits = corpus.spans[:30]
    allowed = set(
        np.flatnonzero((bits & WORD_START != 0) & ((bits >> TYPE_SHIFT == 0) | (bits & ENTITY_START != 0)))
    )
    _, segments = segments_of(corpus, "nsp", 2000)
    assert {s.a_length for s in segments} == allowed - {0}
    _, segments = segments_of(corpus, "sop", 20)
    assert set(segments) == {Segments(0, 30, label=IGNORE_INDEX)}


def test_nsp_takes_b_from_another_document_in_half_of_the_samples():
    corpus = toy_corpus(
        [document_of([20] * 4), document_of([30] * 30), document_of([9] * 50), document_of([3, 3])]
    )
    table, segments = segments_of(corpus, "nsp", row=1)
    edges = corpus.sentences[corpus.documents]
    document = int(table["document"][1])
    others = np.zeros(len(table))
    for s in segments:
        source = np.searchsorted(edges, s.b_start, side="right") - 1
        assert (source != document) == s.label
        assert s.a_start == table["start"][1] and s.a_length + s.b_length <= table["length"][1]
        if s.label:
            other = np.flatnonzero(table["start"] == s.b_start)[0]
            assert s.b_length == min(table["length"][other], table["length"][1] - s.a_length)
            others[other] += 1
    elsewhere = table["document"] != document
    assert abs(standard_score(others, np.where(elsewhere, others.sum() / elsewhere.sum(), 0))) < 5
    assert abs(np.mean([s.label for s in segments]) - 0.5) < 5 * 0.5 / np.sqrt(len(segments))
