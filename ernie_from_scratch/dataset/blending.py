"""Sample numbers to samples: epochs, shuffling, and several corpora blended by weight, all without state.

Sample number n of a split is position n % len(split) of epoch n // len(split). An epoch has as many samples
as all corpora together, and each corpus contributes a share by its weight. A corpus with fewer samples than
its share is repeated within the epoch, shuffled anew; one with more continues in the next epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.rng import fold, shuffled

# Random keys under a split's key: masking of rows, order of the blend, and order of corpus c at CORPUS + c.
ROWS, ORDER, CORPUS = range(3)


@dataclass(frozen=True)
class Blend:
    """How many samples each corpus has and contributes to an epoch. C corpora."""

    sizes: np.ndarray  # [C] int64, samples in the corpus
    shares: np.ndarray  # [C] int64, samples per epoch, 0 for an empty corpus; their sum is the epoch's length
    key: int  # random key of the split

    def __len__(self) -> int:
        return int(self.shares.sum())

    def locate(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corpus and row of its sample table for each sample number ([B] int64 each)."""
        rows = np.empty(len(numbers), dtype=np.int64)
        slots = shuffle_epochs(fold(self.key, ORDER), len(self), numbers)
        ends = np.cumsum(self.shares)
        corpora = np.searchsorted(ends, slots, side="right")
        for corpus in np.unique(corpora):
            chosen = corpora == corpus
            share = int(self.shares[corpus])
            number_in_corpus = numbers[chosen] // len(self) * share + slots[chosen] - (ends[corpus] - share)
            key = fold(self.key, CORPUS + int(corpus))
            rows[chosen] = shuffle_epochs(key, int(self.sizes[corpus]), number_in_corpus)
        return corpora, rows


def shuffle_epochs(key: int, size: int, numbers: np.ndarray) -> np.ndarray:
    """Position of each number n after epoch n // size has been shuffled: int64 below `size`."""
    epochs, positions = np.divmod(numbers, size)
    result = np.empty(len(numbers), dtype=np.int64)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        result[chosen] = shuffled(fold(key, int(epoch)), size, positions[chosen])
    return result


def epoch_shares(sizes: Sequence[int] | np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Samples per epoch of each corpus: the sum of `sizes`, divided in proportion to `weights` ([C] int64).

    Rounded by largest remainder, at least 1. Empty corpora have share 0, and the others share their weight.
    """
    nonempty = np.asarray(sizes) > 0
    total = int(np.sum(sizes))
    if not total:
        return np.zeros(len(sizes), dtype=np.int64)
    effective = np.where(nonempty, np.array(weights, dtype=np.float64), 0.0)
    exact = total * effective / effective.sum()
    shares = np.floor(exact).astype(np.int64)
    for corpus in np.argsort(shares - exact, kind="stable")[: total - int(shares.sum())]:
        shares[corpus] += 1
    for corpus in np.flatnonzero((shares == 0) & nonempty):
        shares[np.argmax(shares)] -= 1
        shares[corpus] += 1
    return shares


def check_weights(prefixes: Sequence[tuple[float, object]]) -> None:
    """Raise UserError unless `prefixes` are pairs of (weight above 0, prefix)."""
    if not prefixes:
        raise UserError("no corpus given; give at least one (weight, prefix)")
    for weight, prefix in prefixes:
        if not np.isfinite(weight) or weight <= 0:
            raise UserError(
                f"corpus {prefix} has weight {weight}; give a number above 0, or leave the corpus out"
            )


def split_documents(documents: int, split: str) -> list[tuple[int, int]]:
    """Ranges [first, last) of documents for train, valid and test, in corpus order.

    Args:
        split: up to three shares, such as "949,50,1"; missing ones are 0.

    Raises:
        UserError: `split` is something else.
    """
    try:
        shares = [float(share) for share in str(split).replace("/", ",").split(",")]
    except ValueError:
        shares = []
    if not 1 <= len(shares) <= 3 or not all(np.isfinite(s) and s >= 0 for s in shares) or sum(shares) <= 0:
        raise UserError(f"split {split!r} is not up to three shares of documents; write it like 949,50,1")
    ends = np.cumsum(shares + [0.0] * (3 - len(shares))) / sum(shares) * documents
    edges = [0, *(int(round(end)) for end in ends)]
    return list(zip(edges, edges[1:], strict=False))
