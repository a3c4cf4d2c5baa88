"""Sentences to ids and span bits: rules by hand, invariants, PaddleNLP's rule, and C++ against Python."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_helpers import PARAGRAPHS, both_encode_alike, marked_texts, small_vocabulary, texts, without_cpp

from ernie_from_scratch import native
from ernie_from_scratch.text.corpus.encoding import PythonEncoder, paddlenlp_continuations, split_points
from ernie_from_scratch.text.corpus.native_encoding import NativeEncoder, builtin_segmenter
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    KIND_CODES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
    entity_runs,
    phrase_runs,
    word_runs,
)
from ernie_from_scratch.text.segmenters.dictionary import CharacterSegmenter
from ernie_from_scratch.text.segmenters.segmenter import make_segmenter
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer


class FixedWords:
    """A segmenter for tests: words are given, separated by |."""

    name = "fixed"

    def words(self, text):
        return self.cut

    def entities(self, text, words):
        return []


def encode(words: str, spans=(), marks="position", vocabulary=None):
    """(tokens, bits) of the text "ab|c", spans as (start, end, kind)."""
    segmenter = FixedWords()
    segmenter.cut = words.split("|")
    encoder = PythonEncoder(vocabulary or small_vocabulary(), segmenter, marks)
    encoder.add_sentence("".join(segmenter.cut), [(a, b, KIND_CODES[kind]) for a, b, kind in spans])
    encoded = encoder.take()
    return [encoder.vocabulary.tokens[i] for i in encoded.ids], encoded.bits


def joined(tokens, runs):
    return ["".join(t.removeprefix("##") for t in tokens[run[0] : run[1]]) for run in runs]


def test_words_by_position():
    tokens, bits = encode("哈尔滨|是|黑龙江|的|省会|，|iPhone15|！")
    assert tokens[:9] == ["哈", "##尔", "##滨", "是", "黑", "##龙", "##江", "的", "省"]
    assert joined(tokens, word_runs(bits)) == ["哈尔滨", "是", "黑龙江", "的", "省会", "，", "iphone15", "！"]
    assert word_runs(bits) == phrase_runs(bits)
    assert entity_runs(bits) == []


def test_entities_and_phrases():
    spans = [(0, 3, "LOC"), (4, 7, "LOC"), (4, 10, "PHRASE")]
    tokens, bits = encode("哈尔滨|是黑|龙江|的|省|会", spans)
    assert joined(tokens, word_runs(bits)) == ["哈尔滨", "是", "黑", "龙江", "的", "省", "会"]
    assert joined(tokens, phrase_runs(bits)) == ["哈尔滨", "是", "黑龙江的省会"]
    assert [(a, b, kind) for a, b, kind in entity_runs(bits)] == [(0, 3, "LOC"), (4, 7, "LOC")]
    assert tokens[4:7] == ["黑", "龙", "##江"]  # 黑 starts an entity, 龙江 is the segmenter's word inside


def test_word_spans_replace_the_segmenters_words():
    tokens, bits = encode("哈|尔|滨|是|黑|龙江|的", [(0, 3, "WORD"), (4, 7, "WORD")])
    assert joined(tokens, word_runs(bits)) == ["哈尔滨", "是", "黑龙江", "的"]


def test_neighbouring_entities_of_one_type_stay_apart():
    tokens, bits = encode("北京|大学", [(0, 2, "LOC"), (2, 4, "LOC")])
    assert entity_runs(bits) == [(0, 2, "LOC"), (2, 4, "LOC")]
    tokens, bits = encode("北京|大学", [(0, 2, "LOC"), (2, 4, "ORG")])
    assert entity_runs(bits) == [(0, 2, "LOC"), (2, 4, "ORG")]


def test_of_entities_that_overlap_the_longer_wins():
    _, bits = encode("北京|大学|的", [(0, 2, "LOC"), (0, 4, "ORG"), (3, 5, "PER")])
    assert entity_runs(bits) == [(0, 4, "ORG")]


def test_a_phrase_that_would_split_an_entity_is_ignored():
    tokens, bits = encode("北京大学|的|学生", [(0, 4, "ORG"), (2, 7, "PHRASE")])
    assert joined(tokens, phrase_runs(bits)) == ["北京大学", "的", "学生"]


def test_spans_inside_a_latin_word_and_unknown_characters_keep_their_place():
    tokens, bits = encode("iPhone15|的|㐀㐁|学", [(6, 8, "OTHER"), (9, 11, "PER")])
    assert entity_runs(bits)[-1][2] == "PER"
    first, last, _ = entity_runs(bits)[-1]
    assert tokens[first:last] == ["[UNK]", "[UNK]"]
    assert entity_runs(bits)[0][2] == "OTHER"


def test_no_mark_where_the_vocabulary_has_none():
    vocabulary = Vocabulary([t for t in small_vocabulary().tokens if t != "##尔"])
    tokens, bits = encode("哈尔滨", vocabulary=vocabulary)
    assert tokens == ["哈", "尔", "##滨"]
    assert word_runs(bits) == [(0, 3)]


def test_special_tokens_in_raw_text_are_plain_text_unless_paddlenlps_ids_are_wanted():
    assert "[MASK]" not in encode("[MASK]|的")[0]
    assert "[MASK]" in encode("[MASK]|的", marks="paddlenlp")[0]


@settings(max_examples=300, deadline=None)
@given(marked=marked_texts())
def test_invariants(marked):
    text, spans = marked
    encoder = PythonEncoder(small_vocabulary(), CharacterSegmenter(), max_sentence_length=7)
    encoder.add_sentence(text, spans)
    encoder.end_document()
    encoded = encoder.take()
    assert len(encoded.ids) == len(encoded.bits) == encoded.lens.sum()
    assert (encoded.lens > 0).all() and (encoded.lens <= 7).all()
    assert encoded.docs.tolist() == ([len(encoded.lens)] if len(encoded.lens) else [])
    bits = encoded.bits
    starts = np.concatenate([[0], np.cumsum(encoded.lens)[:-1]]) if len(encoded.lens) else []
    both = WORD_START | PHRASE_START
    assert all(bits[start] & both == both for start in starts)
    assert ((bits & PHRASE_START == 0) | (bits & WORD_START > 0)).all()
    assert ((bits & ENTITY_START == 0) | ((bits & WORD_START > 0) & (bits >> TYPE_SHIFT > 0))).all()
    types = bits >> TYPE_SHIFT
    changed = np.flatnonzero(np.diff(types.astype(int)) != 0) + 1
    assert ((types[changed] == 0) | (bits[changed] & ENTITY_START > 0)).all()


def test_long_sentences_are_split_between_words_and_outside_entities():
    bits = np.full(30, WORD_START | PHRASE_START, np.uint8)
    assert split_points(bits, 30) == [0, 30]
    assert split_points(bits, 12) == [0, 12, 24, 30]
    bits[11:14] &= 0xFF ^ PHRASE_START
    assert split_points(bits, 12) == [0, 10, 22, 30]
    bits[:] = 0
    assert split_points(bits, 12) == [0, 12, 24, 30]
    bits[9] = WORD_START
    assert split_points(bits, 12) == [0, 9, 21, 30]
    bits[8:11] = 1 << TYPE_SHIFT | WORD_START
    assert split_points(bits, 12) == [0, 12, 24, 30]


# PaddleNLP's rule


def paddlenlp_marks(tokens, words, max_word_length=6):
    """Straight from the rule's description: `get_whole_word_mask_tokens` of the ernie-1.0 tools, as tokens."""
    words_set, out, i = set(words), [], 0
    while i < len(tokens):
        found = 1
        if re.search("[\u4e00-\u9fa5]", tokens[i]):
            for length in range(max_word_length, 0, -1):
                if i + length <= len(tokens) and "".join(tokens[i : i + length]) in words_set:
                    found = length
                    break
        out += [tokens[i], *("##" + token for token in tokens[i + 1 : i + found])]
        i += found
    return out


@settings(max_examples=300, deadline=None)
@given(text=texts(), cuts=st.lists(st.integers(0, 80)))
def test_set_rule_equals_its_description(text, cuts):
    tokens = ErnieTokenizer(small_vocabulary()).tokenize(text)
    edges = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    words = [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    marked = paddlenlp_continuations(tokens, words)
    expected = paddlenlp_marks(tokens, words)
    assert [f"##{t}" if m else t for t, m in zip(tokens, marked, strict=True)] == expected


def test_set_rule_marks_a_word_wherever_it_was_found():
    """研究 was a word once, so the 研究 of 研究生 is one too: the reason why positions are the default."""
    text = "研究|研究生|命"
    assert encode(text, marks="paddlenlp")[0] == ["研", "##究", "研", "##究", "##生", "命"]
    text = "生命|研究生|命"
    assert encode(text, marks="paddlenlp")[0] == ["生", "##命", "研", "##究", "##生", "命"]
    text = "究生命|研|究生|命"
    assert encode(text, marks="paddlenlp")[0][3:] == ["研", "究", "##生", "##命"]
    assert encode(text)[0][3:] == ["研", "究", "##生", "命"]


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ernie_1.0_zh_vocab.txt", "ernie_3.0_vocab.txt"])
def test_ids_equal_paddlenlp_on_real_text(real_data, tmp_path, name):
    """Its tokenizer, jieba, and the rule as described above, against word_marks="paddlenlp"."""
    transformers = pytest.importorskip("paddlenlp.transformers")
    import jieba

    jieba.setLogLevel(60)
    vocabulary = Vocabulary.load(real_data / "vocab" / name)
    ErnieTokenizer(vocabulary).save_pretrained(tmp_path)
    peer = transformers.ErnieTokenizer.from_pretrained(str(tmp_path))
    peer.extend_chinese_char()
    lines = (real_data / "corpus" / "zhwiki_sample.txt").read_text(encoding="utf-8").split("\n")[::12]
    with gzip.open(
        real_data / "corpus" / "CLUECorpusSmall_bert_sampled.txt.gz", "rt", encoding="utf-8"
    ) as file:
        lines += file.read().split("\n")[::20]
    for corpus in ("histories_modern_zh", "laws_zh", "mlqa_zh_contexts"):
        with gzip.open(real_data / "corpus" / f"{corpus}.txt.gz", "rt", encoding="utf-8") as file:
            text = [line for line in file.read().split("\n") if line.strip()]
            lines += text[:: len(text) // 300]
    marked = Vocabulary([*vocabulary.tokens, *vocabulary.missing_continuations()])
    lines = (
        lines[::3] if vocabulary.missing_continuations() else lines
    )  # PaddleNLP is slow with 20,000 added tokens
    encoder = make_encoder("paddlenlp", "newline", marked)
    different = sentences = 0
    for line in map(str.strip, lines):
        words = jieba.lcut(line)
        tokens = paddlenlp_marks(peer.tokenize("".join(words)), words)
        expected = peer.convert_tokens_to_ids(tokens)
        encoder.add_text(line)
        found = encoder.take().ids
        ids = np.where(found < len(vocabulary), found, found - vocabulary.duplicates).tolist()
        sentences += bool(expected)
        different += ids != expected
    assert sentences > 500
    assert different / sentences <= 0.001


def make_encoder(marks, splitter, vocabulary, longest=10**6, segmenter=None):
    fast = native.helpers() is not None
    made = segmenter or builtin_segmenter()
    return (NativeEncoder if fast else PythonEncoder)(vocabulary, made, marks, True, splitter, longest)


# C++ against Python


@pytest.fixture(scope="module")
def segmenters(tmp_path_factory):
    """(for Python, for C++) by name; the user dictionary has types."""
    if native.helpers() is None:
        pytest.skip(f"C++ helpers: {native.why_missing()}")
    words = tmp_path_factory.mktemp("dict") / "words.txt"
    words.write_text("哈尔滨 LOC\n北京大学 ORG\n天天 PER\n特征空间\n", encoding="utf-8")
    with without_cpp():
        slow = make_segmenter("builtin", words)
    jieba_with_words = make_segmenter("jieba", words)
    return {
        "builtin": (slow, make_segmenter("builtin", words)),
        "none": (CharacterSegmenter(), CharacterSegmenter()),
        "jieba": (jieba_with_words, jieba_with_words),
    }


@pytest.mark.parametrize("name", ["builtin", "none", "jieba"])
@pytest.mark.parametrize("marks", ["position", "paddlenlp"])
@settings(max_examples=120, deadline=None)
@given(
    marked=st.lists(marked_texts(), max_size=3),
    splitter=st.sampled_from(["punctuation", "newline"]),
    longest=st.integers(2, 30),
)
def test_cpp_equals_python(segmenters, name, marks, marked, splitter, longest):
    assert both_encode_alike(*segmenters[name], marked, marks, True, splitter, longest)


def test_cpp_refuses_spans_outside_of_the_text(segmenters):
    encoder = NativeEncoder(small_vocabulary(), segmenters["builtin"][1])
    for span in [(0, 9, 1), (2, 1, 1), (0, 1, 9), (0, 1, 0)]:
        with pytest.raises(ValueError, match="a span is not inside its sentence"):
            encoder.add_sentence("文字", [span])


def test_paragraphs_have_no_unknowns():
    encoder = make_encoder("position", "punctuation", small_vocabulary())
    for paragraph in PARAGRAPHS:
        encoder.add_text(paragraph)
    assert small_vocabulary().unk_id not in encoder.take().ids
