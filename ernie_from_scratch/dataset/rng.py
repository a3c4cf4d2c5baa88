"""Counter-based randomness: every draw is a hash of what it is for, so nothing has to be stored to go on.

A sample's draws depend on (seed, split, epoch, position, purpose, index) alone. Any worker, rank or resumed
run computes the same ones, in any order, and helpers_cpp/sampler_random.h computes them bit for bit in C++.

The mixing function is splitmix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014); a key's draws are the splitmix64 sequence that starts at the key. Keys are
themselves mixed, because neighbouring seeds (seed + index) would give overlapping sequences.
"""

from enum import IntEnum
from math import isqrt

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd: consecutive counters land far apart
MASK64 = (1 << 64) - 1
SHUFFLE_ROUNDS = 8


class Purpose(IntEnum):
    """What a draw for a row is for; each has its own sequence, so adding one never moves the others."""

    LEVEL = 0  # knowledge masking: which level a row is masked at
    CUT = 1  # where segment A ends
    SWAP = 2  # sentence order, or whether B comes from elsewhere
    OTHER = 3  # which passage B is taken from
    ENTITY_ORDER = 4
    UNIT_ORDER = 5
    NGRAM = 6
    REPLACE = 7  # [MASK], keep or random
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


def below(bits: np.ndarray, limit) -> np.ndarray:
    """Draws as integers in [0, limit), limit < 2^32 (a number or one per draw); bias at most limit / 2^32."""
    return (((bits >> np.uint64(32)) * np.asarray(limit).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def uniform_at(key: int, index: int) -> float:
    """`uniform` of one draw."""
    return (fold(key, index) >> 11) * 2.0**-53


def below_at(key: int, index: int, limit: int) -> int:
    """`below` of one draw."""
    return ((fold(key, index) >> 32) * limit) >> 32


def shuffled(key: int, size: int, positions: np.ndarray) -> np.ndarray:
    """Where a random permutation of range(size) sends `positions`, without storing the permutation.

    A Feistel network on (left, right) = divmod(position, columns), rows x columns being just above size; a
    result beyond size goes through again (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    value = np.array(positions, dtype=np.int64)
    if size < 2:
        return value
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    round_keys = [fold(key, number) for number in range(SHUFFLE_ROUNDS)]
    todo = np.arange(value.size)
    while todo.size:
        left, right = np.divmod(value[todo], columns)
        for number, round_key in enumerate(round_keys):
            if number % 2:
                right = (right + below(draws(round_key, left), columns)) % columns
            else:
                left = (left + below(draws(round_key, right), rows)) % rows
        value[todo] = left * columns + right
        todo = todo[value[todo] >= size]
    return value
