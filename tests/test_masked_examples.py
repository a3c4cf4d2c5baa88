"""Masked rows taken out of a batch, and as HTML with a class for words, entities and masks."""

from html.parser import HTMLParser

import numpy as np
import pytest
from deployment_helpers import TOKENS, tiny_vocabulary

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.masked_examples import MaskedExample, examples_from_batch
from ernie_from_scratch.lab.masked_html import masked_examples_html
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    ENTITY_TYPES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
)


class Boxes(HTMLParser):
    """The token boxes of a fragment as (classes, text above, text below); fails when tags don't match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.boxes, self.part = [], [], None
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        classes = dict(attrs).get("class", "").split()
        if "token" in classes:
            self.boxes.append([set(classes) - {"token"}, "", ""])
        self.part = {"b": 1, "i": 2}.get(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.part = None

    def handle_data(self, data):
        if self.part and self.open[-2:-1] == ["span"] and self.boxes:
            self.boxes[-1][self.part] += data


def test_words_entities_and_masks_have_classes():
    both, place, person = WORD_START | PHRASE_START, 2 << TYPE_SHIFT, 1 << TYPE_SHIFT
    spans = [both | ENTITY_START | place, place, both, 0, ENTITY_START | WORD_START | person]
    example = MaskedExample(
        list("北京<的李"), ["[MASK]", "京", "猫", "的", "李"], [0, 2, 3], spans, "name & title"
    )
    html = masked_examples_html([example])
    assert "name &amp; title" in html and "<的" not in html
    boxes = Boxes(html).boxes
    assert [box[1] for box in boxes[:5]] == list("北京<的李")
    assert [box[2] for box in boxes[:5]] == ["■", "", "猫", "的", ""]
    assert boxes[0][0] == {"word-start", "phrase-start", "entity", "LOC", "entity-start", "masked"}
    assert boxes[1][0] == {"entity", "LOC", "entity-end"}
    assert boxes[2][0] == {"word-start", "phrase-start", "masked", "random"}
    assert boxes[3][0] == {"masked", "kept"}
    assert boxes[4][0] == {"word-start", "entity", "PER", "entity-start", "entity-end"}
    assert "place" in html and "person" in html and "organisation" not in html


def test_neighbouring_entities_of_one_type_stay_apart():
    start = ENTITY_START | 2 << TYPE_SHIFT
    boxes = Boxes(masked_examples_html([MaskedExample(list("京沪"), list("京沪"), [], [start, start])])).boxes
    assert all({"entity-start", "entity-end"} <= box[0] for box in boxes[:2])


def test_lengths_must_agree():
    with pytest.raises(UserError, match="different lengths"):
        MaskedExample(list("北京"), list("北"), [])


def test_examples_come_out_of_a_batch_as_the_text_was():
    vocabulary = tiny_vocabulary()
    first = [1, *(TOKENS.index(c) for c in "我的车很好"), 2]
    second = [1, *(TOKENS.index(c) for c in "好书"), 2, 0, 0, 0]
    seen = np.array([first, second])
    labels = [seen[0, 1], seen[0, 3], seen[0, 4], seen[1, 2]]
    seen[0, 1], seen[0, 3], seen[0, 4], seen[1, 2] = 3, 3, TOKENS.index("丑"), 3
    batch = {
        "input_ids": seen,
        "attention_mask": (seen != 0).astype(np.int64),
        "masked_positions": np.array([1, 3, 4, 7 + 2]),
        "masked_lm_labels": np.array(labels),
        "masked_span_kinds": np.array([0, 1, 1, 5], dtype=np.uint8),
    }
    one, two = examples_from_batch(batch, vocabulary, [0, 1], "x")
    assert "".join(one.tokens[1:-1]) == "我的车很好" and one.inputs[1:-1] == [
        "[MASK]",
        "的",
        "[MASK]",
        "丑",
        "好",
    ]
    assert (
        one.masked_positions == [1, 3, 4]
        and two.tokens == ["[CLS]", "好", "书", "[SEP]"]
        and two.masked_positions == [2]
    )
    assert [ENTITY_TYPES[m >> TYPE_SHIFT] for m in one.spans] == ["", "", "", "PER", "PER", "", ""]
    assert [bool(m & ENTITY_START) for m in one.spans] == [False, False, False, True, False, False, False]
    unpadded = examples_from_batch(
        {**batch, "attention_mask": None, "masked_span_kinds": None}, vocabulary, [0]
    )
    assert unpadded[0].tokens == one.tokens
