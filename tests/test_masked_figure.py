"""The figure of masked sentences: texts, colours and gaps are read back from it."""

import numpy as np
import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.masked_examples import TYPE_NAMES, MaskedExample
from ernie_from_scratch.lab.masked_figure import masked_figure
from ernie_from_scratch.lab.theme import DARK, LIGHT
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    ENTITY_TYPES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
)

LOC = ENTITY_TYPES.index("LOC") << TYPE_SHIFT
START = WORD_START | PHRASE_START
TOKENS = ["[CLS]", "哈", "尔", "滨", "很", "冷", "Po", "[SEP]"]
SPANS = [START, START | ENTITY_START | LOC, LOC, LOC, START, WORD_START, START, START]


def example(seen=None, masked=(), name="entity"):
    return MaskedExample(TOKENS, seen or TOKENS, list(masked), np.array(SPANS, dtype=np.uint8), name)


def boxes_and_texts(figure):
    (ax,) = figure.axes
    return ax.patches, [text.get_text() for text in ax.texts]


def test_boxes_show_what_the_network_sees():
    seen = ["[CLS]", "[MASK]", "尔", "省", "很", "冷", "Po", "[SEP]"]
    boxes, texts = boxes_and_texts(masked_figure([example(seen, masked=[1, 2, 3])]))
    assert texts == ["[CLS]", "", "尔", "省", "很", "冷", "Po", "[SEP]"]
    black = [
        n
        for n, box in enumerate(boxes)
        if box.get_facecolor()[:3] == pytest.approx((0.102, 0.133, 0.188), abs=0.01)
    ]
    assert black == [1, 2, 3]


def test_gaps_stand_between_words_and_wider_ones_between_phrases():
    boxes, _ = boxes_and_texts(masked_figure([example()]))
    gaps = [
        right.get_x() - (left.get_x() + left.get_width())
        for left, right in zip(boxes, boxes[1:], strict=False)
    ]
    assert gaps[1] == gaps[2] == 0 < gaps[4] < gaps[0]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_rows_and_legend(theme):
    figure = masked_figure([example(name="one"), example(masked=[4], name="two")], theme)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        TYPE_NAMES["LOC"],
        "to be predicted",
    ]
    plain = MaskedExample(["冷"], ["冷"], [])
    assert not masked_figure([plain], theme).legends


def test_refused():
    with pytest.raises(UserError, match="empty"):
        masked_figure([])
    with pytest.raises(UserError, match="different texts"):
        masked_figure([example(), MaskedExample(["冷"], ["冷"], [])])
