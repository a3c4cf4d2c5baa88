"""Sample numbers to samples: epochs, shuffling, and several corpora mixed by weight, all without state.

Sample number n of a split is position n % len(split) of epoch n // len(split). An epoch is as long as all
corpora together; a corpus gives its share by weight. One with more than its size repeats within an epoch,
freshly shuffled; one with less goes on in the next epoch where it stopped.
"""

from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.rng import fold, shuffled

ROWS, ORDER, CORPUS = (
    0,
    1,
    2,
)  # keys under a split's key: masking of rows, order of the blend, of corpus CORPUS + c


@dataclass(frozen=True)
class Blend:
    """How many samples each corpus has and gives per epoch. C corpora.

    Corpora without samples have share 0.
    """

    sizes: np.ndarray  # [C] int64, samples in the corpus
    shares: np.ndarray  # [C] int64, samples given per epoch; sums to the epoch's length
    key: int

    def __len__(self) -> int:
        return int(self.shares.sum())

    def locate(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corpus and row of its sample table for each sample number ([B] int64 each)."""
        rows = np.empty(len(numbers), dtype=np.int64)
        slots = shuffle_epochs(fold(self.key, ORDER), len(self), numbers)
        ends = np.cumsum(self.shares)
        corpora = np.searchsorted(ends, slots, side="right")
        for corpus in np.unique(corpora):
            here = corpora == corpus
            share = int(self.shares[corpus])
            own = numbers[here] // len(self) * share + slots[here] - (ends[corpus] - share)
            rows[here] = shuffle_epochs(fold(self.key, CORPUS + int(corpus)), int(self.sizes[corpus]), own)
        return corpora, rows


def shuffle_epochs(key: int, size: int, numbers: np.ndarray) -> np.ndarray:
    """Position of each number in its epoch's own shuffle of range(size)."""
    epochs, positions = np.divmod(numbers, size)
    result = np.empty(len(numbers), dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        result[here] = shuffled(fold(key, int(epoch)), size, positions[here])
    return result


def epoch_shares(sizes: list[int], weights: list[float]) -> np.ndarray:
    """Samples per epoch of each corpus: the sum of sizes, divided by weight (largest remainder, at least 1).

    Corpora of size 0 get none; their weight goes to the others.
    """
    sizes = np.array(sizes, dtype=np.int64)
    weights = np.where(sizes > 0, np.array(weights, dtype=np.float64), 0.0)
    total = int(sizes.sum())
    if not total:
        return np.zeros(len(sizes), dtype=np.int64)
    exact = total * weights / weights.sum()
    shares = np.floor(exact).astype(np.int64)
    for corpus in np.argsort(shares - exact, kind="stable")[: total - int(shares.sum())]:
        shares[corpus] += 1
    for corpus in np.flatnonzero((shares == 0) & (sizes > 0)):
        shares[np.argmax(shares)] -= 1
        shares[corpus] += 1
    return shares


def check_weights(prefixes) -> None:
    """Raise UserError unless `prefixes` is a list of (weight above 0, prefix)."""
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
        split: three shares, such as "949,50,1"; missing ones are 0.
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
