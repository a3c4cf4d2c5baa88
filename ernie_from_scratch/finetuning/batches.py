"""In which order rows become batches: neighbours in length together, so that little is padded."""

from collections.abc import Iterator, Sequence

import numpy as np


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of neighbours in length; every row once. For prediction, where order is free."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def shuffled_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, pool: int = 16
) -> list[np.ndarray]:
    """Row numbers of one epoch in random batches with little padding; the same for the same (seed, epoch).

    Rows are shuffled, cut into pools of `pool` batches, sorted by length inside each pool and cut into
    batches, whose order is shuffled in turn. The last batch may be smaller.
    """
    rng = np.random.default_rng([seed, epoch])
    lengths = np.asarray(lengths)
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), pool * batch_size):
        rows = order[start : start + pool * batch_size]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
