"""Rows to a batch: [CLS] A [SEP] B [SEP], masked, padded to the longest row.

B rows, L padded length, N length of one row, M masked positions of the batch.
"""

from collections.abc import Sequence

import numpy as np

from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.dataset.masking import MaskedRow
from ernie_from_scratch.dataset.samples import Segments
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus
from ernie_from_scratch.text.corpus.spans import PHRASE_START, WORD_START

LENGTH_MULTIPLE = 8  # rows are padded to a multiple of this, which keeps the number of different shapes small
BOUNDARY = np.array([WORD_START | PHRASE_START], dtype=np.uint8)  # span byte of [CLS] and [SEP]


def assemble_row(
    corpus: PreparedCorpus, tokens: TokenTable, segments: Segments
) -> tuple[np.ndarray, np.ndarray]:
    """One row with its special tokens: ids ([N] int64, with `##` forms) and spans ([N] uint8)."""
    ids, spans = [np.array([tokens.cls_id])], [BOUNDARY]
    for start, length in ((segments.a_start, segments.a_length), (segments.b_start, segments.b_length)):
        if length:
            ids += [tokens.checked_ids(corpus, start, start + length), np.array([tokens.sep_id])]
            of_segment = np.array(corpus.spans[start : start + length])  # a copy
            of_segment[0] |= BOUNDARY[0]
            spans += [of_segment, BOUNDARY]
    return np.concatenate(ids), np.concatenate(spans)


def collate(
    rows: Sequence[MaskedRow],
    segments: Sequence[Segments],
    tokens: TokenTable,
    max_seq_len: int,
    sentence_pairs: str,
) -> Batch:
    """The batch of masked rows; batch.py describes it."""
    lengths = np.array([len(row.input_ids) for row in rows])
    longest = int(lengths.max())
    width = min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, max_seq_len)
    input_ids = np.full((len(rows), width), tokens.pad_id, dtype=np.int64)  # [B, L]
    token_type_ids = np.zeros((len(rows), width), dtype=np.int64)  # [B, L]
    for number, (row, segment) in enumerate(zip(rows, segments, strict=True)):
        input_ids[number, : len(row.input_ids)] = row.input_ids
        token_type_ids[number, segment.a_length + 2 : len(row.input_ids)] = 1
    attention_mask = (np.arange(width) < lengths[:, None]).astype(np.int64)  # [B, L]
    batch: Batch = {
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "attention_mask": None if attention_mask.all() else attention_mask,
        "masked_positions": np.concatenate(
            [width * number + row.positions for number, row in enumerate(rows)]
        ),
        "masked_lm_labels": np.concatenate([row.labels for row in rows]),
        "masked_span_kinds": np.concatenate([row.kinds for row in rows]),
    }
    if sentence_pairs != "none":
        batch["next_sentence_label"] = np.array([segment.label for segment in segments], dtype=np.int64)
    return batch
