"""Charts of any numbers, and the plots of chapters 05 to 07: what was drawn is read back from the figure."""

import numpy as np
import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab import charts, network_plots
from ernie_from_scratch.lab.figures import png_bytes
from ernie_from_scratch.lab.theme import DARK, LIGHT


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_line_chart_has_its_ticks_at_x():
    figure = charts.line_chart([1, 2, 4], {"up": [0.1, 0.2, 0.3]}, "size", "share", log_x=True)
    assert list(figure.axes[0].get_xticks()) == [1, 2, 4] and figure.axes[0].get_ylim()[0] == 0
    assert png_bytes(figure)[:4] == b"\x89PNG"


def test_curves_start_where_they_are_told_and_levels_are_named():
    figure = charts.curves({"a": [3, 2, 1], "b": [1, 1]}, "step", "loss", levels={"ln 2": 0.7}, start=5)
    (ax,) = figure.axes
    first, second, level = ax.lines
    assert list(first.get_xdata()) == [5, 6, 7] and list(second.get_ydata()) == [1, 1]
    assert level.get_ydata()[0] == 0.7 and texts(ax) == ["ln 2"] and legend(figure) == ["a", "b"]
    assert not charts.curves({"a": [1, 2]}, "step", "loss").legends


def test_stacked_bars_are_divided_into_their_parts():
    rows = {"one": {"x": 1e6, "y": 3e6}, "two": {"y": 2e6}}
    figure = charts.stacked_bars(rows, "sizes")
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == [25, 75, 100] and legend(figure) == ["x", "y"]
    assert texts(ax) == ["25%", "75%", "4 M", "100%", "2 M"]
    assert ax.patches[1].get_facecolor() == ax.patches[2].get_facecolor() != ax.patches[0].get_facecolor()
    (ax,) = charts.stacked_bars(rows, "sizes", shares=False).axes
    assert [bar.get_width() for bar in ax.patches] == [25, 75, 50]


def test_log_bars_end_at_their_values():
    values = {"slow": 0.27, "fast": 37.0}
    figure = charts.log_bars(values, "MB/s", DARK)
    ends = [bar.get_x() + bar.get_width() for bar in figure.axes[0].patches]
    assert np.allclose(ends, list(values.values()))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.27", "37"]
    assert png_bytes(figure) == png_bytes(charts.log_bars(values, "MB/s", DARK))
    assert png_bytes(figure) != png_bytes(charts.log_bars(values, "MB/s", LIGHT))


def test_points_are_coloured_by_kind():
    points = np.arange(6.0).reshape([3, 2])
    figure = network_plots.scatter_panels({"before": points, "after": -points}, ["a", "b", "a"])
    first, second = figure.axes
    assert first.collections[0].get_offsets().tolist() == [[0, 1], [4, 5]] and legend(figure) == ["a", "b"]
    assert second.collections[1].get_offsets().tolist() == [[-2, -3]]
    with pytest.raises(UserError, match=r"panel 'before' is \[3, 2\]"):
        network_plots.scatter_panels({"before": points}, ["a", "b"])


def test_the_right_candidate_has_its_own_colour():
    panels = {"first": [("x", 0.7), ("y", 0.0002)], "second": [("z", 0.5)]}
    first, second = network_plots.ranking_bars(panels, right=["y"]).axes
    assert texts(first) == ["70.0%", "0.02%"] and [bar.get_width() for bar in second.patches] == [0.5]
    colors = [bar.get_facecolor() for bar in (*first.patches, *second.patches)]
    assert colors[0] == colors[2] != colors[1]
