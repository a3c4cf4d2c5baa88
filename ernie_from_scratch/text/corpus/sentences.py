"""Where one sentence ends and the next begins, in Chinese running text."""

import re

from ernie_from_scratch.text.settings import EncodingSettings

END_MARKS = "。！？；…"
CLOSING_MARKS = "”’」』》）〉】〕)\"'"

# A sentence ends after marks and the quotes that close after them, or at a line's end.
_SENTENCE = re.compile(rf"[^{END_MARKS}\n]*(?:[{END_MARKS}]+[{CLOSING_MARKS}]*)+|[^{END_MARKS}\n]+")


def split_sentences(text: str, splitter: str = EncodingSettings.split_sentences) -> list[str]:
    """The sentences of `text`, without the white space around them; empty ones are left out.

    splitter "punctuation" ends a sentence at 。！？；… with closing quotes, and at newlines; "newline" at
    newlines only.
    """
    parts = text.split("\n") if splitter == "newline" else _SENTENCE.findall(text)
    return [part for part in map(str.strip, parts) if part]
