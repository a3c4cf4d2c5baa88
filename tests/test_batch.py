"""The functions that know a batch's keys, on numpy arrays and on Paddle tensors."""

import numpy as np
import paddle
import pytest
from numpy.testing import assert_array_equal

from ernie_from_scratch.dataset.batch import IGNORE_INDEX, pad_to_width, row_lengths, token_count


def batch_of(make, mask=True):
    """Rows of 3 and 2 tokens, width 3; the second token of each is masked."""
    arrays = {
        "input_ids": [[1, 3, 5], [1, 3, 0]],
        "token_type_ids": [[0, 0, 1], [0, 0, 0]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
        "masked_positions": [1, 4],
        "masked_lm_labels": [7, 8],
        "labels": [[0, 1, 2], [0, 1, IGNORE_INDEX]],
        "next_sentence_label": [1, IGNORE_INDEX],
    }
    batch = {name: make(np.array(values)) for name, values in arrays.items()}
    return batch if mask else {**batch, "attention_mask": None}


BOTH = pytest.mark.parametrize("make", [np.asarray, paddle.to_tensor], ids=["numpy", "paddle"])


@BOTH
def test_counts_leave_padding_out(make):
    assert token_count(batch_of(make)) == 5 and row_lengths(batch_of(make)).tolist() == [3, 2]
    full = batch_of(make, mask=False)
    assert token_count(full) == 6 and row_lengths(full).tolist() == [3, 3]


@BOTH
@pytest.mark.parametrize("mask", [True, False])
def test_padding_moves_no_token(make, mask):
    batch = batch_of(make, mask)
    wide = {name: np.asarray(values) for name, values in pad_to_width(batch, 8).items()}
    for name in ("input_ids", "token_type_ids", "attention_mask", "labels"):
        before = np.ones((2, 3)) if name == "attention_mask" and not mask else np.asarray(batch[name])
        assert_array_equal(wide[name][:, :3], before)
        assert_array_equal(wide[name][:, 3:], np.full((2, 5), IGNORE_INDEX if name == "labels" else 0))
    assert_array_equal(wide["input_ids"].ravel()[wide["masked_positions"]], [3, 3])
    assert wide["masked_positions"].tolist() == [1, 9] and wide["masked_lm_labels"].tolist() == [7, 8]
    assert wide["next_sentence_label"].tolist() == [1, IGNORE_INDEX]
    assert token_count(wide) == token_count(batch)


def test_the_same_width_needs_no_copy_and_a_smaller_one_raises():
    batch = batch_of(np.asarray)
    assert pad_to_width(batch, 3) is batch
    with pytest.raises(ValueError, match="width 3 cannot be padded to 2"):
        pad_to_width(batch, 2)


def test_keys_that_a_batch_does_not_have_stay_absent():
    batch = {"input_ids": np.ones((2, 3), dtype=np.int64), "labels": np.array([0, 1])}
    wide = pad_to_width(batch, 4)
    assert set(wide) == {"input_ids", "labels", "attention_mask"} and wide["labels"] is batch["labels"]
