"""Loading ahead: order, ranks, resuming, ending, and what happens when a worker fails."""

import threading
import time

import numpy as np
import pytest
from process_helpers import wait_until

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.loader import BatchLoader


class Numbers:
    """A split whose batches are their sample numbers; later ones come sooner, and `fails_at` raises."""

    def __init__(self, fails_at=None, seconds=0.0):
        self.fails_at, self.seconds, self.asked = fails_at, seconds, []

    def __len__(self):
        return 100

    def batch(self, numbers):
        self.asked.append(int(numbers[0]))
        time.sleep(self.seconds * (1 + numbers[0] // 4 % 3 == 1))
        if self.fails_at is not None and numbers[0] <= self.fails_at <= numbers[-1]:
            raise UserError(f"sample {self.fails_at} is broken")
        return {"numbers": numbers}


def taken(loader, count):
    return [next(loader)["numbers"].tolist() for _ in range(count)]


@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_batches_come_in_order(num_workers):
    with BatchLoader(Numbers(seconds=0.01), 4, num_workers=num_workers) as loader:
        assert taken(loader, 20) == np.arange(80).reshape(20, 4).tolist()
        assert loader.next_sample == 80


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_resumes_on_another_number_of_ranks(num_workers):
    with BatchLoader(Numbers(), 8, num_workers=num_workers) as loader:
        seen = taken(loader, 5)
        position = loader.next_sample
    loaders = [BatchLoader(Numbers(), 4, position, rank, 2, num_workers) for rank in range(2)]
    for _ in range(5):
        seen.append(sum((taken(loader, 1)[0] for loader in loaders), []))
    assert seen == np.arange(80).reshape(10, 8).tolist()
    assert all(loader.next_sample == 80 for loader in loaders)
    for loader in loaders:
        loader.close()


@pytest.mark.parametrize("num_workers", [0, 3])
def test_end_sample(num_workers):
    with BatchLoader(Numbers(), 8, start_sample=10, num_workers=num_workers, end_sample=30) as loader:
        assert [len(batch["numbers"]) for batch in loader] == [8, 8, 4]
        assert list(loader) == []


def test_it_works_ahead_but_not_far():
    split = Numbers()
    with BatchLoader(split, 4, num_workers=2) as loader:
        next(loader)
        wait_until(lambda: len(split.asked) >= 4)
        time.sleep(0.05)  # it would go further in this time
        assert sorted(split.asked) == [0, 4, 8, 12]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_failing_worker_raises_in_the_consumer(num_workers):
    with BatchLoader(Numbers(fails_at=21), 4, num_workers=num_workers) as loader:
        with pytest.raises(UserError, match="sample 21 is broken"):
            for _ in range(10):
                next(loader)
        assert loader.next_sample <= 20


def test_close_ends_threads_and_iteration():
    before = threading.active_count()
    loader = BatchLoader(Numbers(seconds=0.02), 4, num_workers=3)
    taken(loader, 2)
    assert threading.active_count() > before
    loader.close()
    loader.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(loader)


class Empty(Numbers):
    def __len__(self):
        return 0


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"start_sample": -1},
        {"rank": 2, "world_size": 2},
        {"num_workers": -1},
        {"rank": -1},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(UserError, match="BatchLoader"):
        BatchLoader(Numbers(), **{"batch_size": 4, **settings})


def test_an_empty_split_is_refused():
    with pytest.raises(UserError, match="no samples"):
        BatchLoader(Empty(), 4)
