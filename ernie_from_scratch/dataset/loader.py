"""Batches in order, prefetched by threads (the C++ sampler releases the GIL)."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.dataset.source import Split


class BatchLoader:
    """Iterates over the batches of one rank, endlessly or up to `end_sample`.

    In step k all ranks together read batch_size x world_size sample numbers, from start_sample + k x
    batch_size x world_size on; each rank reads its block of batch_size of them. So a run resumes from one
    number, `next_sample`, on any number of ranks. When a prefetched batch fails, the following `next` raises.

    Args:
        batch_size: rows per batch of this rank.
        start_sample: number of the first sample of all ranks.
        num_workers: threads; 0 makes each batch when it is requested.
        end_sample: stop before this sample number; the last batch may be smaller, and a rank whose block lies
            beyond the end has one batch fewer. None: endless.

    Raises:
        UserError: a number is out of range, or the split is empty; from `next`: a batch cannot be made.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        start_sample: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 2,
        end_sample: int | None = None,
    ):
        if batch_size < 1 or start_sample < 0 or num_workers < 0 or not 0 <= rank < world_size:
            raise UserError(
                "BatchLoader: batch_size must be positive, start_sample and num_workers not negative, rank below "
                f"world_size; not {batch_size}, {start_sample}, {num_workers}, {rank} of {world_size}"
            )
        if not len(split):
            raise UserError("BatchLoader: the split has no samples; give it a larger share of documents")
        self.next_sample = start_sample  # of all ranks; where to resume after the batches returned so far
        self._split, self._batch_size, self._end_sample = split, batch_size, end_sample
        self._offset, self._step = rank * batch_size, world_size * batch_size
        self._pool = ThreadPoolExecutor(num_workers, "batch") if num_workers else None
        self._batches_ahead = 2 * num_workers
        self._pending: deque[Future[Batch]] = deque()  # the batches from next_sample on
        self._closed = False

    def __iter__(self) -> "BatchLoader":
        return self

    def __next__(self) -> Batch:
        numbers = self._numbers(0)
        if self._closed or not numbers.size:
            raise StopIteration
        try:
            batch = self._split.batch(numbers) if self._pool is None else self._prefetched(self._pool)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"cannot make a batch of samples {numbers[0]} to {numbers[-1]} or soon after: "
                f"{type(error).__name__}: {error}; check the prepared corpus, or prepare it again"
            ) from error
        self.next_sample += self._step
        return batch

    def close(self) -> None:
        """End the iteration and the threads; batches in progress are finished first."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> "BatchLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _numbers(self, steps_ahead: int) -> np.ndarray:
        first = self.next_sample + steps_ahead * self._step + self._offset
        last = first + self._batch_size
        if self._end_sample is not None:
            last = min(last, self._end_sample)
        return np.arange(first, last, dtype=np.int64)

    def _prefetched(self, pool: ThreadPoolExecutor) -> Batch:
        while len(self._pending) < self._batches_ahead:
            numbers = self._numbers(len(self._pending))
            if not numbers.size:
                break
            self._pending.append(pool.submit(self._split.batch, numbers))
        for future in self._pending:
            if future.done() and future.exception() is not None:
                future.result()
        return self._pending.popleft().result()
