"""From sentences to samples: which run of tokens makes a row, and where it is split into segments A and B.

A sample is a run of sentences of one document, filled until the next sentence would not fit, so an epoch
shows every sentence once. (PaddleNLP and Megatron fill beyond the target length and drop the excess.) A
sentence longer than a row is split into chunks at word boundaries. A sample of one sentence has no sentence
order to predict: under SOP it is one segment, with a label that the loss ignores; under NSP it is split at a
word boundary.
"""

from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.dataset.batch import IGNORE_INDEX
from ernie_from_scratch.dataset.rng import Purpose, below_at, fold, uniform_at
from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus
from ernie_from_scratch.text.corpus.spans import ENTITY_START, TYPE_SHIFT, WORD_START

# One record of the sample table: where the sample is, the sentence that it starts in, and its document.
SAMPLE = np.dtype([("start", "<i8"), ("sentence", "<i8"), ("document", "<i4"), ("length", "<i4")])


@dataclass(frozen=True)
class SampleRules:
    """How documents become samples; tokens are counted without [CLS] and [SEP].

    The fingerprint of the data depends on the names of this class and its fields.
    """

    max_tokens: int
    sentence_pairs: str = DataSettings.sentence_pairs
    short_seq_prob: float = DataSettings.short_seq_prob
    max_sentences: int = DataSettings.max_sentences  # per sample; 0: as many as fit


@dataclass(frozen=True)
class Segments:
    """Token ranges [start, start + length) of A and B in the corpus; B may be empty."""

    a_start: int
    a_length: int
    b_start: int = 0
    b_length: int = 0
    label: int = 0  # SOP: 1 when swapped; NSP: 1 when B is random (BERT, section 3.1); or IGNORE_INDEX


def can_start_segment(corpus: PreparedCorpus, start: int, end: int) -> np.ndarray:
    """Whether a segment can start at each token of [start, end): at a word, not inside an entity ([n] bool)."""
    spans = corpus.spans[start:end]
    inside_entity = (spans >> TYPE_SHIFT != 0) & (spans & ENTITY_START == 0)
    return (spans & WORD_START != 0) & ~inside_entity


def split_long_sentence(corpus: PreparedCorpus, start: int, end: int, max_tokens: int) -> list[int]:
    """First tokens of a sentence's chunks: each at most max_tokens, about equal, at words where possible."""
    starts = [start]
    while end - start > max_tokens:
        remaining = end - start
        chunks = -(-remaining // max_tokens)
        length = -(-remaining // chunks)
        allowed = np.flatnonzero(can_start_segment(corpus, start + length // 2, start + length + 1))
        start += length // 2 + int(allowed[-1]) if allowed.size else length
        starts.append(start)
    return starts


def build_samples(corpus: PreparedCorpus, first: int, last: int, rules: SampleRules, key: int) -> np.ndarray:
    """The sample table of documents [first, last): SAMPLE records in corpus order.

    helpers_cpp/sampler_samples.h builds the same table.
    """
    table = []
    for document in range(first, last):
        table.extend(_samples_of_document(corpus, document, rules, fold(key, document)))
    return np.array(table, dtype=SAMPLE)


def _samples_of_document(
    corpus: PreparedCorpus, document: int, rules: SampleRules, key: int
) -> list[tuple[int, int, int, int]]:
    """(start, sentence, document, length) of each sample."""
    chunks = []  # (start, length, sentence): sentences, and the chunks of long ones
    for sentence in range(corpus.documents[document], corpus.documents[document + 1]):
        start, end = int(corpus.sentences[sentence]), int(corpus.sentences[sentence + 1])
        if end > start:
            starts = split_long_sentence(corpus, start, end, rules.max_tokens)
            ends = starts[1:] + [end]
            chunks.extend((a, b - a, sentence) for a, b in zip(starts, ends, strict=True))

    groups = []  # [first chunk, one past the last chunk, tokens]
    target = 0
    for number, (_, length, _) in enumerate(chunks):
        full = rules.max_sentences and groups and number - groups[-1][0] >= rules.max_sentences
        if not groups or full or groups[-1][2] + length > target:
            target = _target_length(key, len(groups), rules)
            groups.append([number, number, 0])
        groups[-1][1] = number + 1
        groups[-1][2] += length

    if rules.sentence_pairs != "none":
        _extend_last_group(chunks, groups, rules.max_tokens)
    if rules.sentence_pairs == "nsp":
        groups = [group for group in groups if group[2] > 1]  # one token cannot make a pair
    return [(chunks[first][0], chunks[first][2], document, length) for first, _, length in groups]


def _target_length(key: int, group: int, rules: SampleRules) -> int:
    """The row's length, or with short_seq_prob a random shorter one (BERT, appendix A.2)."""
    if uniform_at(key, 2 * group) < rules.short_seq_prob:
        return 2 + below_at(key, 2 * group + 1, rules.max_tokens - 1)
    return rules.max_tokens


def _extend_last_group(chunks: list[tuple[int, int, int]], groups: list[list[int]], max_tokens: int) -> None:
    """Move a chunk from the group before to a last group of one chunk, when that has three or more."""
    if len(groups) < 2 or groups[-1][1] - groups[-1][0] > 1 or groups[-2][1] - groups[-2][0] < 3:
        return
    moved = chunks[groups[-1][0] - 1][1]
    if groups[-1][2] + moved <= max_tokens:
        groups[-2][1] -= 1
        groups[-2][2] -= moved
        groups[-1][0] -= 1
        groups[-1][2] += moved


def is_valid_table(corpus: PreparedCorpus, table: np.ndarray, rules: SampleRules) -> bool:
    """Whether every record is inside the corpus, starts in its sentence and is short enough."""
    starts, lengths, sentences = table["start"], table["length"].astype(np.int64), table["sentence"]
    if not len(table):
        return True
    if lengths.min() < 1 or lengths.max() > rules.max_tokens or starts.min() < 0:
        return False
    if (
        sentences.min() < 0
        or sentences.max() >= len(corpus.sentences) - 1
        or np.any(np.diff(table["document"]) < 0)
    ):
        return False
    inside = (corpus.sentences[sentences] <= starts) & (starts < corpus.sentences[sentences + 1])
    return bool(inside.all() and (starts + lengths).max() <= len(corpus.ids))


def choose_segments(
    corpus: PreparedCorpus, table: np.ndarray, row: int, sentence_pairs: str, key: int
) -> Segments:
    """Split sample `row` into A and B, and swap them (SOP) or replace B (NSP) with probability 0.5."""
    start, length = int(table["start"][row]), int(table["length"][row])
    end = start + length
    if sentence_pairs == "none":
        return Segments(start, length)
    points = sentence_starts_inside(corpus, int(table["sentence"][row]), start, end)
    if not points.size and sentence_pairs == "sop":
        return Segments(start, length, label=IGNORE_INDEX)
    if not points.size:
        points = start + 1 + np.flatnonzero(can_start_segment(corpus, start + 1, end))
    if not points.size:
        points = np.arange(start + 1, end)
    split = int(points[below_at(fold(key, Purpose.SPLIT_POINT), 0, len(points))])
    if uniform_at(fold(key, Purpose.SWAP), 0) >= 0.5:
        return Segments(start, split - start, split, end - split)
    if sentence_pairs == "sop":
        return Segments(split, end - split, start, split - start, 1)
    other = _sample_of_another_document(table, row, key)
    # no longer than the B that it replaces, so that the length does not reveal the label
    b_length = min(int(table["length"][other]), end - split)
    return Segments(start, split - start, int(table["start"][other]), b_length, 1)


def sentence_starts_inside(corpus: PreparedCorpus, sentence: int, start: int, end: int) -> np.ndarray:
    """First tokens of the sentences that start strictly between start and end."""
    last = sentence + int(np.searchsorted(corpus.sentences[sentence:], end))
    return np.unique(corpus.sentences[sentence + 1 : last])


def _sample_of_another_document(table: np.ndarray, row: int, key: int) -> int:
    """A row of the table from another document, each with the same probability."""
    documents = table["document"]
    first = int(np.searchsorted(documents, documents[row], side="left"))
    last = int(np.searchsorted(documents, documents[row], side="right"))
    other = below_at(fold(key, Purpose.OTHER_DOCUMENT), 0, len(table) - (last - first))
    return other if other < first else other + (last - first)


def count_samples(
    corpus: PreparedCorpus, table: np.ndarray, first: int, last: int, rules: SampleRules
) -> dict[str, int]:
    """What became of documents [first, last).

    Returns:
        documents (with text), one_sentence_documents, sentences, long_sentences (split into chunks), tokens,
        samples, one_sentence_samples (without a pair under SOP, split in two under NSP), sample_tokens, and
        dropped_tokens (single tokens that cannot make a pair).
    """
    edges = corpus.documents[first : last + 1]
    lengths = np.diff(corpus.sentences[edges[0] : edges[-1] + 1])
    nonempty_before = np.concatenate([[0], np.cumsum(lengths > 0)])
    per_document = np.diff(nonempty_before[edges - edges[0]])
    starts, ends = table["start"], table["start"] + table["length"]
    next_sentence = corpus.sentences[np.minimum(table["sentence"] + 1, len(corpus.sentences) - 1)]
    pairs = rules.sentence_pairs != "none"
    tokens, sample_tokens = int(lengths.sum()), int((ends - starts).sum())
    return {
        "documents": int((per_document > 0).sum()),
        "one_sentence_documents": int((per_document == 1).sum()),
        "sentences": int((lengths > 0).sum()),
        "long_sentences": int((lengths > rules.max_tokens).sum()),
        "tokens": tokens,
        "samples": len(table),
        "one_sentence_samples": int((next_sentence >= ends).sum()) if pairs else 0,
        "sample_tokens": sample_tokens,
        "dropped_tokens": tokens - sample_tokens,
    }
