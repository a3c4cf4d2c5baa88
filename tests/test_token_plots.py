"""Chapter 01's plots show what they were given: texts, positions and colours are read back from the figure."""

from collections import Counter

import pytest

from ernie_from_scratch.lab import token_plots


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("哈", "han"),
        ("哈尔滨", "word"),
        ("##尔", "inner"),
        ("##ing", "inner"),
        ("##", "symbol"),
        ("train", "letters"),
        ("。", "symbol"),
        ("[MASK]", "special"),
        ("[UNK]", "unknown"),
    ],
)
def test_kinds(token, kind):
    assert token_plots.token_kind(token) == kind


def test_boxes_stand_over_their_characters():
    rows = {"words": ["哈尔滨", "很冷"], "pieces": [("哈", 0, 1), ("[UNK]", 1, 4), ("冷", 4, 5)]}
    ax = token_plots.token_boxes("哈尔滨很冷", rows).axes[0]
    assert texts(ax) == ["哈尔滨", "很冷", "哈", "[UNK]", "冷"]
    edges = [(round(box.get_x(), 2), round(box.get_x() + box.get_width(), 2)) for box in ax.patches]
    assert edges == [(0.06, 2.94), (3.06, 4.94), (0.06, 0.94), (1.06, 3.94), (4.06, 4.94)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["words (2)", "pieces (3)"]


def test_matching_steps_name_every_attempt():
    ax = token_plots.wordpiece_steps("unit", [(0, 4, False), (0, 2, True), (2, 4, True)]).axes[0]
    assert [text for text in texts(ax) if len(text) > 1] == ["unit  no", "un  found", "##it  found"]


def test_coverage_ends_at_the_whole_text():
    ax = token_plots.coverage_curves({"characters": Counter("aab"), "words": Counter(a=1, b=1)}).axes[0]
    assert ax.lines[0].get_ydata() == pytest.approx([200 / 3, 100])
    assert texts(ax) == ["2", "2"]


def test_bars_fill_the_line():
    ax = token_plots.token_kind_bars({"text": {"han": 3, "inner": 0, "unknown": 1}}).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [75, 25]
