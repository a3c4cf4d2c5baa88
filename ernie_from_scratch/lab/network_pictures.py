"""Pictures of the network chapters: where weights and work sit, points on a plane, rankings, losses.

Every function gives a matplotlib Figure; `lab.notebook.show` puts it under a cell.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure

UNITS = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))


def short_number(value: float) -> str:
    """Three digits and a letter: 98.3 M."""
    for size, letter in UNITS:
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def part_bars(rows: Mapping[str, Mapping[str, float]], title: str, shares: bool = True, theme: Theme = LIGHT):
    """One horizontal bar per row, cut into its parts; the total stands behind the bar.

    Args:
        rows: name of the bar -> {name of the part: amount}; a part has the same colour in every bar.
        shares: bars from 0 to 100 %; else as long as their totals.
    """
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    colors = dict(zip(parts, _colors(len(parts), theme), strict=True))
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
                _write(ax, left + width / 2, -number, inside, theme.page)
            left += width
        _write(ax, left + 1, -number, short_number(total), theme.ink, "left")
    ax.set_yticks(range(0, -len(rows), -1), rows, color=theme.ink, fontsize=10)
    ax.set_xticks([])
    ax.set_xlim(0, 110)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, color=theme.ink, fontsize=11, loc="left")
    _legend(figure, colors, theme)
    return figure


def point_clouds(panels: Mapping[str, np.ndarray], kinds: Sequence[str], theme: Theme = LIGHT):
    """Points on a plane, a panel for each set of points, coloured by kind.

    Args:
        panels: name of the panel -> points [S, 2].
        kinds: the kind of each of the S points; the legend names the kinds once.

    Raises:
        UserError: a panel has another number of points than `kinds`, or points not of two numbers.
    """
    names = list(dict.fromkeys(kinds))
    colors = dict(zip(names, _colors(len(names), theme), strict=True))
    figure, axes = new_figure(theme, 3.5 * len(panels), 3.6, columns=len(panels))
    for ax, (title, points) in zip(axes, panels.items(), strict=True):
        if np.shape(points) != (len(kinds), 2):
            raise UserError(f"not a point per kind: panel {title!r} is {list(np.shape(points))}; give [S, 2]")
        for name, color in colors.items():
            own = np.asarray(points)[[kind == name for kind in kinds]]
            ax.scatter(own[:, 0], own[:, 1], s=16, color=color, alpha=0.65, linewidths=0)
        ax.grid(False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color(theme.grid)
        ax.set_title(title, color=theme.ink, fontsize=10)
    _legend(figure, colors, theme, columns=5 if len(panels) > 1 else 3)
    return figure


def ranking_bars(
    panels: Mapping[str, Sequence[tuple[str, float]]], right: Sequence[str] = (), theme: Theme = LIGHT
):
    """Candidates and their probabilities, best first, a panel for each ranking.

    Args:
        right: the right candidate of each panel, drawn in green where it is in the ranking.
    """
    longest = max(len(ranking) for ranking in panels.values())
    figure, axes = new_figure(theme, 2.7 * len(panels), 0.27 * longest + 0.6, columns=len(panels))
    for number, (ax, (title, ranking)) in enumerate(zip(axes, panels.items(), strict=True)):
        names, values = zip(*ranking, strict=True)
        colors = [theme.series[2 if name in right[number : number + 1] else 0] for name in names]
        ax.barh(range(0, -len(names), -1), values, height=0.7, color=colors)
        for row, value in enumerate(values):
            number = f"{value:.1%}" if value >= 0.001 else f"{value:.2%}"
            _write(ax, value + 0.03 * max(values), -row, number, theme.muted, "left")
        ax.set_yticks(range(0, -len(names), -1), names, color=theme.ink, fontsize=11)
        ax.set_xticks([])
        ax.set_xlim(0, 1.3 * max(values))
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_title(title, color=theme.ink, fontsize=10, loc="left")
    return figure


def curves(
    lines: Mapping[str, Sequence[float]],
    x_name: str,
    title: str,
    levels: Mapping[str, float] | None = None,
    start: int = 0,
    theme: Theme = LIGHT,
):
    """Lines over `start`, `start` + 1, …, and dashed horizontal `levels` with their names on the right."""
    figure, (ax,) = new_figure(theme, 6.4, 3.3)
    for number, (name, values) in enumerate(lines.items()):
        places, color = range(start, start + len(values)), theme.series[number % len(theme.series)]
        ax.plot(
            places, values, color=color, linewidth=2, label=name, marker="o" if len(values) < 30 else "", ms=4
        )
    for name, level in (levels or {}).items():
        ax.axhline(level, color=theme.muted, linewidth=1, linestyle="--")
        place = dict(xy=(1, level), xycoords=("axes fraction", "data"), textcoords="offset points")
        ax.annotate(name, **place, xytext=(4, 0), va="center", color=theme.muted, fontsize=9)
    ax.set_xlabel(x_name, color=theme.muted, fontsize=9)
    ax.set_title(title, color=theme.ink, fontsize=11, loc="left")
    if len(lines) > 1:
        colors = {name: theme.series[number % len(theme.series)] for number, name in enumerate(lines)}
        _legend(figure, colors, theme)
    return figure


def _colors(count, theme):
    return [theme.series[number % len(theme.series)] for number in range(count)]


def _write(ax, x, y, text, color, align="center"):
    ax.text(x, y, text, ha=align, va="center", color=color, fontsize=9)


def _legend(figure, colors, theme, columns=5):
    from matplotlib.patches import Patch

    handles = [Patch(label=name, color=color) for name, color in colors.items()]
    place = dict(loc="outside lower center", ncols=min(columns, len(handles)))
    figure.legend(handles=handles, **place, frameon=False, labelcolor=theme.ink, fontsize=9)
