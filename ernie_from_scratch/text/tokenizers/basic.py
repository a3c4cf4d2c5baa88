"""BERT's basic tokenization: the words that WordPiece will see, with the place of every character.

As in PaddleNLP's BasicTokenizer, which treats symbols (category S) like punctuation.
"""

import unicodedata
from functools import lru_cache

DROPPED, SPACE, HAN, SINGLE, LETTER = range(5)  # what a character does: SINGLE = a token of its own
EXTRA_SYMBOLS = frozenset(
    "\u00ad\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1"
)  # treated as symbols by PaddleNLP


def is_han(char: str) -> bool:
    """Whether the character is in one of the CJK ideograph blocks that BERT splits at."""
    code = ord(char)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )


def is_single(char: str) -> bool:
    """Whether the character is punctuation or a symbol: always a token of its own."""
    if char.isascii():
        return char.isprintable() and not char.isalnum() and char != " "
    return unicodedata.category(char)[0] in "PS" or char in EXTRA_SYMBOLS


@lru_cache(maxsize=1 << 17)
def analyse(char: str, do_lower_case: bool) -> tuple[tuple[int, str], ...]:
    """What basic tokenization makes of one character: (class, character) pairs, usually one, sometimes none.

    Lower case and canonical decomposition (NFD) may give several; combining marks are still in, see
    `words_of`.
    """
    out = []
    for lowered in char.lower() if do_lower_case else char:
        category = unicodedata.category(lowered)
        if lowered in "\t\n\r" or category[0] == "Z":
            out.append((SPACE, " "))
        elif lowered == "\ufffd" or category[0] == "C":
            continue
        elif is_han(lowered):
            out.append((HAN, unicodedata.normalize("NFD", lowered) if do_lower_case else lowered))
        elif do_lower_case:
            for part in unicodedata.normalize("NFD", lowered):
                out.append((SINGLE if is_single(part) else LETTER, part))
        else:
            out.append((SINGLE if is_single(lowered) else LETTER, lowered))
    return tuple(out)


class BasicTokenizer:
    """Splits text at spaces, around each Han character and around each punctuation mark; lower-cases, drops
    accents.
    """

    def __init__(self, do_lower_case: bool = True):
        self.do_lower_case = do_lower_case

    def words(self, text: str) -> list[str]:
        return [word for word, _ in self.words_with_positions(text)]

    def words_with_positions(self, text: str) -> list[tuple[str, list[int]]]:
        """Each word with the position in `text` of each of its characters."""
        words: list[tuple[str, list[int]]] = []
        run: list[
            tuple[int, str, int]
        ] = []  # (class, character, position) since the last space or Han character

        def close_run():
            if run:
                words.extend(self._split_run(run))
                run.clear()

        for position, char in enumerate(text):
            for kind, part in analyse(char, self.do_lower_case):
                if kind == SPACE:
                    close_run()
                elif kind == HAN:
                    close_run()
                    words.append((part, [position] * len(part)))
                else:
                    run.append((kind, part, position))
        close_run()
        return words

    def _split_run(self, run: list[tuple[int, str, int]]) -> list[tuple[str, list[int]]]:
        if self.do_lower_case:
            run = _without_accents(run)
        words: list[tuple[str, list[int]]] = []
        open_word = False
        for kind, part, position in run:
            if open_word and kind == LETTER:
                word, positions = words[-1]
                words[-1] = (word + part, positions)
                positions.append(position)
            else:
                words.append((part, [position]))
            open_word = kind == LETTER
        return words


def _without_accents(run: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Canonical ordering of combining characters (Unicode, D109), then nonspacing marks (Mn) are dropped."""
    if not any(unicodedata.combining(part) or unicodedata.category(part) == "Mn" for _, part, _ in run):
        return run
    ordered: list[tuple[int, str, int]] = []
    start = 0  # of the current row of combining characters, which a stable sort puts in order
    for item in run:
        if unicodedata.combining(item[1]) == 0:
            ordered[start:] = sorted(ordered[start:], key=lambda x: unicodedata.combining(x[1]))
            ordered.append(item)
            start = len(ordered)
        else:
            ordered.append(item)
    ordered[start:] = sorted(ordered[start:], key=lambda x: unicodedata.combining(x[1]))
    return [item for item in ordered if unicodedata.category(item[1]) != "Mn"]
