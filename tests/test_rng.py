"""Counter-based randomness: known values, uniformity, independence of neighbours, the stateless shuffle."""

import math
from itertools import permutations

import numpy as np
import pytest
from dataset_helpers import standard_score

from ernie_from_scratch.dataset.rng import (
    GOLDEN,
    below,
    below_at,
    draws,
    fold,
    mix64,
    shuffled,
    uniform,
    uniform_at,
)


def test_draws_are_the_published_splitmix64_sequence():
    # state 1234567, as listed with the reference C code and on Rosetta Code
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert draws(1234567, np.arange(4)).tolist() == expected
    assert [fold(1234567, number) for number in range(4)] == expected


def test_scalar_and_array_forms_agree():
    rng = np.random.default_rng(0)
    for key in rng.integers(0, 2**63, 20).tolist() + [0, 2**64 - 1]:
        index = rng.integers(0, 2**62, 5)
        assert draws(key, index).tolist() == [fold(key, int(number)) for number in index]
        assert uniform(draws(key, index)).tolist() == [uniform_at(key, int(number)) for number in index]
        assert below(draws(key, index), 77).tolist() == [below_at(key, int(number), 77) for number in index]


def test_mix64_is_a_bijection_on_a_sample():
    values = [mix64(number * GOLDEN & (2**64 - 1)) for number in range(20000)]
    assert len(set(values)) == 20000


@pytest.mark.parametrize("limit", [2, 7, 1000])
def test_below_is_uniform(limit):
    counts = np.bincount(below(draws(5, np.arange(100 * limit)), limit), minlength=limit)
    assert abs(standard_score(counts, np.full(limit, 100))) < 5


@pytest.mark.parametrize("neighbours", ["indices", "keys", "seeds"])
def test_neighbours_are_uncorrelated(neighbours):
    count = 40000
    if neighbours == "indices":
        values = uniform(draws(3, np.arange(count)))
    elif neighbours == "keys":  # the same draw of consecutive samples
        values = np.array([uniform_at(fold(9, number), 0) for number in range(count)])
    else:  # the same draw under consecutive seeds
        values = np.array([uniform_at(fold(mix64(seed), 1), 4) for seed in range(count)])
    for lag in (1, 2, 3, 8, 64):
        correlation = np.corrcoef(values[:-lag], values[lag:])[0, 1]
        assert abs(correlation) < 5 / math.sqrt(count)
    pairs = np.histogram2d(values[0::2], values[1::2], bins=10, range=[[0, 1], [0, 1]])[0]
    assert abs(standard_score(pairs, np.full(100, count / 200))) < 5


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 64, 1000, 4097])
def test_shuffled_is_a_permutation(size):
    for key in range(3):
        assert sorted(shuffled(key, size, np.arange(size)).tolist()) == list(range(size))


def test_shuffled_does_not_depend_on_what_is_requested_together():
    whole = shuffled(7, 1001, np.arange(1001))
    assert shuffled(7, 1001, np.array([1000, 3, 3])).tolist() == [whole[1000], whole[3], whole[3]]


def test_shuffled_gives_all_orders_equally_often():
    numbers = {order: number for number, order in enumerate(permutations(range(4)))}
    counts = np.zeros(24)
    for key in range(4800):
        counts[numbers[tuple(shuffled(fold(1, key), 4, np.arange(4)).tolist())]] += 1
    assert abs(standard_score(counts, np.full(24, 200))) < 5


def test_shuffled_spreads_each_element_over_all_places():
    size, keys = 37, 2000
    places = np.stack([shuffled(fold(2, key), size, np.arange(size)) for key in range(keys)])
    for element in (0, 18, 36):
        assert (
            abs(standard_score(np.bincount(places[:, element], minlength=size), np.full(size, keys / size)))
            < 5
        )
    following = np.mean(np.diff(places, axis=1) == 1)  # neighbours that stay neighbours: 1 in size
    assert abs(following - 1 / size) < 0.003


def test_shuffled_of_a_huge_range_is_quick_and_in_range():
    size = 10**12 + 39
    places = shuffled(1, size, np.arange(1000))
    assert places.min() >= 0 and places.max() < size and len(set(places.tolist())) == 1000
    assert abs(places.mean() / size - 0.5) < 0.05
