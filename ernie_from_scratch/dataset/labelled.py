"""Labelled examples as a source: encoded rows, in random batches of similar lengths, the same for the same seed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.dataset.source import Split

Collate = Callable[[Sequence[dict]], Batch]


def by_length(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Row numbers in batches of neighbours in length; every row once. For prediction, where order is free."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def shuffled_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, pool: int = 16
) -> list[np.ndarray]:
    """Row numbers of one epoch in random batches with little padding; the same for the same (seed, epoch).

    Rows are shuffled, divided into pools of `pool` batches, sorted by length inside each pool and divided into
    batches, whose order is shuffled in turn. The last batch of a pool may be smaller.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), pool * batch_size):
        rows = order[start : start + pool * batch_size]
        rows = rows[np.argsort(np.asarray(lengths)[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


class LabelledSplit:
    """Encoded rows as a `Split`: batch k of an epoch is batch k of `shuffled_batches`.

    An epoch has as many sample numbers as its batches have rows when all are full. Numbers beyond the end of a
    smaller batch have no row: a micro batch then gets the weight that makes the mean over all micro batches the mean
    over the rows of the batch.

    Args:
        rows: encoded examples; each has `input_ids`.
        collate: from rows to a padded batch with labels.
        global_batch_size: rows of one optimizer step.
    """

    def __init__(self, rows: Sequence[dict], collate: Collate, global_batch_size: int, seed: int):
        self.rows, self.collate = rows, collate
        self.global_batch_size, self.seed = global_batch_size, seed
        self.lengths = [len(row["input_ids"]) for row in rows]
        self.steps = len(shuffled_batches(self.lengths, global_batch_size, seed, 0))  # per epoch
        self._order: tuple[int, list[np.ndarray]] = (-1, [])

    def __len__(self) -> int:
        return self.steps * self.global_batch_size

    def batch(self, indices: np.ndarray) -> Batch:
        """The batch of these sample numbers, all of one optimizer step.

        Adds to `collate`'s batch a `loss_weight`, where it is not 1: rows of this batch divided by the mean number
        of rows of the step's micro batches of this size. A micro batch without rows has one with weight 0.
        """
        epoch, first = divmod(int(indices[0]), len(self))
        step, start = divmod(first, self.global_batch_size)
        step_rows = self._batches(epoch)[step]
        own = step_rows[start : start + len(indices)]
        weight = len(own) * self.global_batch_size / (len(indices) * len(step_rows))
        batch = self.collate([self.rows[number] for number in (own if len(own) else step_rows[:1])])
        return batch if weight == 1 else {**batch, "loss_weight": weight}

    def _batches(self, epoch: int) -> list[np.ndarray]:
        known, batches = self._order
        if known != epoch:
            batches = shuffled_batches(self.lengths, self.global_batch_size, self.seed, epoch)
            self._order = (epoch, batches)
        return batches


class LabelledExamples:
    """A source whose "train" split is labelled examples; what a run depends on beyond them goes into `identity`."""

    def __init__(self, train: LabelledSplit, identity: Mapping[str, object]):
        self.splits: dict[str, Split] = {"train": train}
        parts = (sorted(identity.items()), train.global_batch_size, train.seed)
        self.fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()

    def __getitem__(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"split {name!r} is unknown; choose one of {', '.join(self.splits)}")
        return self.splits[name]
