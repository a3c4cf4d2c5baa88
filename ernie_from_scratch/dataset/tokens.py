"""What the sampler needs to know about each token of the vocabulary."""

import re
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus, continuation_table
from ernie_from_scratch.text.tokenizers.basic import is_han
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, surface

SPECIAL = re.compile(r"\[.+\]|<.+>")  # [PAD], [unused1], <S>: never masked, never a random replacement


@dataclass(frozen=True)
class TokenTable:
    """Lookups by token id. V vocabulary, with the `##` forms that PaddleNLP's tools add."""

    continuation: np.ndarray  # [V] bool, `##` forms
    special: np.ndarray  # [V] bool
    model_ids: np.ndarray  # [V] int64, the id that the model sees: of 滨 for ##滨
    replacements: np.ndarray  # int64, ascending: tokens that may replace a masked one
    pad_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "TokenTable":
        """The table of a vocabulary. Raises UserError if it has only special tokens."""
        tokens = vocabulary.with_continuations().tokens
        id_of = {token: number for number, token in enumerate(tokens)}
        continuation = continuation_table(vocabulary)
        special = np.array([SPECIAL.fullmatch(token) is not None for token in tokens], dtype=bool)
        special[list(vocabulary.special_ids)] = True
        model_ids = np.arange(len(tokens), dtype=np.int64)
        for number in np.flatnonzero(continuation):
            character = surface(tokens[number])
            if len(character) == 1 and is_han(character):
                model_ids[number] = id_of.get(character, number)
        replacements = np.flatnonzero(~special & ~continuation)
        if not replacements.size:
            raise UserError("the vocabulary has only special tokens; give another")
        named = (vocabulary.pad_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id)
        return cls(continuation, special, model_ids, replacements, *named)

    def checked_ids(self, corpus: PreparedCorpus, start: int, end: int) -> np.ndarray:
        """Ids of tokens [start, end) of the corpus (int64). Raises UserError for one beyond the vocabulary."""
        ids = corpus.ids[start:end].astype(np.int64)
        unknown = (ids < 0) | (ids >= len(self.model_ids))
        if unknown.any():
            token = start + int(np.argmax(unknown))
            raise UserError(
                f"token {token} of {corpus.prefix}_ids.npy is {corpus.ids[token]}, but the vocabulary has "
                f"{len(self.model_ids)} tokens; give the vocabulary that the corpus was prepared with"
            )
        return ids
