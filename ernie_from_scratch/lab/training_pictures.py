"""Pictures of the training chapters: gradients in half precision, the loss scale, and runs that part.

Every function gives a matplotlib Figure; `lab.notebook.show` puts it under a cell.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure

SMALLEST_HALF, LARGEST_HALF = 2.0**-24, 65504.0  # of float16, subnormal numbers included


def magnitudes(values: Mapping[str, np.ndarray], theme: Theme = LIGHT):
    """How large numbers are: the share of each power of two, a line per name, beside what float16 can hold.

    Args:
        values: name -> array of any shape; zeros are left out.
    """
    figure, (ax,) = new_figure(theme, 7.2, 3.3)
    lowest, highest = -50, 20
    for number, (name, array) in enumerate(values.items()):
        sizes = np.abs(np.asarray(array, dtype=np.float64)).ravel()
        powers = np.floor(np.log2(sizes[sizes > 0])).astype(int).clip(lowest, highest)
        shares = 100 * np.bincount(powers - lowest, minlength=highest - lowest + 1) / len(powers)
        color = theme.series[number % len(theme.series)]
        ax.plot(range(lowest, highest + 1), shares, color=color, linewidth=2, label=name)
    ends = math.log2(SMALLEST_HALF), math.log2(LARGEST_HALF)
    for left, right, middle, name in (
        (lowest, ends[0], (lowest + ends[0]) / 2, "0 in float16"),
        (ends[1], highest, (ends[1] + highest) / 2, "inf"),
    ):
        ax.axvspan(left, right, color=theme.grid, alpha=0.55, linewidth=0)
        ax.annotate(name, (middle, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top",
                    color=theme.muted, fontsize=9)  # fmt: skip
    ax.set_xlim(lowest, highest)
    ax.set_ylim(0, 1.18 * ax.get_ylim()[1])
    ticks = range(lowest, highest + 1, 10)
    ax.set_xticks(ticks, [f"$2^{{{power}}}$" for power in ticks])
    ax.set_xlabel("absolute value", color=theme.muted, fontsize=9)
    ax.set_title("share of the numbers, %", color=theme.ink, fontsize=11, loc="left")
    _legend(figure, ax, theme)
    return figure


def scale_trace(scales: Sequence[float], skipped: Sequence[int], theme: Theme = LIGHT):
    """The loss scale at each step on a logarithmic scale, with a mark at each step that was left out."""
    figure, (ax,) = new_figure(theme, 7.2, 2.8)
    ax.step(range(len(scales)), scales, where="post", color=theme.series[0], linewidth=2, label="loss scale")
    label = "overflow: step left out"
    marks = [scales[step] for step in skipped]
    ax.plot(skipped, marks, "x", color=theme.series[1], markersize=8, markeredgewidth=2, label=label)
    ax.set_yscale("log", base=2)
    ax.minorticks_off()
    ax.set_xlabel("optimizer step", color=theme.muted, fontsize=9)
    _legend(figure, ax, theme)
    return figure


def departures(lines: Mapping[str, Sequence[float]], start: int, title: str, theme: Theme = LIGHT):
    """Differences over steps `start`, `start` + 1, … on a logarithmic scale whose lowest tick stands for 0."""
    figure, (ax,) = new_figure(theme, 7.2, 3.6)
    positive = [value for values in lines.values() for value in values if value > 0]
    lowest = 10.0 ** (math.floor(math.log10(min(positive, default=1.0))) - 1)
    highest = 10.0 ** math.ceil(math.log10(max(positive, default=1.0)))
    for number, (name, values) in enumerate(lines.items()):
        color, places = theme.series[number % len(theme.series)], range(start, start + len(values))
        ax.plot(
            places, np.maximum(values, lowest), color=color, linewidth=2, marker="o", markersize=4, label=name
        )
    ax.set_yscale("log")
    powers = range(round(math.log10(lowest)), round(math.log10(highest)) + 1)
    powers = [
        power for power in powers if power == powers[0] or len(powers) < 7 or (power - powers[-1]) % 2 == 0
    ]
    ax.set_yticks([10.0**power for power in powers], ["0", *(f"$10^{{{power}}}$" for power in powers[1:])])
    ax.minorticks_off()
    ax.set_ylim(lowest / 2, 2 * highest)
    ax.set_xlabel("optimizer step", color=theme.muted, fontsize=9)
    ax.set_title(title, color=theme.ink, fontsize=11, loc="left")
    _legend(figure, ax, theme)
    return figure


def lives(spans: Mapping[str, tuple[int, int]], checkpoints: Sequence[int], total: int, theme: Theme = LIGHT):
    """Which steps each life of a run has computed: a bar per life, first on top, over lines at the checkpoints.

    Args:
        spans: what ended the life -> (steps done when it began, steps done when it ended).
        checkpoints: steps after which the run writes one.
        total: steps of the whole run.
    """
    figure, (ax,) = new_figure(theme, 7.2, 0.5 * len(spans) + 1.0)
    for step in checkpoints:
        ax.axvline(step, color=theme.muted, linewidth=1, linestyle=(0, (2, 3)))
    done = 0
    for row, (name, (start, end)) in enumerate(spans.items()):
        again = min(max(done - start, 0), end - start)  # steps that the life before had done in vain
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
    ax.set_xlabel("optimizer step; dotted: a checkpoint", color=theme.muted, fontsize=9)
    _legend(figure, ax, theme)
    return figure


def _legend(figure, ax, theme):
    handles, labels = ax.get_legend_handles_labels()
    handles = dict(zip(labels, handles, strict=True))  # each name once
    place = dict(loc="outside lower center", ncols=min(3, len(handles)))
    figure.legend(handles.values(), handles.keys(), **place, frameon=False, labelcolor=theme.ink, fontsize=9)
