"""Text to token ids as BERT and ERNIE do it: basic tokenization, then WordPiece, with character offsets.

The ids equal those of PaddleNLP's ErnieTokenizer (BERT: Devlin et al. 2018; WordPiece: Wu et al. 2016,
section 4.1).
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.tokenizers.basic import BasicTokenizer, is_han
from ernie_from_scratch.text.tokenizers.vocabulary import (
    SPECIAL_TOKENS,
    VOCABULARY_FILE,
    Vocabulary,
    surface,
)
from ernie_from_scratch.utils.files import atomic_write

MAX_WORD_LENGTH = 100  # characters; a longer word is [UNK]
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

Piece = tuple[str, int, int]  # token, first character of the text, character after the last


class ErnieTokenizer:
    """Text to ids of a vocabulary, and back.

    Special tokens such as [MASK] that are written in a text are kept as special tokens (case-sensitive).
    """

    def __init__(
        self, vocabulary: Vocabulary | str | os.PathLike, do_lower_case: bool = True, max_seq_len: int = 512
    ):
        self.vocabulary = Vocabulary.load(vocabulary)
        self.do_lower_case = do_lower_case
        self.max_seq_len = max_seq_len
        self.basic = BasicTokenizer(do_lower_case)
        self._special = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")
        self._pieces: dict[str, list[tuple[str, int]] | None] = {}

    # text -> tokens

    def pieces(self, text: str, special_tokens: bool = True) -> list[Piece]:
        """Tokens with their (start, end) character offsets in `text`.

        With `special_tokens=False` a "[MASK]" in the text is tokenized like other text. Dropped characters
        (control characters, combining accents) belong to no token, or to the token around them.
        """
        pieces: list[Piece] = []
        start = 0
        for part in self._special.split(text) if special_tokens else [text]:
            if special_tokens and part in SPECIAL_TOKENS:
                pieces.append((part, start, start + len(part)))
            elif part:
                for word, positions in self.basic.words_with_positions(part):
                    self._add_word(word, positions, start, pieces)
            start += len(part)
        return pieces

    def _add_word(self, word: str, positions: list[int], shift: int, pieces: list[Piece]) -> None:
        if word not in self._pieces:
            if len(self._pieces) > 500_000:
                self._pieces.clear()
            self._pieces[word] = self.wordpiece(word)
        split = self._pieces[word]
        if split is None:
            pieces.append(("[UNK]", shift + min(positions), shift + max(positions) + 1))
            return
        first = 0
        for token, length in split:
            inside = positions[first : first + length]
            pieces.append((token, shift + min(inside), shift + max(inside) + 1))
            first += length

    def wordpiece(self, word: str) -> list[tuple[str, int]] | None:
        """Greedy longest match from the left: (token, number of characters) pairs; None if there is none."""
        if len(word) > MAX_WORD_LENGTH:
            return None
        split, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                token = ("##" if start else "") + word[start:end]
                if token in self.vocabulary:
                    split.append((token, end - start))
                    start = end
                    break
            else:
                return None
        return split

    def tokenize(self, text: str) -> list[str]:
        """The tokens alone."""
        return [token for token, _, _ in self.pieces(text)]

    # text -> ids

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        max_seq_len: int | None = None,
        return_offsets: bool = False,
    ) -> dict[str, list]:
        """[CLS] text [SEP], then text_pair [SEP] with token type 1: `input_ids` and `token_type_ids`.

        Args:
            max_seq_len: truncates the longer of the two texts, token by token from its end.
            return_offsets: adds `offsets`, (start, end) characters in the text or the pair, (0, 0) for [CLS]
                and [SEP].

        Raises:
            UserError: max_seq_len leaves no token of the text.
        """
        first = self.pieces(text)
        second = None if text_pair is None else self.pieces(text_pair)
        if max_seq_len is not None:
            first, second = _truncate(first, second, max_seq_len)
        ids, types, offsets = [self.vocabulary.cls_id], [0], [(0, 0)]
        for token_type, pieces in enumerate([first] if second is None else [first, second]):
            ids += [self.vocabulary.id_of(token) for token, _, _ in pieces] + [self.vocabulary.sep_id]
            types += [token_type] * (len(pieces) + 1)
            offsets += [(start, end) for _, start, end in pieces] + [(0, 0)]
        encoded = {"input_ids": ids, "token_type_ids": types}
        return {**encoded, "offsets": offsets} if return_offsets else encoded

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        max_seq_len: int | None = None,
        return_offsets: bool = False,
    ) -> dict:
        """One text as from `encode`; a list of texts as a padded batch.

        A batch is a dict of int64 arrays [B, L]: input_ids, token_type_ids, attention_mask (1 = token, 0 =
        padding); with `return_offsets` also `offsets`, a list of lists without padding.
        """
        if isinstance(text, str):
            if not (text_pair is None or isinstance(text_pair, str)):
                raise ValueError("a text needs one text pair, not several")
            return self.encode(text, text_pair, max_seq_len, return_offsets)
        pairs = [None] * len(text) if text_pair is None else list(text_pair)
        if len(pairs) != len(text):
            raise ValueError(f"{len(text)} texts, {len(pairs)} text pairs")
        rows = [self.encode(a, b, max_seq_len, return_offsets) for a, b in zip(text, pairs, strict=True)]
        batch: dict = self.pad(rows)
        if return_offsets:
            batch["offsets"] = [row["offsets"] for row in rows]
        return batch

    def pad(self, rows: Sequence[dict[str, list]]) -> dict[str, np.ndarray]:
        """Encoded rows as arrays [B, L], padded on the right to the longest row."""
        length = max((len(row["input_ids"]) for row in rows), default=0)
        input_ids = np.full((len(rows), length), self.vocabulary.pad_id, dtype=np.int64)  # [B, L]
        token_type_ids = np.zeros_like(input_ids)  # [B, L]
        attention_mask = np.zeros_like(input_ids)  # [B, L]
        for number, row in enumerate(rows):
            used = len(row["input_ids"])
            input_ids[number, :used] = row["input_ids"]
            token_type_ids[number, :used] = row["token_type_ids"]
            attention_mask[number, :used] = 1
        return {"input_ids": input_ids, "token_type_ids": token_type_ids, "attention_mask": attention_mask}

    # ids -> text

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of the tokens, joined; spaces only between words that are written in letters or digits."""
        text = ""
        for number in ids:
            token = self.vocabulary.tokens[int(number)]
            if token in SPECIAL_TOKENS:
                if not skip_special_tokens or token == "[UNK]":
                    text += token
                continue
            piece = surface(token)
            if text and piece is token and _is_letter(text[-1]) and _is_letter(piece[0]):
                text += " "
            text += piece
        return text

    # files

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Writes vocab.txt and tokenizer_config.json, which PaddleNLP reads too."""
        folder = Path(folder)
        self.vocabulary.save(folder / VOCABULARY_FILE)
        config = {
            "tokenizer_class": "ErnieTokenizer",
            "do_lower_case": self.do_lower_case,
            "model_max_length": self.max_seq_len,
            **{f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS},
        }
        with atomic_write(folder / TOKENIZER_CONFIG_FILE) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> "ErnieTokenizer":
        """Reads vocab.txt and, if there is one, tokenizer_config.json of a folder; or a published model's."""
        path = Path(folder) / TOKENIZER_CONFIG_FILE
        config = {}
        if path.is_file():
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"not JSON: {path}; {error}") from error
        length = config.get("model_max_length", 512)
        return cls(
            Vocabulary.load(folder),
            do_lower_case=bool(config.get("do_lower_case", True)),
            max_seq_len=length if isinstance(length, int) and 0 < length < 1_000_000 else 512,
        )


def _is_letter(char: str) -> bool:
    return char.isalnum() and not is_han(char)


def _truncate(first: list[Piece], second: list[Piece] | None, max_seq_len: int) -> tuple[list, list | None]:
    """Removes tokens from the end of the longer text, the second on a tie, until both fit."""
    limit = max_seq_len - (2 if second is None else 3)  # without the special tokens
    if limit < 1:
        raise UserError(f"max_seq_len too small: {max_seq_len}; give at least {max_seq_len - limit + 1}")
    if second is None:
        return first[:limit], None
    a, b = len(first), len(second)
    while a + b > limit:
        if a > b:
            a -= 1
        else:
            b -= 1
    return first[:a], second[:b]
