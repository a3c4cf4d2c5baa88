"""Settings of `ernie prepare` and `ernie vocab`: how raw text is read, segmented and encoded."""

from dataclasses import dataclass
from functools import partial

from ernie_from_scratch.utils.machine import available_cores
from ernie_from_scratch.utils.settings import REQUIRED, Settings, inherit, option

FORMATS = ("auto", "txt", "jsonl")
SEGMENTERS = ("builtin", "jieba", "rjieba", "lac", "none")
WORD_MARKS = ("position", "paddlenlp")
SPLITTERS = ("punctuation", "newline")
LONGEST_SENTENCE = 1_000_000  # tokens, the most that max_sentence_length may be

words = partial(option, group="tokens and sentences")
files = partial(option, group="input and output")


@dataclass
class EncodingSettings(Settings):
    """What decides the ids and boundaries of a prepared corpus, besides the text and the vocabulary."""

    segmenter: str = words("builtin", "finds the words; lac finds entities too", choices=SEGMENTERS)
    user_dict: str | None = words(
        None, "own words: word [frequency] [PER|LOC|ORG|TIME|WORK|OTHER] per line", path=True
    )
    lac_model: str | None = words(
        None, "folder lac_model of the LAC package; default: the installed one", path=True
    )
    word_marks: str = words(
        "position",
        "how tokens inside a word get their ##: position (exact), or paddlenlp (the ids of its tools)",
        choices=WORD_MARKS,
    )
    do_lower_case: bool = words(True, "lower case, and no accents")
    split_sentences: str = words(
        "punctuation",
        "where sentences end: punctuation (。！？；… and newlines) or newline",
        choices=SPLITTERS,
    )
    max_sentence_length: int = words(
        512, "tokens; longer sentences are split", minimum=2, maximum=LONGEST_SENTENCE
    )
    min_document_length: int = words(10, "characters; shorter documents are dropped")
    format: str = files("auto", "of the files; auto: by their names", choices=FORMATS)
    json_key: str = files("text", "key of the text in .jsonl")


@dataclass
class PreparationSettings(EncodingSettings):
    """The options of `text.corpus.prepare.prepare`."""

    workers: int = files(1, "processes; the result does not depend on it", minimum=1)
    shuffle: bool = files(False, "put the documents in a random order")
    seed: int = files(1234, "seed of the random order", minimum=0)


@dataclass
class PrepareSettings(PreparationSettings):
    """Settings of `ernie prepare`."""

    input: list[str] = files(REQUIRED, "files, folders, or - for standard input", path=True)
    output: str = files(REQUIRED, "prefix of the files to write", path=True, metavar="PREFIX")
    vocab: str = files(
        REQUIRED,
        "vocabulary: a file, a folder with vocab.txt, or a published model",
        path=True,
        metavar="FILE_OR_NAME",
    )
    keep_case: bool = words(False, "the same as --do_lower_case false")
    workers: int = inherit(default=available_cores(), help="processes; default: the cores of this machine")

    def check(self) -> "PrepareSettings":
        """As `Settings.check`; --keep_case becomes do_lower_case."""
        super().check()
        self.do_lower_case = self.do_lower_case and not self.keep_case
        return self


@dataclass
class VocabularySettings(Settings):
    """Settings of `ernie vocab`; also the defaults of `build_vocabulary`."""

    input: list[str] = inherit(PrepareSettings)
    output: str = files(REQUIRED, "vocabulary to write, one token per line", path=True)
    size: int = words(18_000, "most tokens")
    min_count: int = words(2, "rarer characters are left out")
    format: str = inherit(EncodingSettings)
    json_key: str = inherit(EncodingSettings)
    do_lower_case: bool = inherit(EncodingSettings)
    keep_case: bool = inherit(PrepareSettings)

    def check(self) -> "VocabularySettings":
        """As `Settings.check`; --keep_case becomes do_lower_case."""
        super().check()
        self.do_lower_case = self.do_lower_case and not self.keep_case
        return self
