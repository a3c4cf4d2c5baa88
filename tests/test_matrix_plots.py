"""Matrices as colours and attention as lines: what was drawn is read back from the figure."""

import numpy as np
import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab import matrix_plots
from ernie_from_scratch.lab.theme import DARK


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_heat_maps_share_one_scale_and_names():
    tables = {"small": np.eye(2), "large": np.full([2, 3], 4.0)}
    figure = matrix_plots.heat_maps(tables, ["a", "b"], numbers=True, signs=["→"], theme=DARK)
    images = [ax.images[0] for ax in figure.axes]
    assert [image.get_clim() for image in images] == [(0, 4), (0, 4)]
    assert texts(figure.axes[0]) == ["1.00", "0.00", "0.00", "1.00"] and "→" in texts(figure.axes[1])
    signed = matrix_plots.heat_maps({"t": np.array([[-2.0, 1.0]])}, ["a"], ["x", "y"])
    assert signed.axes[0].images[0].get_clim() == (-2, 2)
    with pytest.raises(UserError, match="names do not fit: table 't' is"):
        matrix_plots.heat_maps({"t": np.eye(2)}, ["a", "b", "c"])


def test_lines_go_where_the_weights_are():
    weights = np.array([[0.0, 1.0], [0.6, 0.4]])
    ax = matrix_plots.attention_lines(["哈", "冷"], {"head": weights}).axes[0]
    ends = [tuple(line.get_ydata()) for line in ax.lines]
    assert ends == [(0, -1), (-1, 0), (-1, -1)] and ax.lines[1].get_alpha() == 0.6
    one = matrix_plots.attention_lines(["哈", "冷"], {"head": weights}, query=1).axes[0]
    assert len(one.lines) == 2 and texts(one)[:2] == ["0.60", "0.40"]
