"""The tokenizer against PaddleNLP's, against its definition, and in C++ against Python."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from text_helpers import PARAGRAPHS, small_vocabulary, texts

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.native_encoding import character_table
from ernie_from_scratch.text.tokenizers.basic import BasicTokenizer
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return ErnieTokenizer(small_vocabulary())


@pytest.fixture(scope="module", params=[True, False], ids=["lower", "cased"])
def pair(request, tmp_path_factory):
    """(ours, PaddleNLP's) from the same folder."""
    transformers = pytest.importorskip("paddlenlp.transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    ErnieTokenizer(small_vocabulary(), do_lower_case=request.param).save_pretrained(folder)
    return ErnieTokenizer.from_pretrained(folder), transformers.ErnieTokenizer.from_pretrained(str(folder))


@settings(max_examples=400, deadline=None)
@given(text=texts())
def test_tokens_equal_paddlenlp_on_any_text(pair, text):
    ours, theirs = pair
    assert ours.tokenize(text) == theirs.tokenize(text)


def test_tokens_equal_paddlenlp_around_every_character(pair):
    """In rows of 64 characters, so that every assigned character meets letters, Han and neighbours."""
    ours, theirs = pair
    for block in (range(0x3000), range(0xA000, 0xAC00), range(0xF900, 0x10000), range(0x1D100, 0x1D200)):
        for start in range(block.start, block.stop, 64):
            text = "".join(f"a{chr(code)}b中" for code in range(start, start + 64))
            assert ours.tokenize(text) == theirs.tokenize(text)


@pytest.mark.parametrize(
    ("text", "text_pair", "max_seq_len"),
    [
        (PARAGRAPHS[0], None, None),
        (PARAGRAPHS[1], PARAGRAPHS[3], None),
        (PARAGRAPHS[0] * 3, PARAGRAPHS[3], 32),
        ("我", PARAGRAPHS[3] * 2, 20),
        (PARAGRAPHS[3] * 2, None, 10),
        ("一二三四", "五六七八", 9),
        ("一二三四", "五六七八", 8),
    ],
)
def test_encode_equals_paddlenlp(pair, text, text_pair, max_seq_len):
    ours, theirs = pair
    cut = {} if max_seq_len is None else {"max_length": max_seq_len, "truncation": True}
    expected = theirs(text, text_pair, **cut)
    assert ours.encode(text, text_pair, max_seq_len) == {
        k: expected[k] for k in ("input_ids", "token_type_ids")
    }


@settings(max_examples=300, deadline=None)
@given(text=texts())
def test_offsets_lose_no_character(tokenizer, text):
    """Each token's characters make the token; what no token has is space, control characters or accents."""
    covered = np.zeros(len(text), bool)
    for token, start, end in tokenizer.pieces(text):
        assert 0 <= start < end <= len(text)
        covered[start:end] = True
        if token == "[UNK]" or token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]"):
            continue
        made = "".join(BasicTokenizer().words(text[start:end]))
        assert token.removeprefix("##") in made or token in made
    for char in np.array(list(text), dtype=object)[~covered]:
        category = unicodedata.category(char)
        assert category[0] in "ZC" or category in ("Mn", "Mc") or char == "\ufffd"


def test_offsets_of_known_text(tokenizer):
    encoded = tokenizer.encode("我 去C++，", "ab中", return_offsets=True)
    tokens = [tokenizer.vocabulary.tokens[i] for i in encoded["input_ids"]]
    assert tokens[:2] == ["[CLS]", "我"]
    assert encoded["offsets"][:6] == [(0, 0), (0, 1), (2, 3), (3, 4), (4, 5), (5, 6)]
    assert encoded["offsets"][-1] == (0, 0) and encoded["offsets"][-2] == (2, 3)
    assert len(encoded["offsets"]) == len(encoded["input_ids"]) == len(encoded["token_type_ids"])


def test_special_tokens_in_text(tokenizer):
    ids = tokenizer.encode("[MASK]是黑龙江的[MASK]会")["input_ids"]
    assert ids.count(tokenizer.vocabulary.mask_id) == 2
    assert "[MASK]" not in [token for token, _, _ in tokenizer.pieces("[MASK]", special_tokens=False)]
    assert "[MASK]" not in tokenizer.tokenize("[mask]")


def test_batches_are_padded_on_the_right(tokenizer):
    batch = tokenizer(["你好吗", "我"], ["去", None], return_offsets=True)
    assert batch["input_ids"].shape == batch["attention_mask"].shape and batch["input_ids"].dtype == np.int64
    assert batch["attention_mask"].tolist() == [[1] * 7, [1] * 3 + [0] * 4]
    assert (batch["input_ids"][1, 3:] == tokenizer.vocabulary.pad_id).all()
    assert batch["token_type_ids"].tolist()[0] == [0, 0, 0, 0, 0, 1, 1]
    assert [len(row) for row in batch["offsets"]] == [7, 3]


def test_decode_is_readable(tokenizer):
    text = "哈尔滨是the quick brown fox在2008年的[MASK]，好吗？"
    ids = tokenizer.encode(text)["input_ids"]
    assert tokenizer.decode(ids) == text.replace("[MASK]", "")
    assert tokenizer.decode(ids, skip_special_tokens=False) == f"[CLS]{text}[SEP]"


def test_a_word_of_more_than_100_letters_is_unknown(tokenizer):
    assert tokenizer.tokenize("a" * 100) != ["[UNK]"]
    assert tokenizer.tokenize("a" * 101) == ["[UNK]"]


def test_no_room_for_text(tokenizer):
    with pytest.raises(UserError, match="max_seq_len too small: 3; give at least 4"):
        tokenizer.encode("好", "好", max_seq_len=3)


def test_damaged_config(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON: .*tokenizer_config.json"):
        ErnieTokenizer.from_pretrained(tmp_path)


needs_cpp = pytest.mark.skipif(native.helpers() is None, reason=f"C++ helpers: {native.why_missing()}")


@pytest.fixture(scope="module", params=[True, False], ids=["lower", "cased"])
def both(request):
    """(in Python, in C++)"""
    vocabulary = small_vocabulary()
    pieces = native.helpers().WordPiece(vocabulary.tokens, *character_table(request.param))
    return ErnieTokenizer(vocabulary, do_lower_case=request.param), pieces


def assert_same_pieces(both, text, specials):
    python, cpp = both
    expected = [(python.vocabulary.id_of(t), start, end) for t, start, end in python.pieces(text, specials)]
    assert cpp.tokenize(text, specials) == expected


@needs_cpp
@settings(max_examples=500, deadline=None)
@given(text=texts())
def test_cpp_equals_python_on_any_text(both, text):
    assert_same_pieces(both, text, True)
    assert_same_pieces(both, text, False)


@needs_cpp
def test_cpp_equals_python_around_every_character(both):
    for start in range(0, 0x110000, 4096):
        text = "".join(f"a{chr(code)}b" for code in range(start, start + 4096))
        assert_same_pieces(both, text, False)
