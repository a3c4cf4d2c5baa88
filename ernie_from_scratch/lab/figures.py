"""Figures and what all of them share: axes, labels, legends, blended colours, PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ernie_from_scratch.lab.theme import Theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:  # for annotations: matplotlib is imported by the functions that need it
    Artist = Axes = Figure = object

Style = dict[str, Any]  # keyword arguments of a matplotlib method


def new_figure(
    theme: Theme, width: float, height: float, columns: int = 1, **subplot_settings
) -> tuple[Figure, list[Axes]]:
    """A Figure of `width` x `height` inches with `columns` axes side by side, and the axes.

    It is made without pyplot, so it needs no closing. `subplot_settings` go to `Figure.subplots`.
    """
    figure = _empty_figure(theme, width, height)
    axes = list(figure.subplots(1, columns, squeeze=False, **subplot_settings)[0])
    for ax in axes:
        _style(ax, theme, grid="y")
    return figure, axes


def new_rows(theme: Theme, width: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A Figure with axes below each other, `heights` inches high; only the last one has tick labels on its x axis."""
    figure = _empty_figure(theme, width, sum(heights) + 0.35 * len(heights) + 0.65)
    axes = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    for ax in axes:
        _style(ax, theme, grid="x")
        ax.tick_params(labelbottom=ax is axes[-1])
    return figure, axes


def _empty_figure(theme: Theme, width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    from ernie_from_scratch.lab.fonts import use_chinese_font

    use_chinese_font()
    return Figure(figsize=(width, height), facecolor=theme.page, layout="constrained")


def _style(ax: Axes, theme: Theme, grid: Literal["x", "y"]) -> None:
    ax.set_facecolor(theme.page)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(theme.grid)
    ax.tick_params(colors=theme.muted, length=0, labelsize=9)
    ax.grid(axis=grid, color=theme.grid, linewidth=0.8)
    ax.set_axisbelow(True)


def hide_axes(ax: Axes) -> None:
    """Remove grid, ticks and frame."""
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def frame(ax: Axes, theme: Theme) -> None:
    """Draw a thin line on all four sides, and no grid."""
    ax.grid(False)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(theme.grid)


def label(
    ax: Axes,
    theme: Theme,
    title: str | None = None,
    x: str | None = None,
    y: str | None = None,
    size: float = 11,
) -> None:
    """Set the title (`size` points, left), and the names of the axes."""
    if title is not None:
        ax.set_title(title, color=theme.ink, fontsize=size, loc="left")
    if x is not None:
        ax.set_xlabel(x, color=theme.muted, fontsize=9)
    if y is not None:
        ax.set_ylabel(y, color=theme.muted, fontsize=9)


def label_rows(ax: Axes, theme: Theme, names: Sequence[str] | Mapping[str, object], size: float = 10) -> None:
    """Write names on the y axis at 0, -1, -2 …, so that the first is on top."""
    ax.set_yticks(range(0, -len(names), -1), list(names), color=theme.ink, fontsize=size)


def write(
    ax: Axes, x: float, y: float, text: str, color: str, size: float = 9, align: str = "center", **style
) -> None:
    """Write a text centred vertically at y."""
    ax.text(x, y, text, ha=align, va="center", color=color, fontsize=size, **style)


def patches(colors: Mapping[str, str]) -> list[Artist]:
    """A coloured box for the legend for each name."""
    from matplotlib.patches import Patch

    return [Patch(label=name, color=color) for name, color in colors.items()]


def handles_of(ax: Axes) -> list[Artist]:
    """What has been drawn in `ax` with a label, each label once."""
    handles, labels = ax.get_legend_handles_labels()
    return list(dict(zip(labels, handles, strict=True)).values())


def legend_below(figure: Figure, theme: Theme, handles: Sequence[Artist], columns: int = 5) -> None:
    """A legend below the axes with up to `columns` entries in a row; none if there are no handles."""
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(columns, len(handles)),
            frameon=False,
            labelcolor=theme.ink,
            fontsize=9,
        )


def legend_inside(ax: Axes, theme: Theme, **place) -> None:
    """A legend inside the axes; `place` goes to `Axes.legend`."""
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9, **place)


def blend(color: str, background: str, share: float) -> tuple[float, float, float]:
    """RGB of `share` of a colour on the background, so of a paler colour."""
    from matplotlib.colors import to_rgb

    pairs = zip(to_rgb(color), to_rgb(background), strict=True)
    red, green, blue = (share * a + (1 - share) * b for a, b in pairs)
    return red, green, blue


def png_bytes(figure: Figure, dots_per_inch: int = 144) -> bytes:
    """The figure as PNG; equal figures give equal bytes (no date inside)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()
