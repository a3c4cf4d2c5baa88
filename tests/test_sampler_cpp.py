"""The C++ sampler gives the arrays of the Python one for any data; hostile input is refused, not run."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from dataset_helpers import CPP, random_documents, toy_corpus, toy_sampler, toy_vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_from_scratch import native
from ernie_from_scratch.dataset.blending import Blend, epoch_shares
from ernie_from_scratch.dataset.mask_schedule import mask_stages
from ernie_from_scratch.dataset.masking import MaskingRules
from ernie_from_scratch.dataset.sampler import PythonSampler
from ernie_from_scratch.dataset.samples import SAMPLE, SampleRules, build_samples
from ernie_from_scratch.dataset.settings import LEVELS, SENTENCE_PAIRS
from ernie_from_scratch.dataset.tokens import TokenTable

pytestmark = CPP
TOKENS = TokenTable.of(toy_vocabulary())


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        if array is None:
            assert theirs[name] is None
        else:
            assert array.dtype == theirs[name].dtype and array.shape == theirs[name].shape, name
            assert np.array_equal(array, theirs[name]), name


def any_documents(seed):
    """Documents of any shape: any ids of the vocabulary, any span bits, empty sentences and documents."""
    rng = np.random.default_rng(seed)

    def sentence():
        size = int(rng.integers(0, 30))
        return rng.integers(0, 607, size).tolist(), rng.choice(
            [0, 1, 3, 0x10, 0x17, 0x27, 0xFF], size
        ).tolist()

    return [[sentence() for _ in range(rng.integers(0, 6))] for _ in range(rng.integers(1, 6))]


SEEDS = st.integers(0, 2**32)


def both(documents, **settings):
    return [toy_sampler(documents, implementation, **settings) for implementation in ("plain", "cpp")]


@given(
    seed=SEEDS,
    pairs=st.sampled_from(SENTENCE_PAIRS),
    masking=st.sampled_from([*LEVELS, "knowledge"]),
    spans=st.booleans(),
    max_seq_len=st.integers(5, 70),
    numbers=st.lists(st.integers(0, 2**62), min_size=1, max_size=8),
    masked_lm_prob=st.floats(0.01, 1.0),
    max_ngrams=st.integers(1, 5),
    favor_longer_ngram=st.booleans(),
    replace_per=st.sampled_from(["token", "unit"]),
    short_seq_prob=st.floats(0, 1),
    max_sentences=st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_batches_are_identical(seed, pairs, numbers, **settings):
    documents = any_documents(seed)
    corpus = toy_corpus(documents)
    several = np.count_nonzero(np.diff(corpus.sentences[corpus.documents]) > 1) > 1
    plain, fast = both(documents, pairs=pairs if several else "none", **settings)
    if len(plain.table):
        numbers = np.array(numbers, dtype=np.int64)
        assert_equal(plain.batch(numbers), fast.batch(numbers))


@given(
    seed=SEEDS,
    max_tokens=st.integers(2, 40),
    pairs=st.sampled_from(SENTENCE_PAIRS),
    short_seq_prob=st.floats(0, 1),
    max_sentences=st.integers(0, 4),
    key=st.integers(0, 2**64 - 1),
    spans=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_sample_tables_are_identical(seed, max_tokens, pairs, short_seq_prob, max_sentences, key, spans):
    documents = any_documents(seed)
    corpus = toy_corpus(documents, spans)
    rules = SampleRules(max_tokens, pairs, short_seq_prob, max_sentences)
    arguments = (corpus, 0, len(documents), rules, key)
    ours, theirs = build_samples(*arguments), native.helpers().build_samples(*arguments)
    assert ours.dtype == theirs.dtype == SAMPLE and ours.tolist() == theirs.tolist()


def test_several_corpora_and_epochs():
    corpora = [
        toy_corpus(random_documents(seed, count=10 * (seed + 1)), spans=seed != 1) for seed in range(3)
    ]
    rules, masking_rules = SampleRules(61), MaskingRules(mask_stages("word"))
    tables = [build_samples(corpus, 0, len(corpus.documents) - 1, rules, 3) for corpus in corpora]
    sizes = np.array([len(table) for table in tables])
    blend = Blend(sizes, epoch_shares(sizes, [1.0, 5.0, 0.5]), 2**64 - 3)
    arguments = (corpora, tables, TOKENS, rules, masking_rules, blend, 64)
    numbers = np.arange(3 * len(blend))
    assert_equal(
        PythonSampler(*arguments).batch(numbers), native.helpers().Sampler(*arguments).batch(numbers)
    )


def test_wide_ids():
    documents, numbers = random_documents(1), np.arange(20)
    expected = toy_sampler(documents).batch(numbers)
    for sampler in both(documents, ids_dtype=np.int32):
        assert sampler.corpus.ids.dtype == np.int32
        assert_equal(expected, sampler.batch(numbers))


def test_threads_do_not_disturb_each_other():
    fast = toy_sampler(random_documents(2), "cpp", masking="entity")
    expected = [fast.batch(np.arange(50) + 50 * n) for n in range(16)]
    results = {}

    def work(n):
        for _ in range(10):
            results[n] = fast.batch(np.arange(50) + 50 * n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, batch in enumerate(expected):
        assert_equal(batch, results[n])


def test_an_id_beyond_the_vocabulary_is_the_same_error():
    documents = random_documents(3, count=1)
    for implementation in ("plain", "cpp"):
        sampler = toy_sampler(documents, implementation)
        sampler.corpus.ids[:] = 9999
        with pytest.raises(ValueError, match="toy_ids.npy is 9999, but the vocabulary has 607 tokens"):
            sampler.batch(np.arange(len(sampler.table)))


NUMBER = st.one_of(st.integers(-3, 12), st.sampled_from([-(2**63), 2**31, 2**53, 2**63 - 1]))
DTYPES = [np.uint8, np.uint16, np.int32, np.int64, np.float64, np.bool_, object]


@st.composite
def arrays(draw, dtype=None):
    """An array that is mostly of the wanted type and mostly small."""
    values = draw(st.lists(NUMBER, max_size=12))
    chosen = dtype if dtype is not None and draw(st.integers(0, 9)) else draw(st.sampled_from(DTYPES))
    array = np.array(values, dtype=object if chosen is object else np.int64)
    array = array if chosen is object else array.astype(chosen)
    shape = draw(st.sampled_from(["row", "row", "row", "strided", "column", "scalar"]))
    return {
        "row": array,
        "strided": np.repeat(array, 2)[::2],
        "column": array[:, None],
        "scalar": np.array(3),
    }[shape]


@st.composite
def rising(draw, last):
    """What an index array should be, sometimes with one value changed."""
    edges = sorted(draw(st.lists(st.integers(0, last), max_size=6)))
    array = np.array([0, *edges, last], dtype=np.int64)
    if draw(st.integers(0, 3)) == 0:
        array[draw(st.integers(0, len(array) - 1))] = draw(NUMBER)
    return array


@st.composite
def hostile_worlds(draw):
    tokens = draw(st.integers(1, 20))
    sentences = draw(st.one_of(rising(tokens), arrays(np.int64)))
    corpus = SimpleNamespace(
        prefix="hostile",
        ids=draw(st.one_of(st.just(np.full(tokens, 7, np.uint16)), arrays(np.uint16))),
        stored_spans=draw(st.one_of(st.none(), st.just(np.full(tokens, 0x17, np.uint8)), arrays(np.uint8))),
        continuation=draw(st.one_of(st.none(), st.just(TOKENS.continuation), arrays(np.bool_))),
        sentences=sentences,
        documents=draw(st.one_of(rising(max(sentences.size - 1, 0)), arrays(np.int64))),
    )
    table = np.array([tuple(draw(st.tuples(NUMBER, NUMBER, st.integers(-2, 5), st.integers(-2, 30))))
                      for _ in range(draw(st.integers(0, 3)))], dtype=SAMPLE)  # fmt: skip
    if draw(st.booleans()):
        table = np.array([(0, 0, 0, tokens)], dtype=SAMPLE)
    kinds = {"special": np.bool_, "model_ids": np.int64, "replacements": np.int64}
    lookups = {
        name: draw(st.one_of(st.just(getattr(TOKENS, name)), arrays(kind))) for name, kind in kinds.items()
    }
    specials = {
        name: draw(st.one_of(st.just(3), NUMBER)) for name in ("pad_id", "cls_id", "sep_id", "mask_id")
    }
    sample_rules = SampleRules(
        draw(NUMBER), draw(st.sampled_from([*SENTENCE_PAIRS, "?"])), draw(st.floats()), draw(NUMBER)
    )
    stages = ((draw(st.one_of(st.just(0), NUMBER)), draw(st.lists(st.floats(), min_size=3, max_size=5))),)
    masking_rules = SimpleNamespace(
        stages=draw(st.sampled_from([stages, mask_stages("word"), mask_stages("knowledge")])),
        ngram_shares=draw(st.lists(st.floats(), max_size=4).map(lambda shares: lambda: shares)),
        masked_lm_prob=draw(st.floats()),
        replace_per="token",
    )
    shares = draw(st.one_of(st.just(np.array([1])), arrays(np.int64)))
    blend = SimpleNamespace(shares=shares, sizes=shares, key=draw(st.one_of(st.just(5), NUMBER)))
    return corpus, table, SimpleNamespace(**lookups, **specials), sample_rules, masking_rules, blend


@given(world=hostile_worlds(), max_seq_len=NUMBER, numbers=st.one_of(st.just(np.arange(3)), arrays(np.int64)))
@settings(max_examples=500, deadline=None)
def test_hostile_input_is_refused_or_survived(world, max_seq_len, numbers):
    corpus, table, tokens, sample_rules, masking_rules, blend = world
    refusals = (ValueError, TypeError, RuntimeError, OverflowError)
    try:
        native.helpers().build_samples(corpus, 0, 1, sample_rules, blend.key)
    except refusals:
        pass
    try:
        fast = native.helpers().Sampler(
            [corpus], [table], tokens, sample_rules, masking_rules, blend, max_seq_len
        )
        batch = fast.batch(numbers)
    except refusals:
        return
    assert batch["input_ids"].shape[0] == len(numbers)
    assert np.isin(batch["input_ids"], np.arange(len(tokens.model_ids))).all()
