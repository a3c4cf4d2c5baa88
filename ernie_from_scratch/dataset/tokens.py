"""What the sampler has to know about each token of the vocabulary."""

import re
from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.tokenizers.wordpiece import is_han

SPECIAL = re.compile(r"\[.+\]|<.+>")  # [PAD], [unused1], <S>: never masked, never drawn


@dataclass(frozen=True)
class TokenTable:
    """Lookups by token id. V vocabulary."""

    continuation: np.ndarray  # [V] bool: `##` forms
    special: np.ndarray  # [V] bool
    plain: np.ndarray  # [V] int64: what the model sees; `##`Han becomes the plain character
    replacements: np.ndarray  # int64, rising: tokens that may replace a masked one
    pad_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    @classmethod
    def of(cls, vocabulary) -> "TokenTable":
        """From a `text.vocabulary.Vocabulary`; V counts the word marks that PaddleNLP's tools add to it."""
        texts = vocabulary.with_word_marks().tokens
        ids = {text: number for number, text in enumerate(texts)}
        continuation = np.array([text.startswith("##") and len(text) > 2 for text in texts], dtype=bool)
        special = np.array([SPECIAL.fullmatch(text) is not None for text in texts], dtype=bool)
        plain = np.arange(len(texts), dtype=np.int64)
        for number in np.flatnonzero(continuation):
            character = texts[number][2:]
            if len(character) == 1 and is_han(character):
                plain[number] = ids.get(character, number)
        named = [
            vocabulary.pad_id,
            vocabulary.cls_id,
            vocabulary.sep_id,
            vocabulary.mask_id,
            vocabulary.unk_id,
        ]
        special[named] = True
        replacements = np.flatnonzero(~special & ~continuation)
        if not replacements.size:
            raise UserError("the vocabulary holds nothing but special tokens; give another")
        return cls(continuation, special, plain, replacements, *(int(number) for number in named[:4]))

    def checked(self, corpus, start: int, end: int) -> np.ndarray:
        """Ids of tokens [start, end) of the corpus (int64).

        Raises:
            UserError: an id is not in the vocabulary.
        """
        ids = corpus.ids[start:end].astype(np.int64)
        unknown = (ids < 0) | (ids >= len(self.plain))
        if unknown.any():
            token = start + int(np.argmax(unknown))
            raise UserError(
                f"token {token} of {corpus.prefix}_ids.npy is {corpus.ids[token]}, but the vocabulary has "
                f"{len(self.plain)} tokens; give the vocabulary that the corpus was prepared with"
            )
        return ids
