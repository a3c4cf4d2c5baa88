"""Matrices as colours, from chapter 02 on, and attention weights as lines, chapter 03."""

from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.figures import Axes, Figure, Style, frame, hide_axes, label, new_figure, write
from ernie_from_scratch.lab.theme import LIGHT, Theme


def heat_maps(
    tables: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    signs: Sequence[str] = (),
    numbers: bool = False,
    x_name: str = "",
    y_name: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Tables [R, C] side by side with the same row names and the same colour scale.

    Zero is white, positive numbers are orange, negative ones blue; without negative numbers from white to blue.

    Args:
        rows, columns: names of the R rows (written once, on the left) and of the C columns (under each table).
        signs: signs between the tables ("+", "+", "="), one fewer than tables.
        numbers: write each number into its cell.

    Raises:
        UserError: a table has another number of rows or columns than there are names.
    """
    tables = {name: np.asarray(table, dtype=float) for name, table in tables.items()}
    for name, table in tables.items():
        if table.shape != (len(rows), len(columns) if columns else table.shape[-1]):
            raise UserError(
                f"names do not fit: table {name!r} is {list(table.shape)}; name each row and column"
            )
    cell = 0.0 if columns is None else 0.44 if numbers else 0.3
    width = sum(cell * table.shape[1] or 2.6 for table in tables.values()) + 0.5 * len(tables) + 0.8
    ratios = [table.shape[1] for table in tables.values()]
    figure, axes = new_figure(theme, width, 0.3 * len(rows) + 1.0, columns=len(tables), width_ratios=ratios)
    scale = np.concatenate([table.ravel() for table in tables.values()])
    for number, (ax, (name, table)) in enumerate(zip(axes, tables.items(), strict=True)):
        _heat_map(ax, table, scale, numbers, theme)
        ax.set_title(name, color=theme.ink, fontsize=10)
        ax.set_yticks(range(len(rows)), [] if number else rows, color=theme.ink, fontsize=10)
        ax.set_xticks(range(len(columns or ())), columns or (), color=theme.ink, fontsize=10)
        label(ax, theme, x=x_name, y="" if number else y_name)
        if 0 < number <= len(signs):
            place: Style = dict(
                xy=(0, 0.5), xycoords="axes fraction", xytext=(-14, 0), textcoords="offset points"
            )
            ax.annotate(signs[number - 1], **place, ha="center", va="center", fontsize=15, color=theme.ink)
    figure.set_layout_engine("constrained", wspace=0.09 if signs else 0.04)
    return figure


def _heat_map(ax: Axes, table: np.ndarray, scale: np.ndarray, numbers: bool, theme: Theme) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    signed, high = scale.min() < 0, np.abs(scale).max() or 1.0
    ends = [theme.series[0], theme.page, theme.series[1]] if signed else [theme.page, theme.series[0]]
    colors = LinearSegmentedColormap.from_list("lab", ends)
    ax.imshow(
        table, cmap=colors, vmin=-high if signed else 0, vmax=high, aspect="auto", interpolation="nearest"
    )
    frame(ax, theme)
    if numbers:
        for (row, column), value in np.ndenumerate(table):
            ink = theme.page if abs(value) > 0.6 * high else theme.ink
            write(ax, column, row, f"{value:.2f}", ink, 7.5, zorder=4)


def attention_lines(
    tokens: Sequence[str], heads: Mapping[str, np.ndarray], query: int | None = None, theme: Theme = LIGHT
) -> Figure:
    """Attention weights: queries on the left, keys on the right, a stronger line for a larger weight.

    Args:
        heads: name of the head -> its weights [L, L], whose rows (queries) sum to 1; a panel for each.
        query: draw the lines of this token only, with their weights as numbers.
    """
    length = len(tokens)
    figure, axes = new_figure(theme, 2.7 * len(heads) + 0.3, 0.28 * length + 0.6, columns=len(heads))
    for number, (ax, (name, weights)) in enumerate(zip(axes, heads.items(), strict=True)):
        for row, column in np.ndindex(length, length):
            weight = float(weights[row][column])
            if weight >= 0.01 and query in (None, row):
                line: Style = dict(
                    color=theme.color(number), alpha=min(1, weight), linewidth=0.6 + 2.6 * weight
                )
                ax.plot([0, 1], [-row, -column], **line)
            if weight >= 0.05 and query == row:
                write(ax, 1.42, -column, f"{weight:.2f}", theme.muted, 8, "right", zorder=4)
        for place, token in enumerate(tokens):
            ink = theme.ink if query in (None, place) else theme.muted
            write(ax, -0.04, -place, token, ink, 11, "right", zorder=4)
            write(ax, 1.04, -place, token, theme.ink, 11, "left", zorder=4)
        hide_axes(ax)
        ax.set_title(name, color=theme.ink, fontsize=10)
        ax.set_xlim(-0.4, 1.45)
        ax.set_ylim(-length + 0.4, 0.6)
    return figure
