"""Pictures of the corpus chapter: the words that a dictionary sees in a text, rank and frequency, speeds, lengths.

Every function gives a matplotlib Figure; `lab.notebook.show` puts it under a cell.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure


def word_graph(
    text: str,
    words: Mapping[tuple[int, int], str],
    best: Sequence[tuple[int, int]] = (),
    theme: Theme = LIGHT,
):
    """The graph of words over a text: an arc from where a word begins to where it ends.

    Args:
        words: (first character, character after the last) -> what to write on the arc.
        best: the words of the chosen path, drawn strong.
    """
    longest = max((end - start for start, end in words), default=1)
    height = 0.55 * longest
    figure, (ax,) = new_figure(theme, 1.0 * len(text) + 0.6, 0.62 * longest + 1.1)
    for place, char in enumerate(text):
        ax.text(place + 0.5, -0.42, char, ha="center", va="center", color=theme.ink, fontsize=15)
    ax.plot(range(len(text) + 1), np.zeros(len(text) + 1), "o", color=theme.muted, markersize=6, zorder=3)
    for (start, end), label in words.items():
        chosen = (start, end) in best
        color = theme.series[1] if chosen else theme.muted
        angle = np.linspace(0, np.pi, 40)
        top = 0.55 * (end - start)
        x = (start + end) / 2 - (end - start) / 2 * np.cos(angle)
        ax.plot(x, top * np.sin(angle), color=color, linewidth=2.6 if chosen else 1.0, zorder=2)
        box = {"facecolor": theme.page, "edgecolor": "none", "pad": 1.0}
        ax.text(
            (start + end) / 2,
            top,
            label,
            ha="center",
            va="center",
            fontsize=8.5,
            color=color,
            bbox=box,
            zorder=4,
        )
    _bare(ax)
    ax.set_xlim(-0.2, len(text) + 0.2)
    ax.set_ylim(-0.8, height + 0.25)
    return figure


def rank_curves(counts: Mapping[str, Counter], theme: Theme = LIGHT):
    """How often the most frequent, second, third … unit stands in the text; both axes are logarithmic."""
    figure, (ax,) = new_figure(theme, 6.4, 3.5)
    for number, (name, counter) in enumerate(counts.items()):
        values = sorted(counter.values(), reverse=True)
        color = theme.series[number % len(theme.series)]
        ax.plot(
            np.arange(1, len(values) + 1), values, color=color, linewidth=2, label=f"{name} ({len(values):,})"
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.set_xlabel("rank", color=theme.muted, fontsize=9)
    ax.set_title("times in the text", color=theme.ink, fontsize=11, loc="left")
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9)
    return figure


def log_bars(values: Mapping[str, float], title: str, theme: Theme = LIGHT):
    """One horizontal bar per name on a logarithmic scale, with its value behind it; for speeds far apart."""
    figure, (ax,) = new_figure(theme, 6.8, 0.42 * len(values) + 0.8)
    lowest = 10 ** np.floor(np.log10(min(values.values())))
    for row, value in enumerate(values.values()):
        ax.barh(-row, value - lowest, left=lowest, height=0.66, color=theme.series[0])
        ax.annotate(f"{value:.3g}", (value, -row), xytext=(4, 0), textcoords="offset points", va="center",
                    color=theme.ink, fontsize=9)  # fmt: skip
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xlim(lowest, 3 * max(values.values()))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_yticks(range(0, -len(values), -1), values, color=theme.ink, fontsize=10)
    ax.set_title(title, color=theme.ink, fontsize=11, loc="left")
    return figure


def length_lines(lengths: Mapping[str, Sequence[int]], x_name: str, theme: Theme = LIGHT):
    """The share of each length, a line per name."""
    figure, (ax,) = new_figure(theme, 6.4, 3.2)
    for number, (name, values) in enumerate(lengths.items()):
        shares = 100 * np.bincount(np.asarray(values)) / len(values)
        color = theme.series[number % len(theme.series)]
        ax.plot(
            range(1, len(shares)), shares[1:], color=color, linewidth=2, marker="o", markersize=4, label=name
        )
    ax.set_xlabel(x_name, color=theme.muted, fontsize=9)
    ax.set_title("share, %", color=theme.ink, fontsize=11, loc="left")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9)
    return figure


def _bare(ax):
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
