"""Pictures say what they were given: texts, places and colours are read back from the figure."""

from collections import Counter

import numpy as np
import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab import pictures
from ernie_from_scratch.lab.theme import DARK, png_bytes


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
    assert pictures.token_kind(token) == kind


def test_boxes_stand_over_their_characters():
    rows = {"words": ["哈尔滨", "很冷"], "pieces": [("哈", 0, 1), ("[UNK]", 1, 4), ("冷", 4, 5)]}
    ax = pictures.token_boxes("哈尔滨很冷", rows).axes[0]
    assert texts(ax) == ["哈尔滨", "很冷", "哈", "[UNK]", "冷"]
    edges = [(round(box.get_x(), 2), round(box.get_x() + box.get_width(), 2)) for box in ax.patches]
    assert edges == [(0.06, 2.94), (3.06, 4.94), (0.06, 0.94), (1.06, 3.94), (4.06, 4.94)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["words (2)", "pieces (3)"]


def test_matching_steps_name_every_attempt():
    ax = pictures.matching_steps("unit", [(0, 4, False), (0, 2, True), (2, 4, True)]).axes[0]
    assert [text for text in texts(ax) if len(text) > 1] == ["unit  no", "un  found", "##it  found"]


def test_coverage_ends_at_the_whole_text():
    ax = pictures.coverage_curves({"characters": Counter("aab"), "words": Counter(a=1, b=1)}).axes[0]
    assert ax.lines[0].get_ydata() == pytest.approx([200 / 3, 100])
    assert texts(ax) == ["2", "2"]


def test_bars_fill_the_line():
    ax = pictures.kind_bars({"text": {"han": 3, "inner": 0, "unknown": 1}}).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [75, 25]


def test_heat_maps_share_one_scale_and_names():
    tables = {"small": np.eye(2), "large": np.full([2, 3], 4.0)}
    figure = pictures.heat_maps(tables, ["a", "b"], numbers=True, signs=["→"], theme=DARK)
    images = [ax.images[0] for ax in figure.axes]
    assert [image.get_clim() for image in images] == [(0, 4), (0, 4)]
    assert texts(figure.axes[0]) == ["1.00", "0.00", "0.00", "1.00"] and "→" in texts(figure.axes[1])
    signed = pictures.heat_maps({"t": np.array([[-2.0, 1.0]])}, ["a"], ["x", "y"])
    assert signed.axes[0].images[0].get_clim() == (-2, 2)
    with pytest.raises(UserError, match="names do not fit: table 't' is"):
        pictures.heat_maps({"t": np.eye(2)}, ["a", "b", "c"])


def test_lines_go_where_the_weights_are():
    weights = np.array([[0.0, 1.0], [0.6, 0.4]])
    ax = pictures.attention_lines(["哈", "冷"], {"head": weights}).axes[0]
    ends = [tuple(line.get_ydata()) for line in ax.lines]
    assert ends == [(0, -1), (-1, 0), (-1, -1)] and ax.lines[1].get_alpha() == 0.6
    one = pictures.attention_lines(["哈", "冷"], {"head": weights}, query=1).axes[0]
    assert len(one.lines) == 2 and texts(one)[:2] == ["0.60", "0.40"]


def test_chart_and_png():
    figure = pictures.line_chart([1, 2, 4], {"up": [0.1, 0.2, 0.3]}, "size", "share", log_x=True)
    assert list(figure.axes[0].get_xticks()) == [1, 2, 4] and figure.axes[0].get_ylim()[0] == 0
    assert png_bytes(figure)[:4] == b"\x89PNG"
