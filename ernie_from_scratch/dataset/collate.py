"""Rows to a batch: [CLS] A [SEP] B [SEP], masked, padded to the longest row.

B rows, L padded length, N length of one row, M masked positions of the batch.
"""

import numpy as np

from ernie_from_scratch.dataset.indexed import IndexedCorpus
from ernie_from_scratch.dataset.masking import MaskedRow
from ernie_from_scratch.dataset.samples import Segments
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.spans import PHRASE_START, WORD_START

LENGTH_MULTIPLE = 8  # rows are padded to a multiple of this, which keeps the number of different shapes small


def assemble_row(
    corpus: IndexedCorpus, tokens: TokenTable, segments: Segments
) -> tuple[np.ndarray, np.ndarray]:
    """One row with its special tokens: ids ([N] int64, with `##` forms) and spans ([N] uint8)."""
    ids, spans = [np.array([tokens.cls_id])], [_boundary()]
    for start, length in ((segments.a_start, segments.a_length), (segments.b_start, segments.b_length)):
        if length:
            ids += [tokens.checked(corpus, start, start + length), np.array([tokens.sep_id])]
            spans += [_segment_spans(corpus, tokens, ids[-2], start), _boundary()]
    return np.concatenate(ids), np.concatenate(spans)


def _boundary() -> np.ndarray:
    return np.array([WORD_START | PHRASE_START], dtype=np.uint8)


def _segment_spans(corpus, tokens, ids, start) -> np.ndarray:
    if corpus.spans is None:
        spans = np.where(tokens.continuation[ids], 0, WORD_START).astype(np.uint8)
    else:
        spans = np.array(corpus.spans[start : start + len(ids)])
    spans[0] |= WORD_START | PHRASE_START
    return spans


def collate(
    rows: list[MaskedRow], segments: list[Segments], tokens: TokenTable, max_seq_len: int, pairs: str
) -> dict:
    """The batch as a dict of arrays; see `Split.batch`."""
    lengths = np.array([len(row.input_ids) for row in rows])
    longest = int(lengths.max())
    width = min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, max_seq_len)
    input_ids = np.full((len(rows), width), tokens.pad_id, dtype=np.int64)  # [B, L]
    token_type_ids = np.zeros((len(rows), width), dtype=np.int64)  # [B, L]
    for number, (row, segment) in enumerate(zip(rows, segments, strict=True)):
        input_ids[number, : len(row.input_ids)] = row.input_ids
        token_type_ids[number, segment.a_length + 2 : len(row.input_ids)] = 1
    real = np.arange(width) < lengths[:, None]  # [B, L]
    batch = {
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "attention_mask": None if real.all() else real.astype(np.int64),
        "masked_positions": np.concatenate(
            [width * number + row.positions for number, row in enumerate(rows)]
        ),
        "masked_lm_labels": np.concatenate([row.labels for row in rows]),
        "masked_span_kinds": np.concatenate([row.kinds for row in rows]),
    }
    if pairs != "none":
        batch["next_sentence_label"] = np.array([segment.label for segment in segments], dtype=np.int64)
    return batch


def row_lengths(batch: dict) -> np.ndarray:
    """Tokens of each row of a batch that are not padding: [B], int64."""
    rows, width = batch["input_ids"].shape
    mask = batch["attention_mask"]  # [B, L], or None without padding
    return np.full(rows, width) if mask is None else mask.sum(-1)


def real_tokens(batch):
    """Tokens of a batch that are not padding."""
    return int(row_lengths(batch).sum())
