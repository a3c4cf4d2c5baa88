"""Fuzz targets of the text helpers: equal to the Python versions, and hostile arguments are refused."""

import functools

from hypothesis import given
from hypothesis import strategies as st
from text_helpers import both_encode_alike, marked_texts, small_vocabulary, texts, without_cpp

from ernie_from_scratch import native
from ernie_from_scratch.text.corpus.native_encoding import NativeSegmenter, character_table
from ernie_from_scratch.text.segmenters.dictionary import DictionarySegmenter
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

REFUSALS = (ValueError, TypeError, OverflowError)
ANY_TEXT = st.one_of(texts(), st.text(st.characters(exclude_categories=()), max_size=30))
NUMBER = st.one_of(
    st.integers(-2, 40), st.sampled_from([-(2**63), 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**64])
)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@functools.cache
def segmenters():
    """The Python one and the C++ one."""
    return DictionarySegmenter(), NativeSegmenter()


@functools.cache
def tokenizers():
    with without_cpp():
        slow = ErnieTokenizer(small_vocabulary())
        slow.tokenize("a")
    return slow, native.helpers().WordPiece(small_vocabulary().tokens, *character_table(True))


@given(text=ANY_TEXT, hmm=st.booleans())
def words_equal(text, hmm):
    slow, fast = segmenters()
    words = fast.words(text, hmm)
    assert words == slow.words(text, hmm) and "".join(words) == text


@given(text=ANY_TEXT)
def wordpiece_equal(text):
    slow, fast = tokenizers()
    with without_cpp():
        expected = slow.tokenize(text)
    assert [small_vocabulary().tokens[i] for i, _, _ in fast.tokenize(text, True)] == expected


@given(
    marks=st.sampled_from(["position", "paddlenlp"]),
    lower=st.booleans(),
    splitter=st.sampled_from(["punctuation", "newline"]),
    longest=st.integers(2, 30),
    marked=st.lists(marked_texts(), max_size=3),
)
def encode_equal(marks, lower, splitter, longest, marked):
    assert both_encode_alike(*segmenters(), marked, marks, lower, splitter, longest)


@st.composite
def dictionaries(draw):
    """The text of a dictionary, lines mostly "word count tag"."""
    word = st.text(st.sampled_from("中国人民的A1 é🙂"), max_size=5)
    count = st.one_of(NUMBER.map(str), st.sampled_from(["", "x", "-", "9" * 30]))
    lines = draw(st.lists(st.one_of(st.builds("{} {} n".format, word, count), ANY_TEXT), max_size=8))
    return "\n".join(lines)


@given(
    dictionary=dictionaries(),
    start=st.lists(FLOATS, min_size=3, max_size=5),
    rows=st.lists(st.lists(FLOATS, min_size=3, max_size=5), min_size=3, max_size=5),
    emission_rows=st.sampled_from([0, 1, 0x9FD5 - 0x4E00 + 1, 30000]),
    own_words=st.lists(st.tuples(ANY_TEXT, NUMBER, NUMBER), max_size=3),
    vocabulary=st.one_of(
        st.just(small_vocabulary().tokens), st.lists(ANY_TEXT, max_size=12), st.just(["[UNK]", "##", "", "中", "##中"])
    ),
    expansions=st.one_of(
        st.none(),
        st.dictionaries(NUMBER, st.lists(st.tuples(NUMBER, NUMBER, NUMBER, st.booleans()), max_size=3), max_size=3),
    ),
    longest=NUMBER,
    text=ANY_TEXT,
    words=st.one_of(st.none(), st.lists(ANY_TEXT, max_size=4), st.just("whole")),
    spans=st.lists(st.tuples(NUMBER, NUMBER, NUMBER), max_size=4),
)  # fmt: skip
def hostile_arguments(
    dictionary, start, rows, emission_rows, own_words, vocabulary, expansions, longest, text, words, spans
):
    helpers = native.helpers()
    segmenter = None
    try:
        emission = [[-1.0] * 4] * emission_rows
        segmenter = helpers.Segmenter(dictionary, start, rows, emission)
        for word in own_words:
            segmenter.add_word(*word)
        assert "".join(segmenter.words(text, True)) == text
    except REFUSALS:
        pass
    try:
        kinds, known = character_table(True)
        pieces = helpers.WordPiece(vocabulary, kinds, known if expansions is None else expansions)
        pieces.tokenize(text, True)
        encoder = helpers.Encoder(pieces, segmenter, bool(longest % 2), False, longest)
        encoder.add_text(text)
        encoder.add_sentence(text, [text] if words == "whole" else words, spans, spans[:1])
    except REFUSALS:
        return
    encoder.end_document()
    ids = encoder.take()[0]
    assert not len(ids) or int(ids.max()) < len(vocabulary)
