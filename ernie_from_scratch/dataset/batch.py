"""A batch of padded rows, and the few functions that know its keys.

A batch is a dict of arrays, or of Paddle tensors once it is on a device. B rows, L padded length, M masked
positions of all rows:

    input_ids            [B, L] int64
    token_type_ids       [B, L] int64, 0 for segment A, 1 for B
    attention_mask       [B, L] int64, 1 for a token, 0 for padding; None when no row is padded
    masked_positions     [M] int64, flat into B x L                  } of masked language modelling
    masked_lm_labels     [M] int64                                   }
    masked_span_kinds    [M] uint8, entity type or 0                 }
    next_sentence_label  [B] int64, SOP or NSP; absent without sentence pairs
    labels               [B, L] int64, of token classification; or one per row

Rows are padded on the right. An objective names the keys that it needs; others may be absent.
"""

import math
from typing import Any

import numpy as np

IGNORE_INDEX = -100  # label that a loss leaves out

Batch = dict[str, Any]  # of arrays, tensors or None, as above

# What the [B, L] entries hold where a row is padded; input_ids may hold any id there.
PER_TOKEN = {"input_ids": 0, "token_type_ids": 0, "attention_mask": 0, "labels": IGNORE_INDEX}


def to_tensors(batch: Batch) -> Batch:
    """Arrays as Paddle tensors on the current device; None, numbers and tensors stay as they are."""
    import paddle

    return {
        key: paddle.to_tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in batch.items()
    }


def token_count(batch: Batch) -> int:
    """Tokens that are not padding."""
    mask = batch.get("attention_mask")
    return math.prod(batch["input_ids"].shape) if mask is None else int(mask.sum())


def row_lengths(batch: Batch) -> np.ndarray:
    """Tokens of each row that are not padding: [B] int64."""
    rows, width = batch["input_ids"].shape
    mask = batch.get("attention_mask")
    return np.full(rows, width, dtype=np.int64) if mask is None else np.asarray(mask.sum(1))


def pad_to_width(batch: Batch, width: int) -> Batch:
    """The batch with rows of `width` tokens, for what needs one shape of all batches.

    `masked_positions` are renumbered, and the attention mask is added where there was none. A batch that is
    as wide already is returned as it is.
    """
    ids = batch["input_ids"]
    old_width = ids.shape[1]
    if width < old_width:
        raise ValueError(f"a batch of width {old_width} cannot be padded to {width}")
    if width == old_width:
        return batch
    if batch.get("attention_mask") is None:
        batch = {**batch, "attention_mask": ids * 0 + 1}  # ones, in arrays and in tensors
    per_token = {name: batch[name] for name in PER_TOKEN if name in batch and len(batch[name].shape) == 2}
    padded = {
        name: _pad_right(array, width - old_width, PER_TOKEN[name]) for name, array in per_token.items()
    }
    if "masked_positions" in batch:
        positions = batch["masked_positions"]
        padded["masked_positions"] = positions + positions // old_width * (width - old_width)
    return {**batch, **padded}


def _pad_right(array, columns: int, value: int):
    if isinstance(array, np.ndarray):
        return np.pad(array, ((0, 0), (0, columns)), constant_values=value)
    from paddle.nn import functional

    return functional.pad(array, [0, 0, 0, columns], value=value)
