"""Charts of any numbers: lines, bars divided into parts, bars in groups."""

from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.figures import (
    Axes,
    Figure,
    Style,
    hide_axes,
    label,
    label_rows,
    legend_below,
    legend_inside,
    new_figure,
    patches,
    write,
)
from ernie_from_scratch.lab.theme import LIGHT, Theme

UNITS = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))


def short_number(value: float) -> str:
    """Three digits and a letter: 98.3 M."""
    for size, letter in UNITS:
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """0.9987 -> "99.9", 0.28 -> "28.0", 1.0 -> "100"; never rounds up to a perfect score."""
    return "100" if share >= 1 else f"{min(100 * share, 99.9):.1f}"


def line_chart(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    x_name: str,
    title: str,
    log_x: bool = False,
    theme: Theme = LIGHT,
) -> Figure:
    """One line with dots per name over the same values of `x`, at which the ticks are."""
    figure, (ax,) = new_figure(theme, 5.6, 3.2)
    for name, color in theme.colors(lines).items():
        ax.plot(x, lines[name], color=color, linewidth=2, marker="o", markersize=4, label=name)
    if log_x:
        ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.minorticks_off()
    ax.set_ylim(bottom=min(0, *(min(values) for values in lines.values())))
    label(ax, theme, title, x_name)
    legend_inside(ax, theme)
    return figure


def curves(
    lines: Mapping[str, Sequence[float]],
    x_name: str,
    title: str,
    levels: Mapping[str, float] | None = None,
    start: int = 0,
    theme: Theme = LIGHT,
) -> Figure:
    """One line per name over `start`, `start` + 1, …; `levels` are dashed horizontal lines, named on the right."""
    figure, (ax,) = new_figure(theme, 6.4, 3.3)
    colors = theme.colors(lines)
    for name, values in lines.items():
        x, marker = range(start, start + len(values)), "o" if len(values) < 30 else ""
        ax.plot(x, values, color=colors[name], linewidth=2, label=name, marker=marker, ms=4)
    for name, level in (levels or {}).items():
        ax.axhline(level, color=theme.muted, linewidth=1, linestyle="--")
        place: Style = dict(xy=(1, level), xycoords=("axes fraction", "data"), textcoords="offset points")
        ax.annotate(name, **place, xytext=(4, 0), va="center", color=theme.muted, fontsize=9)
    label(ax, theme, title, x_name)
    if len(lines) > 1:
        legend_below(figure, theme, patches(colors))
    return figure


def stacked_bars(
    rows: Mapping[str, Mapping[str, float]], title: str, shares: bool = True, theme: Theme = LIGHT
) -> Figure:
    """One horizontal bar per row, divided into its parts, with the total at its end.

    Args:
        rows: name of the bar -> {name of the part: amount}; a part has the same colour in every bar.
        shares: every bar goes from 0 to 100 %; otherwise bars are as long as their totals.
    """
    colors = theme.colors(dict.fromkeys(part for row in rows.values() for part in row))
    longest = max(sum(row.values()) for row in rows.values())
    figure, (ax,) = new_figure(theme, 7.4, 0.42 * len(rows) + 1.2)
    for number, row in enumerate(rows.values()):
        total, left = sum(row.values()), 0.0
        for part, amount in row.items():
            share = amount / total
            width = 100 * (share if shares else amount / longest)
            ax.barh(-number, width, left=left, height=0.66, color=colors[part], edgecolor=theme.page)
            if width > 5:
                inside = f"{share:.0%}" if shares else short_number(amount)
                write(ax, left + width / 2, -number, inside, theme.page)
            left += width
        write(ax, left + 1, -number, short_number(total), theme.ink, align="left")
    hide_axes(ax)
    label_rows(ax, theme, rows)
    ax.set_xlim(0, 110)
    label(ax, theme, title)
    legend_below(figure, theme, patches(colors))
    return figure


def log_bars(values: Mapping[str, float], title: str, theme: Theme = LIGHT) -> Figure:
    """One horizontal bar per name on a logarithmic axis, with its value at its end: for speeds that differ widely."""
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
    label_rows(ax, theme, values)
    label(ax, theme, title)
    return figure


def grouped_bars(
    ax: Axes,
    theme: Theme,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    deviations: Mapping[str, Sequence[float | None]] | None = None,
    references: Mapping[str, Sequence[float | None]] | None = None,
) -> None:
    """Draw shares (0 to 1) as bars in per cent: a group of bars per name in `groups`, a colour per series.

    Args:
        series: name -> one value per group; None leaves a gap.
        deviations: name -> half the height of the error bar, in the same unit.
        references: name -> a value drawn as a short line across the bar (for example before training).
    """
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=3, foreground=theme.page)  # keeps the number readable across a line
    unknown = [None] * len(groups)
    width = 0.78 / max(len(series), 1)
    for number, (name, values) in enumerate(series.items()):
        first = True
        for group, value in enumerate(values):
            if value is None:
                continue
            center = group + (number - (len(series) - 1) / 2) * width
            bar: Style = dict(color=theme.color(number), label=name if first else None, zorder=2)
            ax.bar(center, 100 * value, width * 0.92, **bar)
            first = False
            deviation = (deviations or {}).get(name, unknown)[group]
            if deviation:
                line: Style = dict(color=theme.ink, linewidth=1, capsize=3, zorder=3)
                ax.errorbar(center, 100 * value, 100 * deviation, **line)
            top = 100 * (value + (deviation or 0))
            ax.annotate(percent(value), (center, top), xytext=(0, 3), textcoords="offset points", ha="center",
                        color=theme.ink, fontsize=9, zorder=5, path_effects=[halo])  # fmt: skip
            reference = (references or {}).get(name, unknown)[group]
            if reference is not None:
                line = dict(color=theme.ink, linewidth=1.6, zorder=3)
                ax.hlines(100 * reference, center - width / 2, center + width / 2, **line)
    ax.set_xticks(range(len(groups)), groups)
    ax.tick_params(axis="x", labelsize=9, labelcolor=theme.ink)
