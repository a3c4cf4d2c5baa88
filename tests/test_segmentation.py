"""Words: the built-in segmenter in Python and C++ against the jieba package, user dictionaries, and the others."""

import gzip
import os
import random

import jieba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_helpers import PARAGRAPHS, texts

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.native_encoding import NativeSegmenter
from ernie_from_scratch.text.segmenters.dictionary import DictionarySegmenter
from ernie_from_scratch.text.segmenters.lac import LacSegmenter
from ernie_from_scratch.text.segmenters.segmenter import make_segmenter, read_user_dict, suggested_frequency

jieba.setLogLevel(60)
IMPLEMENTATIONS = ["python", "cpp"]


def build(which: str):
    if which == "cpp":
        if native.helpers() is None:
            pytest.skip(f"C++ helpers: {native.why_missing()}")
        return NativeSegmenter()
    return DictionarySegmenter()


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def segmenter(request):
    return build(request.param)


@pytest.fixture(scope="module")
def words_of_dictionary(segmenter):
    rng = random.Random(0)
    return rng.sample(sorted(DictionarySegmenter().frequencies), 3000)


@settings(max_examples=400, deadline=None)
@given(text=texts(), hmm=st.booleans())
def test_words_are_those_of_jieba_on_any_text(segmenter, text, hmm):
    words = segmenter.words(text, hmm)
    assert words == jieba.lcut(text, HMM=hmm)
    assert "".join(words) == text


def test_words_are_those_of_jieba_on_shuffled_dictionary_words(segmenter, words_of_dictionary):
    """Many overlaps, beginnings of words, and characters that only the HMM can join."""
    rng = random.Random(1)
    for _ in range(1500):
        parts = rng.choices(words_of_dictionary, k=6) + [chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(6)]
        rng.shuffle(parts)
        text = "".join(parts)
        assert segmenter.words(text) == jieba.lcut(text)


@pytest.mark.real_data
def test_words_are_those_of_jieba_on_real_text(real_data):
    segmenter = build("cpp")
    lines = (real_data / "corpus" / "zhwiki_sample.txt").read_text(encoding="utf-8").split("\n")[::4]
    with gzip.open(
        real_data / "corpus" / "CLUECorpusSmall_bert_sampled.txt.gz", "rt", encoding="utf-8"
    ) as file:
        lines += file.read().split("\n")[::8]
    assert sum(map(len, lines)) > 150_000
    different = [line for line in lines if segmenter.words(line) != jieba.lcut(line)]
    assert different == []


def test_ambiguous_sentences(segmenter):
    assert segmenter.words("南京市长江大桥") == ["南京市", "长江大桥"]
    assert segmenter.words("他来到了网易杭研大厦") == [
        "他",
        "来到",
        "了",
        "网易",
        "杭研",
        "大厦",
    ]  # 杭研 by the HMM


@pytest.fixture()
def user_dict(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(
        "# own words\n云计算平台 LOC\n李小福 2 nr\n八一双鹿\t3\tORG\n凱特琳 nz\n台中\n博物馆藏 0\n新冠肺炎 v\n",
        encoding="utf-8",
    )
    return path


def test_user_dict_is_read(user_dict):
    words = {word.text: (word.frequency, word.entity_type) for word in read_user_dict(user_dict)}
    assert words == {
        "云计算平台": (None, "LOC"),
        "李小福": (2, "PER"),
        "八一双鹿": (3, "ORG"),
        "凱特琳": (None, "OTHER"),
        "台中": (None, ""),
        "博物馆藏": (0, ""),
        "新冠肺炎": (None, ""),
    }


@pytest.mark.parametrize("line", ["哈尔滨 CITY", "哈尔滨 3 LOC more", "哈尔滨 -3"])
def test_wrong_line_of_user_dict(tmp_path, line):
    path = tmp_path / "words.txt"
    path.write_text(f"好词 1 n\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match="wrong line: user dictionary .*words.txt line 2"):
        read_user_dict(path)


def test_missing_or_wrong_user_dict(tmp_path):
    with pytest.raises(UserError, match="cannot read: user dictionary nowhere"):
        make_segmenter("none", "nowhere")
    (tmp_path / "gbk.txt").write_bytes("词语".encode("gbk"))
    with pytest.raises(UserError, match="not UTF-8: user dictionary"):
        make_segmenter("none", tmp_path / "gbk.txt")


@pytest.mark.parametrize("which", IMPLEMENTATIONS)
def test_user_words_act_as_in_jieba(which, user_dict):
    segmenter, peer = build(which), jieba.Tokenizer()
    for word in read_user_dict(user_dict):
        if word.frequency == 0:
            continue  # jieba keeps these in a variable of its module, for all its users
        frequency = word.frequency
        if frequency is None:
            frequency = suggested_frequency(segmenter, word.text)
            assert frequency == peer.suggest_freq(word.text)
        segmenter.add_word(word.text, frequency, word.entity_type)
        peer.add_word(word.text, frequency)
    for text in [
        *PARAGRAPHS,
        "李小福是创新办主任也是云计算平台方面的专家",
        "「台中」正確應該不會被切開",
        "八一双鹿和凱特琳",
    ]:
        assert segmenter.words(text) == peer.lcut(text)


@pytest.mark.parametrize("which", IMPLEMENTATIONS)
def test_a_word_of_frequency_0_is_taken_apart(which):
    segmenter = build(which)
    assert "杭研" in segmenter.words("他来到了网易杭研大厦")
    segmenter.add_word("杭研", 0)
    assert segmenter.words("他来到了网易杭研大厦") == ["他", "来到", "了", "网易", "杭", "研", "大厦"]


def test_cpp_equals_python_with_words_of_any_characters():
    """Some have plane 2 or 0 first, some are alone with their beginning, some are the beginning of others."""
    words = ["𠮷", "𠮷野家", "\0甲", "甲𠮷", "𠮷\0", "锿锿锿", "锿", "网易杭研大厦", "网易杭", "a1", "a"]
    slow, fast = build("python"), build("cpp")
    for word in words:
        for segmenter in (slow, fast):
            segmenter.add_word(word, 50_000)
    beginnings = {word[:end] for word in words for end in range(1, len(word) + 1)}
    for word in sorted(beginnings) + ["野", "\0", "𠀀", "\ufffe", "龘龘龘"]:
        assert fast.frequency(word) == slow.frequency(word), repr(word)
    rng = random.Random(2)
    characters = sorted(set("".join(words))) + ["他", "来到", "了", "，"]
    for _ in range(2000):
        text = "".join(rng.choices(characters, k=rng.randrange(1, 40)))
        assert fast.words(text) == slow.words(text), repr(text)


@pytest.mark.parametrize("name", ["builtin", "jieba", "rjieba", "none"])
def test_every_segmenter_takes_user_words_and_their_types(name, user_dict):
    if name == "rjieba":
        pytest.importorskip("rjieba")
    segmenter = make_segmenter(name, user_dict)
    text = "他在云计算平台遇见李小福，又去台中。"
    words = segmenter.words(text)
    assert "".join(words) == text
    assert {"云计算平台", "李小福", "台中"} <= set(words)
    assert segmenter.entities(text, words) == [(2, 7, "LOC"), (9, 12, "PER")]


@pytest.fixture(scope="module", params=["builtin", "jieba", "rjieba", "none"])
def any_segmenter(request):
    if request.param == "rjieba":
        pytest.importorskip("rjieba")
    return make_segmenter(request.param)


@settings(max_examples=60, deadline=None)
@given(text=texts())
def test_words_make_up_the_text(any_segmenter, text):
    assert "".join(any_segmenter.words(text)) == text


def test_unknown_segmenter():
    with pytest.raises(UserError, match="unknown segmenter: thulac; known: builtin, jieba"):
        make_segmenter("thulac")


def test_missing_lac_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("ernie_from_scratch.text.segmenters.lac.find_spec", lambda name: None)
    with pytest.raises(UserError, match="no LAC model: the package LAC is not installed"):
        make_segmenter("lac")
    with pytest.raises(UserError, match="no LAC model: .* has no conf/word.dic"):
        make_segmenter("lac", lac_model=tmp_path)


@pytest.fixture(scope="module")
def lac():
    folder = os.environ.get("EFS_LAC_MODEL")
    try:
        return LacSegmenter(folder)
    except UserError as error:
        pytest.skip(f"{error} (tests: EFS_LAC_MODEL)")


def test_lac_words_and_entities(lac):
    text = "2008年北京奥运会在国家体育场开幕。鲁迅是绍兴人。"
    words = lac.words(text)
    assert "".join(words) == text
    found = {(text[a:b], kind) for a, b, kind in lac.entities(text, words)}
    assert {("2008年", "TIME"), ("鲁迅", "PER"), ("绍兴", "LOC")} <= found
    assert lac.words("") == [] and "".join(lac.words(" a\u3000b🙂\n")) == " a\u3000b🙂\n"


def test_lac_splits_long_text(lac):
    text = "黑龙江的省会是哈尔滨。" * 300
    assert "".join(lac.words(text)) == text
    assert len(lac.entities(text, lac.words(text))) >= 550
