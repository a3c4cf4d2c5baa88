"""Pictures of the corpus chapter: what they draw is read back from the figure."""

from collections import Counter

import numpy as np

from ernie_from_scratch.lab import corpus_pictures as pictures
from ernie_from_scratch.lab.theme import DARK, LIGHT, png_bytes


def test_arcs_go_from_where_a_word_begins_to_where_it_ends():
    words = {(0, 2): "南京", (0, 3): "南京市", (2, 4): "市长"}
    ax = pictures.word_graph("南京市长", words, best=[(0, 2), (2, 4)]).axes[0]
    arcs = ax.lines[1:]
    assert [(round(line.get_xdata()[0]), round(line.get_xdata()[-1])) for line in arcs] == list(words)
    strong = [line.get_linewidth() > 2 for line in arcs]
    assert strong == [True, False, True]
    assert [text.get_text() for text in ax.texts] == [*"南京市长", *words.values()]


def test_ranks_fall_and_shares_sum_to_one_hundred():
    ax = pictures.rank_curves({"characters": Counter("的的的一一是")}).axes[0]
    assert ax.lines[0].get_ydata().tolist() == [3, 2, 1]
    assert ax.get_legend().get_texts()[0].get_text() == "characters (3)"
    ax = pictures.length_lines({"words": [1, 1, 2, 4]}, "characters").axes[0]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert ax.lines[0].get_ydata().tolist() == [50, 25, 0, 25]


def test_log_bars_end_at_their_values():
    values = {"slow": 0.27, "fast": 37.0}
    figure = pictures.log_bars(values, "MB/s", DARK)
    ends = [bar.get_x() + bar.get_width() for bar in figure.axes[0].patches]
    assert np.allclose(ends, list(values.values()))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.27", "37"]
    assert png_bytes(figure) == png_bytes(pictures.log_bars(values, "MB/s", DARK))
    assert png_bytes(figure) != png_bytes(pictures.log_bars(values, "MB/s", LIGHT))
