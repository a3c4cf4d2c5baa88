"""Sample numbers to a masked batch: the Python version, and the choice between it and the C++ one."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.dataset.blending import ROWS, Blend
from ernie_from_scratch.dataset.collate import assemble_row, collate
from ernie_from_scratch.dataset.masking import MaskedRow, MaskingRules, mask_row
from ernie_from_scratch.dataset.rng import fold
from ernie_from_scratch.dataset.samples import SampleRules, Segments, choose_segments
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus


class Sampler(Protocol):
    """What makes batches: `PythonSampler`, or `_helpers.Sampler` in C++ with the same arguments."""

    def batch(self, sample_numbers: np.ndarray) -> Batch: ...


class PythonSampler:
    """`batch` in Python and numpy, about 2,000 rows of 128 tokens a second; the C++ one gives equal arrays.

    Args:
        tables: for each corpus, the SAMPLE records that belong to the split.
        max_seq_len: longest row, special tokens included.
    """

    def __init__(
        self,
        corpora: Sequence[PreparedCorpus],
        tables: Sequence[np.ndarray],
        tokens: TokenTable,
        sample_rules: SampleRules,
        masking_rules: MaskingRules,
        blend: Blend,
        max_seq_len: int,
    ):
        self.corpora, self.tables, self.tokens = corpora, tables, tokens
        self.sentence_pairs, self.masking_rules = sample_rules.sentence_pairs, masking_rules
        self.blend, self.max_seq_len = blend, max_seq_len

    def batch(self, sample_numbers: np.ndarray) -> Batch:
        """See batch.py; sample_numbers [B] int64, none negative."""
        corpora, table_rows = self.blend.locate(sample_numbers)
        rows, segments = [], []
        for number, c, table_row in zip(sample_numbers.tolist(), corpora, table_rows, strict=True):
            row, row_segments = self._row(number, self.corpora[c], self.tables[c], int(table_row))
            rows.append(row)
            segments.append(row_segments)
        return collate(rows, segments, self.tokens, self.max_seq_len, self.sentence_pairs)

    def _row(
        self, number: int, corpus: PreparedCorpus, table: np.ndarray, table_row: int
    ) -> tuple[MaskedRow, Segments]:
        key = fold(fold(self.blend.key, ROWS), number)
        segments = choose_segments(corpus, table, table_row, self.sentence_pairs, key)
        ids, spans = assemble_row(corpus, self.tokens, segments)
        level = self.masking_rules.level(number, key)
        count = segments.a_length + segments.b_length
        return mask_row(ids, spans, count, self.tokens, level, self.masking_rules, key), segments


def make_sampler(*arguments: Any) -> Sampler:
    """The C++ sampler if it is built, else the Python one; arguments as for `PythonSampler`."""
    helpers = native.helpers()
    if helpers is None:
        return PythonSampler(*arguments)
    try:
        return helpers.Sampler(*arguments)
    except ValueError as error:
        raise UserError(str(error)) from None
