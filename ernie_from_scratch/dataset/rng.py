"""Counter-based random numbers: every draw is a hash of its purpose, so a resumed run needs no stored state.

A sample's draws depend on (seed, split, epoch, position, purpose, index) only. Any worker, rank or resumed
run computes the same ones, in any order, and helpers_cpp/sampler_random.h computes equal bits in C++.

The mixing function is splitmix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014); a key's draws are the splitmix64 sequence that starts at the key. Keys are
mixed too, because neighbouring seeds (seed + index) would give overlapping sequences.
"""

from enum import IntEnum
from math import isqrt

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd: consecutive counters land far apart
MASK64 = (1 << 64) - 1
SHUFFLE_ROUNDS = 8


class Purpose(IntEnum):
    """Purpose of a draw for a row; each has its own sequence, so that a new one does not change the others."""

    LEVEL = 0  # knowledge masking: which level a row is masked at
    SPLIT_POINT = 1  # where segment A ends
    SWAP = 2  # SOP: whether A and B are swapped; NSP: whether B is replaced
    OTHER_DOCUMENT = 3  # NSP: which sample of another document B is taken from
    ENTITY_ORDER = 4
    UNIT_ORDER = 5
    NGRAM = 6
    REPLACE = 7  # [MASK], unchanged or random
    TOKEN = 8  # the random token


def mix64(value: int) -> int:
    """splitmix64's finaliser on one integer: a bijection of 64 bits."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK64
    return value ^ (value >> 31)


def fold(key: int, value: int) -> int:
    """The key of `value` under `key`; distinct values give distinct keys."""
    return mix64((key + GOLDEN * (value + 1)) & MASK64)


def draws(key: int, index: np.ndarray) -> np.ndarray:
    """64 random bits for each index (any shape, uint64)."""
    value = np.asarray(index).astype(np.uint64)
    value = np.uint64(key) + np.uint64(GOLDEN) * (value + np.uint64(1))
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def uniform(bits: np.ndarray) -> np.ndarray:
    """Draws as float64 in [0, 1), with 53 bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(bits: np.ndarray, limit: int | np.ndarray) -> np.ndarray:
    """Draws as integers in [0, limit), limit < 2^32 (one, or one per draw); bias at most limit / 2^32."""
    return (((bits >> np.uint64(32)) * np.asarray(limit).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def uniform_at(key: int, index: int) -> float:
    """`uniform` of one draw."""
    return (fold(key, index) >> 11) * 2.0**-53


def below_at(key: int, index: int, limit: int) -> int:
    """`below` of one draw."""
    return ((fold(key, index) >> 32) * limit) >> 32


def shuffled(key: int, size: int, positions: np.ndarray) -> np.ndarray:
    """The images of `positions` under a random permutation of range(size), which is not stored.

    A Feistel network on (left, right) = divmod(position, columns), with rows x columns just above size; it is
    applied again to results of size or more ("cycle walking": Black and Rogaway, "Ciphers with arbitrary
    finite domains", 2002).
    """
    value = np.array(positions, dtype=np.int64)
    if size < 2:
        return value
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    round_keys = [fold(key, number) for number in range(SHUFFLE_ROUNDS)]
    remaining = np.arange(value.size)
    while remaining.size:
        left, right = np.divmod(value[remaining], columns)
        for number, round_key in enumerate(round_keys):
            if number % 2:
                right = (right + below(draws(round_key, left), columns)) % columns
            else:
                left = (left + below(draws(round_key, right), rows)) % rows
        value[remaining] = left * columns + right
        remaining = remaining[value[remaining] >= size]
    return value
