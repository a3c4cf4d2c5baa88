"""Chapters 10 and 11: numbers in half precision, the loss scale, differences between runs, interrupted runs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.figures import Figure, Style, handles_of, label, legend_below, new_figure
from ernie_from_scratch.lab.theme import LIGHT, Theme

SMALLEST_HALF, LARGEST_HALF = 2.0**-24, 65504.0  # of float16, subnormal numbers included
LOWEST_POWER, HIGHEST_POWER = -50, 20  # of 2, the ends of the axis


def magnitude_distribution(values: Mapping[str, np.ndarray], theme: Theme = LIGHT) -> Figure:
    """The share of the numbers in each power of two, a line per name, and the range of float16.

    Args:
        values: name -> array of any shape; zeros are ignored.
    """
    figure, (ax,) = new_figure(theme, 7.2, 3.3)
    powers = range(LOWEST_POWER, HIGHEST_POWER + 1)
    for number, (name, array) in enumerate(values.items()):
        sizes = np.abs(np.asarray(array, dtype=np.float64)).ravel()
        found = np.floor(np.log2(sizes[sizes > 0])).astype(int).clip(LOWEST_POWER, HIGHEST_POWER)
        shares = 100 * np.bincount(found - LOWEST_POWER, minlength=len(powers)) / len(found)
        ax.plot(powers, shares, color=theme.color(number), linewidth=2, label=name)
    smallest, largest = math.log2(SMALLEST_HALF), math.log2(LARGEST_HALF)
    for left, right, name in ((LOWEST_POWER, smallest, "0 in float16"), (largest, HIGHEST_POWER, "inf")):
        ax.axvspan(left, right, color=theme.grid, alpha=0.55, linewidth=0)
        ax.annotate(name, ((left + right) / 2, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top",
                    color=theme.muted, fontsize=9)  # fmt: skip
    ax.set_xlim(LOWEST_POWER, HIGHEST_POWER)
    ax.set_ylim(0, 1.18 * ax.get_ylim()[1])
    ticks = powers[::10]
    ax.set_xticks(ticks, [f"$2^{{{power}}}$" for power in ticks])
    label(ax, theme, "share of the numbers, %", "absolute value")
    legend_below(figure, theme, handles_of(ax), columns=3)
    return figure


def loss_scale_curve(scales: Sequence[float], skipped: Sequence[int], theme: Theme = LIGHT) -> Figure:
    """The loss scale at each step on a logarithmic axis, with a cross at each skipped step."""
    figure, (ax,) = new_figure(theme, 7.2, 2.8)
    ax.step(range(len(scales)), scales, where="post", color=theme.series[0], linewidth=2, label="loss scale")
    cross: Style = dict(
        color=theme.series[1], markersize=8, markeredgewidth=2, label="overflow: step skipped"
    )
    ax.plot(skipped, [scales[step] for step in skipped], "x", **cross)
    ax.set_yscale("log", base=2)
    ax.minorticks_off()
    label(ax, theme, x="optimizer step")
    legend_below(figure, theme, handles_of(ax), columns=3)
    return figure


def difference_curves(
    lines: Mapping[str, Sequence[float]], start: int, title: str, theme: Theme = LIGHT
) -> Figure:
    """Differences at steps `start`, `start` + 1, … on a logarithmic axis whose lowest tick stands for 0."""
    figure, (ax,) = new_figure(theme, 7.2, 3.6)
    positive = [value for values in lines.values() for value in values if value > 0]
    lowest = math.floor(math.log10(min(positive, default=1.0))) - 1  # powers of 10
    highest = math.ceil(math.log10(max(positive, default=1.0)))
    for number, (name, values) in enumerate(lines.items()):
        line: Style = dict(color=theme.color(number), linewidth=2, marker="o", markersize=4, label=name)
        ax.plot(range(start, start + len(values)), np.maximum(values, 10.0**lowest), **line)
    ax.set_yscale("log")
    powers = range(lowest, highest + 1)
    if len(powers) >= 7:  # every second one, and always the lowest
        powers = [power for power in powers if power == lowest or (power - highest) % 2 == 0]
    ax.set_yticks([10.0**power for power in powers], ["0", *(f"$10^{{{power}}}$" for power in powers[1:])])
    ax.minorticks_off()
    ax.set_ylim(10.0**lowest / 2, 2 * 10.0**highest)
    label(ax, theme, title, "optimizer step")
    legend_below(figure, theme, handles_of(ax), columns=3)
    return figure


def restart_bars(
    attempts: Mapping[str, tuple[int, int]], checkpoints: Sequence[int], total: int, theme: Theme = LIGHT
) -> Figure:
    """The steps of an interrupted run: a bar from start to end of each attempt, the first on top.

    Args:
        attempts: how the attempt ended -> (steps done when it started, steps done when it ended).
        checkpoints: steps after which the run writes a checkpoint, drawn as dotted lines.
        total: steps of the complete run.
    """
    figure, (ax,) = new_figure(theme, 7.2, 0.5 * len(attempts) + 1.0)
    for step in checkpoints:
        ax.axvline(step, color=theme.muted, linewidth=1, linestyle=(0, (2, 3)))
    done = 0
    for row, (name, (start, end)) in enumerate(attempts.items()):
        again = min(max(done - start, 0), end - start)  # steps that an earlier attempt had already computed
        ax.barh(-row, again, left=start, height=0.56, color=theme.series[1], label="computed again")
        ax.barh(
            -row, end - start - again, left=start + again, height=0.56, color=theme.series[0], label="new"
        )
        over_lines = dict(facecolor=theme.page, edgecolor="none", pad=1.5)
        ax.annotate(name, (end, -row), xytext=(6, 0), textcoords="offset points", va="center",
                    color=theme.ink, fontsize=9, bbox=over_lines)  # fmt: skip
        done = max(done, end)
    ax.grid(False)
    ax.set_xlim(0, 1.3 * total)
    ax.set_xticks([0, *checkpoints])
    ax.set_yticks([])
    label(ax, theme, x="optimizer step; dotted: a checkpoint")
    legend_below(figure, theme, handles_of(ax), columns=3)
    return figure
