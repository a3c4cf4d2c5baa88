"""Plots of chapters 10 and 11: what was drawn is read back from the figure."""

import numpy as np
import pytest

from ernie_from_scratch.lab import training_plots
from ernie_from_scratch.lab.figures import png_bytes
from ernie_from_scratch.lab.theme import DARK, LIGHT


def test_magnitudes_are_shares_of_powers_of_two():
    figure = training_plots.magnitude_distribution(
        {"numbers": np.array([[0.0, 1.0, -1.5], [4.0, 1e-30, 2.0**-24]])}
    )
    (line,) = figure.axes[0].lines
    shares = {x: y for x, y in zip(*line.get_data(), strict=True) if y}
    assert shares == {0: 40, 2: 20, -24: 20, -50: 20}, (
        "zeros are ignored, tiny numbers are counted at the edge"
    )
    zero, infinite = figure.axes[0].patches
    assert zero.get_x() + zero.get_width() == -24 and infinite.get_x() == pytest.approx(16, abs=1e-3)


def test_the_grey_areas_are_what_float16_cannot_hold():
    with np.errstate(over="ignore"):
        assert np.float16(training_plots.SMALLEST_HALF) > 0 == np.float16(training_plots.SMALLEST_HALF / 2)
        assert np.isfinite(np.float16(training_plots.LARGEST_HALF)) and np.isinf(np.float16(2**16))


def test_the_loss_scale_marks_skipped_steps():
    scale, skipped = training_plots.loss_scale_curve([8, 4, 4, 8], [0, 3]).axes[0].lines
    assert scale.get_ydata().tolist() == [8, 4, 4, 8]
    assert skipped.get_xdata().tolist() == [0, 3] and skipped.get_ydata().tolist() == [8, 8]


def test_zero_is_the_lowest_tick():
    ax = training_plots.difference_curves({"same": [0, 0], "other": [1e-3, 0.5]}, 5, "difference").axes[0]
    same, other = ax.lines
    assert same.get_xdata().tolist() == [5, 6] and set(same.get_ydata()) == {ax.get_yticks()[0]}
    assert ax.get_yticklabels()[0].get_text() == "0" and other.get_ydata().tolist() == [1e-3, 0.5]
    assert ax.get_yticks()[0] < 1e-3
    nothing = training_plots.difference_curves({"same": [0, 0, 0]}, 1, "difference").axes[0]
    assert set(nothing.lines[0].get_ydata()) == {nothing.get_yticks()[0]}


def test_restart_bars_show_what_was_computed_again():
    attempts = {"killed": (0, 7), "killed early": (5, 6), "to the end": (5, 10)}
    ax = training_plots.restart_bars(attempts, checkpoints=[5, 10], total=10).axes[0]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    again, new = bars[::2], bars[1::2]
    assert again == [(0, 0), (5, 6), (5, 7)] and new == [(0, 7), (6, 6), (7, 10)]
    assert [text.get_text() for text in ax.texts] == list(attempts)
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["computed again", "new"]


def test_the_same_picture_in_both_themes():
    pngs = [
        png_bytes(training_plots.difference_curves({"a": [0, 1]}, 0, "", theme))
        for theme in (LIGHT, LIGHT, DARK)
    ]
    assert pngs[0] == pngs[1] != pngs[2]
