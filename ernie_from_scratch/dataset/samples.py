"""From sentences to samples: which run of tokens makes a row, and where the row is cut into segments A and B.

A sample is a run of whole sentences of one document, packed until the next one would not fit. So an epoch
shows every sentence once. (PaddleNLP and Megatron fill beyond the target and throw the excess away.) A
sentence longer than a row is split at word boundaries. A sample of one sentence has no order to ask about: under
SOP it stays whole, with a label that the loss leaves out; under NSP it is cut at a word boundary.
"""

from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.dataset.indexed import IndexedCorpus
from ernie_from_scratch.dataset.rng import Purpose, below_at, fold, uniform_at
from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.spans import ENTITY_START, TYPE_SHIFT, WORD_START

NOT_ASKED = -100  # label of a row without a pair; losses leave negative labels out

# One row of the sample table: where the sample is, the sentence that it starts in, and its document.
SAMPLE = np.dtype([("start", "<i8"), ("sentence", "<i8"), ("document", "<i4"), ("length", "<i4")])


@dataclass(frozen=True)
class SampleRules:
    """How documents become samples; tokens are counted without [CLS] and [SEP]."""

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
    label: int = (
        0  # SOP: 1 when swapped; NSP: 1 when B comes from another document (BERT, section 3.1); or NOT_ASKED
    )


def may_start_here(corpus: IndexedCorpus, tokens: TokenTable, start: int, end: int) -> np.ndarray:
    """Whether a segment may begin at each token of [start, end): at a word, not inside an entity."""
    if corpus.spans is None:
        return ~tokens.continuation[tokens.checked(corpus, start, end)]
    spans = corpus.spans[start:end]
    inside_entity = (spans >> TYPE_SHIFT != 0) & (spans & ENTITY_START == 0)
    return (spans & WORD_START != 0) & ~inside_entity


def split_long_sentence(corpus, tokens, start: int, end: int, max_tokens: int) -> list[int]:
    """Begins of a sentence's pieces: each at most max_tokens, about equal, cut at words where possible."""
    begins = [start]
    while end - start > max_tokens:
        remaining = end - start
        pieces = -(-remaining // max_tokens)
        wanted = -(-remaining // pieces)
        allowed = np.flatnonzero(may_start_here(corpus, tokens, start + wanted // 2, start + wanted + 1))
        start += wanted // 2 + int(allowed[-1]) if allowed.size else wanted
        begins.append(start)
    return begins


def build_samples(
    corpus: IndexedCorpus, tokens: TokenTable, first: int, last: int, rules: SampleRules, key: int
):
    """The sample table of documents [first, last): SAMPLE records in corpus order.

    helpers_cpp/sampler_samples.h builds the same one.
    """
    table = []
    for document in range(first, last):
        table.extend(_samples_of_document(corpus, tokens, document, rules, fold(key, document)))
    return np.array(table, dtype=SAMPLE)


def _samples_of_document(corpus, tokens, document, rules, key):
    pieces = []  # (start, length, sentence)
    for sentence in range(corpus.documents[document], corpus.documents[document + 1]):
        start, end = int(corpus.sentences[sentence]), int(corpus.sentences[sentence + 1])
        if end > start:
            begins = split_long_sentence(corpus, tokens, start, end, rules.max_tokens)
            ends = begins[1:] + [end]
            pieces.extend((b, e - b, sentence) for b, e in zip(begins, ends, strict=True))

    groups = []  # [first piece, one past the last piece, tokens]
    target = 0
    for number, (_, length, _) in enumerate(pieces):
        full = rules.max_sentences and groups and number - groups[-1][0] >= rules.max_sentences
        if not groups or full or groups[-1][2] + length > target:
            target = _target_length(key, len(groups), rules)
            groups.append([number, number, 0])
        groups[-1][1] = number + 1
        groups[-1][2] += length

    if rules.sentence_pairs != "none":
        _share_last_sentence(pieces, groups, rules.max_tokens)
    if rules.sentence_pairs == "nsp":
        groups = [group for group in groups if group[2] > 1]  # one token cannot make a pair
    return [(pieces[begin][0], pieces[begin][2], document, length) for begin, _, length in groups]


def _target_length(key: int, group: int, rules: SampleRules) -> int:
    """The row's length, or with short_seq_prob a random shorter one (BERT, appendix A.2)."""
    if uniform_at(key, 2 * group) < rules.short_seq_prob:
        return 2 + below_at(key, 2 * group + 1, rules.max_tokens - 1)
    return rules.max_tokens


def _share_last_sentence(pieces, groups, max_tokens):
    """Give a last sample of one sentence a second one from the sample before, when that has three or more."""
    if len(groups) < 2 or groups[-1][1] - groups[-1][0] > 1 or groups[-2][1] - groups[-2][0] < 3:
        return
    moved = pieces[groups[-1][0] - 1][1]
    if groups[-1][2] + moved <= max_tokens:
        groups[-2][1] -= 1
        groups[-2][2] -= moved
        groups[-1][0] -= 1
        groups[-1][2] += moved


def table_fits(corpus: IndexedCorpus, table: np.ndarray, rules: SampleRules) -> bool:
    """Whether every record lies in the corpus, starts in its sentence and is short enough."""
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


def choose_segments(corpus, tokens, table: np.ndarray, row: int, pairs: str, key: int) -> Segments:
    """Cut sample `row` into A and B, and swap them (SOP) or replace B (NSP) with probability 0.5."""
    start, length = int(table["start"][row]), int(table["length"][row])
    end = start + length
    if pairs == "none":
        return Segments(start, length)
    starts = sentence_starts_inside(corpus, int(table["sentence"][row]), start, end)
    if not starts.size and pairs == "sop":
        return Segments(start, length, label=NOT_ASKED)
    if not starts.size:
        starts = start + 1 + np.flatnonzero(may_start_here(corpus, tokens, start + 1, end))
    if not starts.size:
        starts = np.arange(start + 1, end)
    cut = int(starts[below_at(fold(key, Purpose.CUT), 0, len(starts))])
    changed = uniform_at(fold(key, Purpose.SWAP), 0) < 0.5
    if not changed:
        return Segments(start, cut - start, cut, end - cut)
    if pairs == "sop":
        return Segments(cut, end - cut, start, cut - start, 1)
    other = _other_document(table, row, key)
    # As long as the B it replaces, so that the length says nothing.
    return Segments(
        start, cut - start, int(table["start"][other]), min(int(table["length"][other]), end - cut), 1
    )


def sentence_starts_inside(corpus: IndexedCorpus, sentence: int, start: int, end: int) -> np.ndarray:
    """First tokens of the sentences that begin strictly between start and end."""
    last = sentence + int(np.searchsorted(corpus.sentences[sentence:], end))
    return np.unique(corpus.sentences[sentence + 1 : last])


def _other_document(table: np.ndarray, row: int, key: int) -> int:
    """A sample of another document, each as likely."""
    documents = table["document"]
    begin = int(np.searchsorted(documents, documents[row], side="left"))
    end = int(np.searchsorted(documents, documents[row], side="right"))
    other = below_at(fold(key, Purpose.OTHER), 0, len(table) - (end - begin))
    return other if other < begin else other + (end - begin)


def count_samples(
    corpus: IndexedCorpus, table: np.ndarray, first: int, last: int, rules: SampleRules
) -> dict[str, int]:
    """What became of documents [first, last).

    Returns:
        documents (with text), one_sentence_documents, sentences, long_sentences (split into pieces), tokens,
        samples, one_sentence_samples (whole without a pair under SOP, cut in two under NSP), sample_tokens, and
        dropped_tokens (single tokens that cannot make a pair).
    """
    edges = corpus.documents[first : last + 1]
    lengths = np.diff(corpus.sentences[edges[0] : edges[-1] + 1])
    real_before = np.concatenate([[0], np.cumsum(lengths > 0)])
    per_document = np.diff(real_before[edges - edges[0]])
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
