"""Reading, writing and building vocabularies."""

import subprocess
import sys
from collections import Counter

import pytest
from text_helpers import PARAGRAPHS, small_vocabulary

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.tokenizers.vocabulary import (
    SPECIAL_TOKENS,
    Vocabulary,
    build_vocabulary,
    train_wordpiece,
)
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "中", "国", "##国", "\u2028", "[UNK]"]


def test_both_line_forms_give_the_same_vocabulary(tmp_path):
    (tmp_path / "plain.txt").write_text("".join(f"{t}\n" for t in TOKENS), encoding="utf-8")
    (tmp_path / "ids.txt").write_text("".join(f"{t}\t{i}\n" for i, t in enumerate(TOKENS)), encoding="utf-8")
    (tmp_path / "windows.txt").write_bytes("\ufeff".encode() + "".join(f"{t}\r\n" for t in TOKENS).encode())
    plain, ids, windows = (
        Vocabulary.load(tmp_path / name) for name in ("plain.txt", "ids.txt", "windows.txt")
    )
    assert plain.tokens == ids.tokens == windows.tokens == TOKENS
    assert plain.sha256 == ids.sha256
    assert (plain.pad_id, plain.cls_id, plain.sep_id, plain.mask_id, plain.unk_id) == (0, 1, 2, 3, 8)
    assert plain.id_of("国") == 5 and plain.id_of("没") == 8 and "没" not in plain and len(plain) == 9


def test_save_and_load_folder(tmp_path):
    path = Vocabulary(TOKENS).save(tmp_path)
    assert path == tmp_path / "vocab.txt"
    assert Vocabulary.load(tmp_path).tokens == TOKENS


def test_a_token_listed_twice_keeps_its_last_id():
    assert Vocabulary([*TOKENS, "中"]).id_of("中") == 9


@pytest.mark.parametrize("missing", SPECIAL_TOKENS)
def test_missing_special_token_is_named(tmp_path, missing):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(t for t in TOKENS if t != missing), encoding="utf-8")
    with pytest.raises(UserError, match=rf"vocab.txt has no \{missing[:-1]}\]"):
        Vocabulary.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty vocabulary"),
        ("中国\n".encode("gbk"), "not UTF-8: vocabulary"),
        (b"[PAD]\t0\n[CLS]\t7\n", "ids out of order: .* line 2 has '7'; expected 1"),
    ],
)
def test_bad_files(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Vocabulary.load(tmp_path / "vocab.txt")


def test_missing_file_and_unknown_name():
    with pytest.raises(UserError, match="no such file"):
        Vocabulary.load("nowhere/vocab.txt")
    with pytest.raises(UserError, match="no such vocabulary: vocabulary"):
        Vocabulary.load("vocabulary")


@pytest.mark.slow  # imports PaddleNLP
def test_published_names(tmp_path, monkeypatch):
    transformers = pytest.importorskip("paddlenlp.transformers")
    with pytest.raises(UserError, match="no such vocabulary: ernie-9.0"):
        Vocabulary.load("ernie-9.0")
    ErnieTokenizer(Vocabulary([*TOKENS, "中"])).save_pretrained(tmp_path)
    local = transformers.ErnieTokenizer.from_pretrained(str(tmp_path))
    monkeypatch.setattr(transformers.ErnieTokenizer, "from_pretrained", lambda name: local)
    fetched = Vocabulary.load("ernie-1.0-base-zh")
    assert fetched.id_of("中") == 9 and len(fetched) == 10 and fetched.source == "ernie-1.0-base-zh"

    def fail(name):
        raise RuntimeError("no network")

    monkeypatch.setattr(transformers.ErnieTokenizer, "from_pretrained", fail)
    with pytest.raises(UserError, match=r"cannot download vocabulary: ernie-1.0-base-zh \(no network\)"):
        Vocabulary.load("ernie-1.0-base-zh")


def test_built_vocabulary_is_ernie_like():
    vocabulary = small_vocabulary()
    assert tuple(vocabulary.tokens[:5]) == SPECIAL_TOKENS
    assert len(set(vocabulary.tokens)) == len(vocabulary) <= 900
    han = {char for char in "".join(PARAGRAPHS) if "\u4e00" <= char <= "\u9fa5"}
    assert all(char in vocabulary and f"##{char}" in vocabulary for char in han)
    counts = Counter("".join(PARAGRAPHS))
    order = [token for token in vocabulary.tokens if token in han and counts[token] > 1]
    assert order == sorted(
        order, key=lambda char: (-(3 * counts[char] + 2 * "中国人民的生活".count(char)), char)
    )
    tokenizer = ErnieTokenizer(vocabulary)
    assert "[UNK]" not in [token for text in PARAGRAPHS for token in tokenizer.tokenize(text)]


def test_rare_characters_are_left_out():
    vocabulary = build_vocabulary(["常常常见罕"], size=100, min_count=2)
    assert vocabulary.tokens == [*SPECIAL_TOKENS, "常", "##常"]


def test_small_size_keeps_the_frequent_characters():
    text = "".join(chr(0x4E00 + i) * (200 - i) for i in range(100)) + "，" * 500
    vocabulary = build_vocabulary([text], size=45)
    assert len(vocabulary) <= 45
    assert [t for t in vocabulary.tokens if len(t) == 1 and t != "，"] == [chr(0x4E00 + i) for i in range(19)]
    assert "，" in vocabulary


def test_pieces_of_frequent_words_are_whole_words():
    pieces = train_wordpiece({"learning": 90, "learned": 60, "machine": 80, "x": 5}, size=60)
    assert {"learning", "machine", "x", "##d"} <= set(pieces)
    assert len(pieces) == len(set(pieces)) <= 60
    assert train_wordpiece({}, size=10) == train_wordpiece({"a": 1}, size=10, min_count=2) == []


def test_building_is_the_same_in_another_process():
    """The trainer's hash maps are seeded anew in each process."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); from text_helpers import small_vocabulary; "
        "print(small_vocabulary().sha256)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert hashes == {small_vocabulary().sha256}


def test_no_text_and_no_room():
    with pytest.raises(UserError, match="no text to build a vocabulary from"):
        build_vocabulary(["  ", ""])
    with pytest.raises(UserError, match="vocabulary too small: size 5"):
        build_vocabulary(["文字"], size=5)
