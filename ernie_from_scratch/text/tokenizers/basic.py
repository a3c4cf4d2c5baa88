"""BERT's basic tokenization: text to the words that WordPiece splits, with the position of each character.

As in PaddleNLP's BasicTokenizer, which treats symbols (category S) as punctuation.
"""

import unicodedata
from functools import lru_cache

DROPPED, SPACE, HAN, PUNCTUATION, LETTER = range(5)  # classes of characters; symbols are PUNCTUATION
EXTRA_SYMBOLS = frozenset("\u00ad\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1")  # symbols for PaddleNLP


def is_han(char: str) -> bool:
    """Whether the character is in one of the blocks of CJK ideographs that BERT makes tokens of their own."""
    code = ord(char)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )


def is_punctuation(char: str) -> bool:
    """Whether the character is punctuation or a symbol, which is always a token of its own."""
    if char.isascii():
        return char.isprintable() and not char.isalnum() and char != " "
    return unicodedata.category(char)[0] in "PS" or char in EXTRA_SYMBOLS


@lru_cache(maxsize=1 << 17)
def analyse(char: str, do_lower_case: bool) -> tuple[tuple[int, str], ...]:
    """One character after lower case and canonical decomposition: (class, character) pairs.

    Usually one pair, none for control characters. Combining marks are kept; `_strip_accents` drops them.
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
                out.append((PUNCTUATION if is_punctuation(part) else LETTER, part))
        else:
            out.append((PUNCTUATION if is_punctuation(lowered) else LETTER, lowered))
    return tuple(out)


class BasicTokenizer:
    """Splits text at spaces and around each Han character and punctuation mark.

    With `do_lower_case` it also lower-cases and strips accents.
    """

    def __init__(self, do_lower_case: bool = True):
        self.do_lower_case = do_lower_case

    def words(self, text: str) -> list[str]:
        return [word for word, _ in self.words_with_positions(text)]

    def words_with_positions(self, text: str) -> list[tuple[str, list[int]]]:
        """Each word with the position in `text` of each of its characters."""
        words: list[tuple[str, list[int]]] = []
        # (class, character, position) since the last space or Han character
        run: list[tuple[int, str, int]] = []

        def close_run() -> None:
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
            run = _strip_accents(run)
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


def _strip_accents(run: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Orders combining characters canonically (Unicode, D109), then drops nonspacing marks (Mn)."""
    if not any(unicodedata.combining(part) or unicodedata.category(part) == "Mn" for _, part, _ in run):
        return run
    ordered: list[tuple[int, str, int]] = []
    start = 0  # of the current sequence of combining characters, which a stable sort puts in order
    for item in run:
        if unicodedata.combining(item[1]) == 0:
            ordered[start:] = sorted(ordered[start:], key=lambda x: unicodedata.combining(x[1]))
            ordered.append(item)
            start = len(ordered)
        else:
            ordered.append(item)
    ordered[start:] = sorted(ordered[start:], key=lambda x: unicodedata.combining(x[1]))
    return [item for item in ordered if unicodedata.category(item[1]) != "Mn"]
