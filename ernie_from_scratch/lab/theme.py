"""Colours and figure style of every picture, once for a light page and once for a dark one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours as CSS hex strings; `series` is safe for the common kinds of colour blindness."""

    name: str
    page: str  # background of the picture
    ink: str  # titles and numbers
    muted: str  # axis labels
    grid: str
    series: tuple[str, ...]


LIGHT = Theme(
    name="light",
    page="#ffffff",
    ink="#1a2230",
    muted="#5b6675",
    grid="#e3e7ec",
    series=("#1f6fc4", "#e07b22", "#1b9a77", "#a2559f", "#8c6d1f", "#5b6675"),
)
DARK = Theme(
    name="dark",
    page="#161b22",
    ink="#e6edf3",
    muted="#9aa7b4",
    grid="#2b333d",
    series=("#5aa9f5", "#f2a04f", "#3fc79f", "#cf8fd0", "#cfae5c", "#9aa7b4"),
)


def new_figure(theme: Theme, width: float, height: float, columns: int = 1, **subplot_settings):
    """A matplotlib Figure of `width` x `height` inches in `theme`, with `columns` axes side by side.

    Uses the object interface, so that nothing is left open in pyplot. Returns (figure, list of axes).
    """
    from matplotlib.figure import Figure

    from ernie_from_scratch.lab.fonts import use_chinese_font

    use_chinese_font()
    figure = Figure(figsize=(width, height), facecolor=theme.page, layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False, **subplot_settings)[0])
    for ax in axes:
        ax.set_facecolor(theme.page)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(theme.grid)
        ax.tick_params(colors=theme.muted, length=0, labelsize=9)
        ax.grid(axis="y", color=theme.grid, linewidth=0.8)
        ax.set_axisbelow(True)
    return figure, axes


def png_bytes(figure, dots_per_inch: int = 144) -> bytes:
    """The figure as PNG, the same bytes for the same figure (no date inside)."""
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()
