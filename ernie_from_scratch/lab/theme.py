"""The colours of every picture, for a light page and for a dark one."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours as CSS hex strings; `series` can be told apart with the common kinds of colour blindness."""

    name: str
    page: str  # background of the picture
    ink: str  # titles and numbers
    muted: str  # axis labels
    grid: str
    series: tuple[str, ...]

    def color(self, number: int) -> str:
        """Colour of the series `number`; after the last one they start again."""
        return self.series[number % len(self.series)]

    def colors(self, names: Iterable[str]) -> dict[str, str]:
        """One colour for each name, in order."""
        return {name: self.color(number) for number, name in enumerate(names)}


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
