"""Chapter 08: the words that a dictionary finds in a text, rank and frequency, lengths."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.figures import Figure, Style, hide_axes, label, legend_inside, new_figure, write
from ernie_from_scratch.lab.theme import LIGHT, Theme


def word_lattice(
    text: str,
    words: Mapping[tuple[int, int], str],
    best: Sequence[tuple[int, int]] = (),
    theme: Theme = LIGHT,
) -> Figure:
    """The word lattice over a text: an arc from the start of each word to its end.

    Args:
        words: (first character, character after the last) -> text on the arc.
        best: the words of the best path, drawn bold.
    """
    longest = max((end - start for start, end in words), default=1)
    figure, (ax,) = new_figure(theme, 1.0 * len(text) + 0.6, 0.62 * longest + 1.1)
    for place, char in enumerate(text):
        write(ax, place + 0.5, -0.42, char, theme.ink, 15)
    ax.plot(range(len(text) + 1), np.zeros(len(text) + 1), "o", color=theme.muted, markersize=6, zorder=3)
    angle = np.linspace(0, np.pi, 40)
    for (start, end), name in words.items():
        chosen = (start, end) in best
        color = theme.series[1] if chosen else theme.muted
        middle, top = (start + end) / 2, 0.55 * (end - start)
        x = middle - (end - start) / 2 * np.cos(angle)
        ax.plot(x, top * np.sin(angle), color=color, linewidth=2.6 if chosen else 1.0, zorder=2)
        box = {"facecolor": theme.page, "edgecolor": "none", "pad": 1.0}
        write(ax, middle, top, name, color, 8.5, bbox=box, zorder=4)
    hide_axes(ax)
    ax.set_xlim(-0.2, len(text) + 0.2)
    ax.set_ylim(-0.8, 0.55 * longest + 0.25)
    return figure


def rank_frequency_curves(counts: Mapping[str, Counter], theme: Theme = LIGHT) -> Figure:
    """Frequency of the most frequent, second, third … unit; both axes are logarithmic."""
    figure, (ax,) = new_figure(theme, 6.4, 3.5)
    for number, (name, counter) in enumerate(counts.items()):
        values = sorted(counter.values(), reverse=True)
        line: Style = dict(color=theme.color(number), linewidth=2, label=f"{name} ({len(values):,})")
        ax.plot(np.arange(1, len(values) + 1), values, **line)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.minorticks_off()
    label(ax, theme, "times in the text", "rank")
    legend_inside(ax, theme)
    return figure


def length_distribution(lengths: Mapping[str, Sequence[int]], x_name: str, theme: Theme = LIGHT) -> Figure:
    """The share of each length in per cent, a line per name."""
    figure, (ax,) = new_figure(theme, 6.4, 3.2)
    for number, (name, values) in enumerate(lengths.items()):
        shares = 100 * np.bincount(np.asarray(values)) / len(values)
        line: Style = dict(color=theme.color(number), linewidth=2, marker="o", markersize=4, label=name)
        ax.plot(range(1, len(shares)), shares[1:], **line)
    label(ax, theme, "share, %", x_name)
    ax.set_ylim(bottom=0)
    legend_inside(ax, theme)
    return figure
