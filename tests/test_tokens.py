"""Lookups by token id: continuations, special tokens, model ids and replacements of masked tokens."""

import pytest
from dataset_helpers import CONTINUATION, FIRST, HAN, SPECIALS, random_documents, toy_corpus, toy_vocabulary

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

NAMES = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]


def test_continued_han_characters_lose_their_prefix_and_latin_pieces_keep_it():
    tokens = TokenTable.of(toy_vocabulary())
    assert tokens.model_ids[CONTINUATION : CONTINUATION + 300].tolist() == list(range(FIRST, FIRST + 300))
    assert tokens.model_ids[-1] == len(tokens.model_ids) - 1  # ##cd
    assert tokens.continuation.sum() == 301


def test_replacements_are_neither_special_nor_continuations():
    tokens = TokenTable.of(toy_vocabulary())
    assert tokens.replacements.tolist() == [*range(SPECIALS, SPECIALS + 300), CONTINUATION + 300]


def test_special_forms():
    vocabulary = Vocabulary([*NAMES, "[unused1]", "<S>", "[", "]", "<", "##", "a"])
    tokens = TokenTable.of(vocabulary)
    special = [
        token for token, is_special in zip(vocabulary.tokens, tokens.special, strict=True) if is_special
    ]
    assert special == [*NAMES, "[unused1]", "<S>"]
    assert not tokens.continuation.any()  # "##" alone is a token of its own


def test_continuation_without_its_plain_form_stays():
    tokens = TokenTable.of(Vocabulary([*NAMES, f"##{HAN[0]}", "a"]))
    assert tokens.model_ids.tolist() == list(range(7))


def test_vocabulary_of_specials_only_is_refused():
    with pytest.raises(UserError):
        TokenTable.of(Vocabulary([*NAMES, "[unused1]"]))


def test_unknown_id_names_its_place():
    corpus = toy_corpus(random_documents(0))
    corpus.ids[17] = 9999
    tokens = TokenTable.of(toy_vocabulary())
    assert tokens.checked_ids(corpus, 0, 17).size == 17
    with pytest.raises(UserError, match="token 17 .* 9999"):
        tokens.checked_ids(corpus, 10, 20)
