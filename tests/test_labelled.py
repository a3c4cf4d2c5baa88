"""Labelled examples as a source: random batches with little padding, and a step that is the mean over its rows."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.labelled import LabelledExamples, LabelledSplit, by_length, shuffled_batches
from ernie_from_scratch.dataset.loader import BatchLoader


@pytest.mark.parametrize("rows, size", [(1, 8), (8, 8), (1000, 32), (999, 7)])
def test_every_row_once_in_random_batches(rows, size):
    lengths = np.random.default_rng(0).integers(3, 100, rows)
    batches = shuffled_batches(lengths, size, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert len(batches) == -(-rows // size) and max(map(len, batches)) <= size


def test_batches_repeat_for_the_same_epoch_only():
    lengths = np.random.default_rng(0).integers(3, 100, 500)

    def flat(**which):
        return np.concatenate(shuffled_batches(lengths, 16, **which)).tolist()

    assert flat(seed=1, epoch=0) == flat(seed=1, epoch=0)
    assert flat(seed=1, epoch=0) != flat(seed=1, epoch=1) != flat(seed=2, epoch=1)


def test_batches_waste_little_on_padding_and_mix_the_rows():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 100, 2000)
    batches = shuffled_batches(lengths, 16, seed=1, epoch=0)
    padded = sum(lengths[b].max() * len(b) for b in batches)
    plain = sum(lengths[b].max() * len(b) for b in rng.permutation(2000).reshape(-1, 16))
    assert lengths.sum() / padded > 0.9 > lengths.sum() / plain
    # two epochs put different rows together: few pairs of neighbours repeat
    pairs = [
        {(a, b) for batch in shuffled_batches(lengths, 16, 1, e) for a in batch for b in batch if a < b}
        for e in (0, 1)
    ]
    assert len(pairs[0] & pairs[1]) < 0.2 * len(pairs[0])


def test_prediction_batches_cover_every_row_in_order_of_length():
    lengths = np.random.default_rng(0).integers(3, 100, 77)
    order = np.concatenate(list(by_length(lengths, 10)))
    assert sorted(order.tolist()) == list(range(77)) and np.all(np.diff(lengths[order]) >= 0)


# splits


def collate(rows):
    return {name: np.array([row[name] for row in rows]) for name in ("number", "value")}


def labelled_split(count, global_batch_size, seed=3):
    rng = np.random.default_rng(count)
    rows = [
        {"input_ids": [1] * int(rng.integers(1, 30)), "number": number, "value": rng.normal()}
        for number in range(count)
    ]
    return LabelledSplit(rows, collate, global_batch_size, seed)


def steps_of(split, micro_batch_size, world_size, accumulation, epoch):
    """For each optimizer step of an epoch, the micro batches that all ranks read, as the training loop reads them."""
    loaders = [
        BatchLoader(split, micro_batch_size, epoch * len(split), rank, world_size, num_workers=0)
        for rank in range(world_size)
    ]
    return [[next(loader) for loader in loaders for _ in range(accumulation)] for _ in range(split.steps)]


layouts = dict(
    count=st.integers(1, 60),
    micro_batch_size=st.integers(1, 5),
    world_size=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    epoch=st.integers(0, 2),
)


@given(**layouts)
@example(count=9, micro_batch_size=2, world_size=2, accumulation=2, epoch=1)
def test_every_row_once_in_an_epoch_over_ranks_and_accumulation(
    count, micro_batch_size, world_size, accumulation, epoch
):
    split = labelled_split(count, micro_batch_size * world_size * accumulation)
    steps = steps_of(split, micro_batch_size, world_size, accumulation, epoch)
    expected = shuffled_batches(split.lengths, split.global_batch_size, split.seed, epoch)
    read = [
        np.concatenate([batch["number"] for batch in step if batch.get("loss_weight") != 0]) for step in steps
    ]
    assert sorted(np.concatenate(read).tolist()) == list(range(count))
    assert [sorted(numbers) for numbers in read] == [sorted(numbers) for numbers in expected]


@given(**layouts)
@example(count=9, micro_batch_size=2, world_size=2, accumulation=2, epoch=1)  # the last step has a single row
def test_the_weighted_mean_over_micro_batches_is_the_mean_over_the_rows(
    count, micro_batch_size, world_size, accumulation, epoch
):
    split = labelled_split(count, micro_batch_size * world_size * accumulation)
    values = np.array([row["value"] for row in split.rows])
    expected = shuffled_batches(split.lengths, split.global_batch_size, split.seed, epoch)
    steps = steps_of(split, micro_batch_size, world_size, accumulation, epoch)
    for micro_batches, numbers in zip(steps, expected, strict=True):
        weighted = [batch["value"].mean() * batch.get("loss_weight", 1) for batch in micro_batches]
        assert np.mean(weighted) == pytest.approx(values[numbers].mean(), rel=1e-9, abs=1e-12)


def test_a_micro_batch_without_rows_has_weight_zero():
    """It still has a row, since every process must run its layers, and that row is one of the step's."""
    split = labelled_split(9, 8)
    steps = steps_of(split, 2, world_size=2, accumulation=2, epoch=0)
    short = next(step for step in steps if len({n for batch in step for n in batch["number"].tolist()}) == 1)
    assert sorted(batch.get("loss_weight", 1) for batch in short) == [0, 0, 0, 4]
    assert all(len(batch["number"]) == 1 for batch in short)


@pytest.mark.parametrize("count", [1, 8, 9, 23])
def test_one_process_without_accumulation_needs_no_weights(count):
    for step in steps_of(labelled_split(count, 4), 4, world_size=1, accumulation=1, epoch=0):
        assert "loss_weight" not in step[0]


def test_the_fingerprint_depends_on_all_that_decides_the_batches():
    def fingerprint(global_batch_size=4, seed=3, **identity):
        return LabelledExamples(labelled_split(9, global_batch_size, seed), identity).fingerprint

    found = [
        fingerprint(max_seq_len=8),
        fingerprint(max_seq_len=9),
        fingerprint(global_batch_size=8, max_seq_len=8),
        fingerprint(seed=4, max_seq_len=8),
    ]
    assert len(set(found)) == 4 and found[0] == fingerprint(max_seq_len=8)


def test_an_unknown_split_is_named():
    source = LabelledExamples(labelled_split(3, 2), {})
    assert len(source["train"]) == 4
    with pytest.raises(UserError, match="split 'dev' is unknown; choose one of train"):
        source["dev"]
