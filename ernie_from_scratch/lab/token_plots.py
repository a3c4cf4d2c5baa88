"""Chapter 01: text split into tokens, the steps of WordPiece, and what a vocabulary covers."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.figures import (
    Artist,
    Axes,
    Figure,
    Style,
    blend,
    hide_axes,
    label,
    label_rows,
    legend_below,
    legend_inside,
    new_figure,
    write,
)
from ernie_from_scratch.lab.theme import LIGHT, Theme
from ernie_from_scratch.text.tokenizers.basic import is_han, is_punctuation
from ernie_from_scratch.text.tokenizers.vocabulary import SPECIAL_TOKENS
from ernie_from_scratch.text.tokenizers.wordpiece import Piece

KINDS = {  # kind of token -> name in the legend, place of its colour in Theme.series
    "han": ("one Han character", 0),
    "word": ("word of several Han characters", 3),
    "letters": ("letters or digits", 2),
    "inner": ("## piece: continues a word", 1),
    "symbol": ("punctuation or symbol", 5),
    "special": ("special token", 4),
    "unknown": ("unknown", None),
}


def token_kind(token: str) -> str:
    """What kind of token it is, a key of KINDS."""
    if token == "[UNK]":
        return "unknown"
    if token in SPECIAL_TOKENS:
        return "special"
    if token.startswith("##") and len(token) > 2:
        return "inner"
    if is_han(token[0]):
        return "han" if len(token) == 1 else "word"
    return "symbol" if is_punctuation(token[0]) else "letters"


def token_boxes(text: str, rows: Mapping[str, Sequence[Piece | str]], theme: Theme = LIGHT) -> Figure:
    """The same text tokenized in several ways, a row of coloured boxes for each, aligned by character.

    Args:
        rows: name of the row -> (token, start, end) pieces with offsets in characters of `text`, or strings that
            give `text` when they are joined.
    """
    pieces_of = {name: _as_pieces(parts) for name, parts in rows.items()}
    edges = np.concatenate([[0], np.cumsum([1.0 if _is_wide(char) else 0.8 for char in text])])
    figure, (ax,) = new_figure(theme, max(5.5, 0.34 * edges[-1] + 1.7), 0.55 * len(rows) + 0.9)
    for number, pieces in enumerate(pieces_of.values()):
        for token, start, end in pieces:
            _box(ax, edges[start], edges[end], -number, token, theme)
    kinds = {token_kind(token) for pieces in pieces_of.values() for token, _, _ in pieces}
    legend_below(figure, theme, _kind_patches(kinds, theme), columns=4)
    hide_axes(ax)
    label_rows(ax, theme, [f"{name} ({len(pieces)})" for name, pieces in pieces_of.items()])
    ax.set_xlim(0, edges[-1])
    ax.set_ylim(-len(rows) + 0.45, 0.55)
    return figure


def _as_pieces(parts: Sequence[Piece | str]) -> list[tuple[str, int, int]]:
    pieces, start = [], 0
    for part in parts:
        if isinstance(part, str):
            part = (part, start, start + len(part))
        pieces.append(tuple(part))
        start = part[2]
    return pieces


def _is_wide(char: str) -> bool:
    return ord(char) > 0x2E80


def _box(ax: Axes, left: float, right: float, middle: float, token: str, theme: Theme) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape: Style = dict(boxstyle="round,pad=0,rounding_size=0.12", **_box_style(token_kind(token), theme))
    ax.add_patch(FancyBboxPatch((left + 0.06, middle - 0.34), right - left - 0.12, 0.68, **shape))
    width = sum(1.0 if _is_wide(char) else 0.85 if char.isupper() else 0.6 for char in token)
    size = min(11, max(5.5, 25 * (right - left) / width))  # points, so that the token fits into its box
    write(ax, (left + right) / 2, middle - 0.02, token, theme.ink, size, zorder=4)


def _box_style(kind: str, theme: Theme) -> Style:
    """A coloured edge around a paler colour; unknown tokens are empty and dashed."""
    place = KINDS[kind][1]
    if place is None:
        return {"facecolor": theme.page, "edgecolor": theme.ink, "linestyle": "--", "linewidth": 1.2}
    color = theme.series[place]
    pale = blend(color, theme.page, 0.22)
    return {"facecolor": pale, "edgecolor": color, "linestyle": "-", "linewidth": 1.2}


def _kind_patches(kinds: set[str], theme: Theme) -> list[Artist]:
    from matplotlib.patches import Patch

    return [Patch(label=KINDS[kind][0], **_box_style(kind, theme)) for kind in KINDS if kind in kinds]


def wordpiece_steps(word: str, attempts: Sequence[tuple[int, int, bool]], theme: Theme = LIGHT) -> Figure:
    """How WordPiece proceeds through a word: one line per vocabulary lookup, the first on top.

    Args:
        attempts: (start, end, found) of each piece that was looked up.
    """
    figure, (ax,) = new_figure(theme, 0.3 * len(word) + 2.6, 0.27 * len(attempts) + 0.4)
    for row, (start, end, found) in enumerate(attempts):
        ink, color = (theme.ink, theme.series[2]) if found else (theme.muted, theme.muted)
        ax.barh(-row, end - start, left=start, height=0.8, color=color, alpha=0.35 if found else 0.1)
        for place in range(start, end):
            write(ax, place + 0.5, -row, word[place], ink, 11, zorder=4)
        piece = ("##" if start else "") + word[start:end]
        result = f"{piece}  {'found' if found else 'no'}"
        write(ax, len(word) + 0.5, -row, result, ink, align="left", zorder=4)
    hide_axes(ax)
    ax.set_xlim(0, len(word) + 8)
    ax.set_ylim(-len(attempts) + 0.4, 0.6)
    return figure


def coverage_curves(counts: Mapping[str, Counter], theme: Theme = LIGHT) -> Figure:
    """The share of the running text that the most frequent 1, 2, 3 … units cover, a line per kind of unit."""
    figure, (ax,) = new_figure(theme, 6.4, 3.4)
    for number, (name, counter) in enumerate(counts.items()):
        shares = 100 * np.cumsum(sorted(counter.values(), reverse=True)) / sum(counter.values())
        color, size = theme.color(number), len(shares)
        ax.plot(np.arange(1, size + 1), shares, color=color, linewidth=2, label=name)
        ax.plot(size, 100, "o", color=color, markersize=5)
        write(ax, size, 106, f"{size:,}", color, align="left" if number else "right", zorder=4)
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_ylim(0, 112)
    ax.set_yticks(range(0, 101, 25))
    label(ax, theme, "share of the text that is covered, %", "size of the vocabulary, most frequent first")
    legend_inside(ax, theme, loc="lower right")
    return figure


def token_kind_bars(counts: Mapping[str, Mapping[str, int]], theme: Theme = LIGHT) -> Figure:
    """Shares of the kinds of tokens, one bar from 0 to 100 % per name, with the counts inside."""
    figure, (ax,) = new_figure(theme, 7.2, 0.6 * len(counts) + 1.0)
    for row, kinds in enumerate(counts.values()):
        left = 0.0
        for kind in (kind for kind in KINDS if kinds.get(kind)):
            width = 100 * kinds[kind] / sum(kinds.values())
            ax.barh(-row, width, left=left, height=0.62, **_box_style(kind, theme))
            if width > 6:
                write(ax, left + width / 2, -row, f"{kinds[kind]:,}", theme.ink, zorder=4)
            left += width
    present = {kind for kinds in counts.values() for kind in kinds if kinds[kind]}
    legend_below(figure, theme, _kind_patches(present, theme), columns=4)
    hide_axes(ax)
    label_rows(ax, theme, counts)
    ax.set_xlim(-0.3, 100.3)
    return figure
