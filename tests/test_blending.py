"""Epochs, shuffling, several corpora by weight, and the split of documents."""

import numpy as np
import pytest
from dataset_helpers import standard_score
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.blending import Blend, check_weights, epoch_shares, split_documents


def blend_of(sizes, weights=None, key=5):
    sizes = np.array(sizes, dtype=np.int64)
    return Blend(sizes, epoch_shares(sizes, weights or [1.0] * len(sizes)), key)


def test_each_epoch_of_one_corpus_is_another_permutation():
    blend = blend_of([101])
    orders = [blend.locate(np.arange(101) + 101 * epoch)[1] for epoch in range(20)]
    assert all(sorted(order) == list(range(101)) for order in orders)
    assert len({tuple(order) for order in orders}) == 20
    places = np.stack(orders).astype(float)
    assert abs(np.corrcoef(places[:-1].ravel(), places[1:].ravel())[0, 1]) < 5 / np.sqrt(1900)


def test_weights_are_shares_of_samples_and_every_sample_has_its_turn():
    blend = blend_of([1000, 100, 400], [1.0, 1.0, 2.0])
    assert blend.shares.tolist() == [375, 375, 750] and len(blend) == 1500
    corpora, rows = blend.locate(np.arange(8 * 1500))
    for epoch in range(8):
        here = corpora[1500 * epoch : 1500 * (epoch + 1)]
        assert np.bincount(here).tolist() == [375, 375, 750]
    seen = [np.bincount(rows[corpora == c], minlength=size) for c, size in enumerate([1000, 100, 400])]
    assert seen[0].tolist() == [3] * 1000  # 8 x 375 / 1000
    assert seen[1].tolist() == [30] * 100
    assert seen[2].tolist() == [15] * 400
    halves = np.bincount(corpora[: 750 * 1], minlength=3)  # mixed within the epoch
    assert abs(standard_score(halves, np.array([0.25, 0.25, 0.5]) * 750)) < 5


def test_batches_do_not_depend_on_what_is_requested_together():
    blend = blend_of([30, 50], [1.0, 3.0])
    corpora, rows = blend.locate(np.arange(500))
    numbers = np.array([499, 3, 250, 3])
    assert [x.tolist() for x in blend.locate(numbers)] == [corpora[numbers].tolist(), rows[numbers].tolist()]


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 100)), min_size=1, max_size=5))
@settings(deadline=None)
def test_shares_fill_the_epoch(corpora):
    sizes, weights = zip(*corpora, strict=True)
    shares = epoch_shares(list(sizes), list(weights))
    assert shares.sum() == sum(sizes) and (shares[np.array(sizes) == 0] == 0).all()
    if sum(sizes) >= sum(size > 0 for size in sizes):
        assert (shares[np.array(sizes) > 0] > 0).all()


@pytest.mark.parametrize(
    "split, documents, ends",
    [
        ("949,50,1", 1000, [949, 999, 1000]),
        ("949,50,1", 1, [1, 1, 1]),
        ("949,50,1", 10, [9, 10, 10]),
        ("1", 7, [7, 7, 7]),
        ("90/10", 20, [18, 20, 20]),
        ("0,1,1", 3, [0, 2, 3]),
        ("1,1,1", 0, [0, 0, 0]),
    ],
)
def test_split_by_documents(split, documents, ends):
    ranges = split_documents(documents, split)
    assert ranges == list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize("split", ["", "a,b", "-1,2", "0,0,0", "1,2,3,4", "nan", "inf,1"])
def test_bad_splits_are_refused(split):
    with pytest.raises(UserError, match="949,50,1"):
        split_documents(10, split)


@pytest.mark.parametrize(
    "prefixes", [[], [(-1.0, "a")], [(0.0, "a")], [(float("nan"), "a")], [(1.0, "b"), (-2, "a")]]
)
def test_bad_weights_are_refused(prefixes):
    with pytest.raises(UserError):
        check_weights(prefixes)
