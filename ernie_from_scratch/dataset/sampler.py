"""Sample numbers to a masked batch: the plain version, and the choice between it and the C++ one."""

import numpy as np

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.blending import ROWS, Blend
from ernie_from_scratch.dataset.collate import assemble_row, collate
from ernie_from_scratch.dataset.indexed import IndexedCorpus
from ernie_from_scratch.dataset.masking import MaskingRules, mask_row
from ernie_from_scratch.dataset.rng import fold
from ernie_from_scratch.dataset.samples import SampleRules, choose_segments
from ernie_from_scratch.dataset.tokens import TokenTable


class PlainSampler:
    """`batch` in Python and numpy, about 2,000 rows of 128 tokens a second; the C++ one gives identical
    arrays.

    Args:
        tables: of each corpus, the SAMPLE records that belong to the split.
        max_seq_len: longest row, special tokens included.
    """

    def __init__(
        self,
        corpora: list[IndexedCorpus],
        tables: list[np.ndarray],
        tokens: TokenTable,
        sample_rules: SampleRules,
        masking_rules: MaskingRules,
        blend: Blend,
        max_seq_len: int,
    ):
        self.corpora, self.tables, self.tokens = corpora, tables, tokens
        self.pairs, self.masking_rules = sample_rules.sentence_pairs, masking_rules
        self.blend, self.max_seq_len = blend, max_seq_len

    def batch(self, sample_numbers) -> dict:
        """See `Split.batch`; sample_numbers [B] int64, none negative."""
        corpora, rows = self.blend.locate(sample_numbers)
        wanted = zip(sample_numbers.tolist(), corpora.tolist(), rows.tolist(), strict=True)
        made = [self._row(number, self.corpora[c], self.tables[c], row) for number, c, row in wanted]
        return collate(*zip(*made, strict=True), self.tokens, self.max_seq_len, self.pairs)

    def _row(self, number, corpus, table, row):
        key = fold(fold(self.blend.key, ROWS), number)
        segments = choose_segments(corpus, self.tokens, table, row, self.pairs, key)
        ids, spans = assemble_row(corpus, self.tokens, segments)
        level = self.masking_rules.level(number, key)
        count = segments.a_length + segments.b_length
        return mask_row(ids, spans, count, self.tokens, level, self.masking_rules, key), segments


def make_sampler(*arguments):
    """The C++ sampler when it is built, else the plain one; arguments as of `PlainSampler`."""
    fast = native.helpers()
    if fast is None:
        return PlainSampler(*arguments)
    try:
        return fast.Sampler(*arguments)
    except ValueError as error:
        raise UserError(str(error)) from None
