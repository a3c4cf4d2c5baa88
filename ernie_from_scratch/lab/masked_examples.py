"""A row of a masked batch, ready to be drawn: its tokens, what the network sees of them, its words and entities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.spans import ENTITY_START, ENTITY_TYPES, TYPE_SHIFT
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

TYPE_NAMES = {
    "PER": "person",
    "LOC": "place",
    "ORG": "organisation",
    "TIME": "time",
    "WORK": "work",
    "OTHER": "other name",
}


@dataclass
class MaskedExample:
    """One row of a batch.

    Attributes:
        tokens: the original text, one string per token, without "##".
        inputs: what the network sees at each position; equal to `tokens` where nothing was masked.
        masked_positions: positions that the network has to predict; at some of them the token is kept (the 10 %
            rule).
        spans: one uint8 per token as in PREFIX_spans.npy (starts of words and phrases, entity types), or None if
            they are unknown.
        name: a short heading such as "entity masking".

    Raises:
        UserError: tokens, inputs and spans have different lengths.
    """

    tokens: Sequence[str]
    inputs: Sequence[str]
    masked_positions: Sequence[int]
    spans: Sequence[int] | np.ndarray | None = None
    name: str = ""

    def __post_init__(self):
        lengths = {len(self.tokens), len(self.inputs), len(self.tokens if self.spans is None else self.spans)}
        if len(lengths) > 1:
            raise UserError(
                f"masked example: tokens, inputs and spans have different lengths {sorted(lengths)}"
            )
        self.masked_positions = [int(position) for position in self.masked_positions]

    def span(self, position: int) -> int:
        """The span byte of a token; 0 if it is unknown or behind the last token."""
        return int(self.spans[position]) if self.spans is not None and position < len(self.spans) else 0

    def entity_type(self, position: int) -> str:
        """One of ENTITY_TYPES; "" outside of entities."""
        return ENTITY_TYPES[self.span(position) >> TYPE_SHIFT]

    def entity_types(self) -> list[str]:
        """The entity types of this row, in the order of ENTITY_TYPES."""
        present = {self.entity_type(position) for position in range(len(self.tokens))}
        return [name for name in ENTITY_TYPES[1:] if name in present]


def examples_from_batch(
    batch: Mapping, vocabulary: Vocabulary, rows: Sequence[int], name: str = ""
) -> list[MaskedExample]:
    """Take rows out of a pretraining batch, without their padding.

    A batch contains the types of masked entities only, so `spans` holds those.
    """
    length = batch["input_ids"].shape[1]  # L
    return [_example(batch, vocabulary, row, length, name) for row in rows]


def _example(batch: Mapping, vocabulary: Vocabulary, row: int, length: int, name: str) -> MaskedExample:
    input_ids = np.asarray(batch["input_ids"][row])  # [L]
    mask = batch.get("attention_mask")
    used = length if mask is None else int(np.asarray(mask[row]).sum())
    in_row = np.flatnonzero(np.asarray(batch["masked_positions"]) // length == row)  # [P]
    positions = np.asarray(batch["masked_positions"])[in_row] % length  # [P]
    original_ids = input_ids.copy()  # [L]
    original_ids[positions] = np.asarray(batch["masked_lm_labels"])[in_row]
    spans = np.zeros(length, dtype=np.uint8)  # [L]
    if batch.get("masked_span_kinds") is not None:
        kinds = np.asarray(batch["masked_span_kinds"])[in_row].astype(np.uint8)  # [P]
        continues = np.zeros(len(positions), dtype=bool)  # [P]
        continues[1:] = (np.diff(positions) == 1) & (kinds[1:] == kinds[:-1])
        spans[positions] = (kinds << TYPE_SHIFT) | np.where(~continues & (kinds > 0), ENTITY_START, 0)
    return MaskedExample(
        tokens=[_without_marker(vocabulary.tokens[i]) for i in original_ids[:used]],
        inputs=[_without_marker(vocabulary.tokens[i]) for i in input_ids[:used]],
        masked_positions=positions.tolist(),
        spans=spans[:used],
        name=name,
    )


def _without_marker(token: str) -> str:
    return token[2:] if token.startswith("##") and len(token) > 2 else token
