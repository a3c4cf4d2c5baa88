"""Chapters 05 to 07: vectors as points on a plane, and ranked predictions."""

from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.figures import (
    Figure,
    frame,
    hide_axes,
    label,
    label_rows,
    legend_below,
    new_figure,
    patches,
    write,
)
from ernie_from_scratch.lab.theme import LIGHT, Theme


def scatter_panels(panels: Mapping[str, np.ndarray], kinds: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Points on a plane, a panel for each set of points, coloured by kind.

    Args:
        panels: title of the panel -> points [S, 2].
        kinds: the kind of each of the S points; the legend lists every kind once.

    Raises:
        UserError: the points of a panel are not [S, 2].
    """
    colors = theme.colors(dict.fromkeys(kinds))
    figure, axes = new_figure(theme, 3.5 * len(panels), 3.6, columns=len(panels))
    for ax, (title, points) in zip(axes, panels.items(), strict=True):
        if np.shape(points) != (len(kinds), 2):
            raise UserError(f"not a point per kind: panel {title!r} is {list(np.shape(points))}; give [S, 2]")
        for name, color in colors.items():
            of_kind = np.asarray(points)[[kind == name for kind in kinds]]  # [of this kind, 2]
            ax.scatter(of_kind[:, 0], of_kind[:, 1], s=16, color=color, alpha=0.65, linewidths=0)
        hide_axes(ax)
        frame(ax, theme)
        ax.set_title(title, color=theme.ink, fontsize=10)
    legend_below(figure, theme, patches(colors), columns=5 if len(panels) > 1 else 3)
    return figure


def ranking_bars(
    panels: Mapping[str, Sequence[tuple[str, float]]], right: Sequence[str] = (), theme: Theme = LIGHT
) -> Figure:
    """Candidates and their probabilities, best first, a panel for each ranking.

    Args:
        right: the right candidate of each panel, drawn in green where the ranking contains it.
    """
    longest = max(len(ranking) for ranking in panels.values())
    figure, axes = new_figure(theme, 2.7 * len(panels), 0.27 * longest + 0.6, columns=len(panels))
    for number, (ax, (title, ranking)) in enumerate(zip(axes, panels.items(), strict=True)):
        names, values = zip(*ranking, strict=True)
        colors = [theme.series[2 if name in right[number : number + 1] else 0] for name in names]
        ax.barh(range(0, -len(names), -1), values, height=0.7, color=colors)
        for row, value in enumerate(values):
            shown = f"{value:.1%}" if value >= 0.001 else f"{value:.2%}"
            write(ax, value + 0.03 * max(values), -row, shown, theme.muted, align="left")
        hide_axes(ax)
        label_rows(ax, theme, names, size=11)
        ax.set_xlim(0, 1.3 * max(values))
        label(ax, theme, title, size=10)
    return figure
