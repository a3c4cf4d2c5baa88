"""Sentence splitting of Chinese running text."""

import re

from ernie_from_scratch.text.settings import EncodingSettings

END_MARKS = "。！？；…"
CLOSING_MARKS = "”’」』》）〉】〕)\"'"

# A sentence ends after end marks and the closing quotes that follow them, or at the end of a line.
_SENTENCE = re.compile(rf"[^{END_MARKS}\n]*(?:[{END_MARKS}]+[{CLOSING_MARKS}]*)+|[^{END_MARKS}\n]+")


def split_sentences(text: str, splitter: str = EncodingSettings.split_sentences) -> list[str]:
    """The sentences of `text`, stripped of white space; empty ones are left out.

    Args:
        splitter: "punctuation" splits after 。！？；… with closing quotes, and at newlines; "newline" only at
            newlines.
    """
    sentences = text.split("\n") if splitter == "newline" else _SENTENCE.findall(text)
    return [sentence for sentence in map(str.strip, sentences) if sentence]
