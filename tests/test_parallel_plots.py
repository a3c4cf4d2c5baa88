"""Plots of chapters 12 and 14: what was drawn is read back from the figure."""

import numpy as np

from ernie_from_scratch.lab import parallel_plots


def test_a_pipeline_chart_has_a_box_per_pass():
    passes = [(0, "F", 0, 0, 1), (1, "F", 0, 1, 2), (1, "B", 0, 2, 4), (0, "B", 0, 4, 6)]
    figure = parallel_plots.pipeline_charts({"one": passes, "half": passes[:2]}, "units")
    one, half = figure.axes
    boxes = [(-bar.get_y() - bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in one.patches]
    assert np.allclose(boxes, [(0, 0, 1), (1, 1, 1), (1, 2, 2), (0, 4, 2)])
    assert len(half.patches) == 2 and one.get_xlim() == half.get_xlim() == (0, 6)
    assert [text.get_text() for text in one.texts] == ["0"] * 4
    assert one.patches[0].get_facecolor() != one.patches[2].get_facecolor()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["forward", "backward"]


def test_the_number_of_a_narrow_box_is_left_out():
    (ax,) = parallel_plots.pipeline_charts({"": [(0, "F", 0, 0, 0.1), (0, "F", 1, 0.1, 100)]}, "ms").axes
    assert [text.get_text() for text in ax.texts] == ["1"]


def test_a_ring_has_a_cell_per_chunk():
    figure = parallel_plots.ring_steps({"start": np.ones([2, 2]), "end": np.array([[1, 2], [2, 1]])})
    start, end = (ax.images[0].get_array() for ax in figure.axes)
    assert [text.get_text() for text in figure.axes[1].texts] == ["1", "2", "2", "1"]
    assert (start[0, 0] == start[1, 1]).all() and (end[0, 0] == start[0, 0]).all()
    blue, orange = end[0, 0], end[0, 1]
    assert blue[2] > blue[0] and orange[0] > orange[2], "a complete sum has the other colour"
