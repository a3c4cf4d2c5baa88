"""Pictures of the first chapters: text cut into tokens, tables of numbers, where attention looks.

Every function gives a matplotlib Figure; `lab.notebook.show` puts it under a cell.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure
from ernie_from_scratch.text.tokenizers.basic import is_han, is_punctuation
from ernie_from_scratch.text.tokenizers.vocabulary import SPECIAL_TOKENS
from ernie_from_scratch.text.tokenizers.wordpiece import Piece

KINDS = {  # name in the legend, place of the colour in Theme.series
    "han": ("one Han character", 0),
    "word": ("word of several Han characters", 3),
    "letters": ("letters or digits", 2),
    "inner": ("## piece: goes on a word", 1),
    "symbol": ("punctuation or symbol", 5),
    "special": ("special token", 4),
    "unknown": ("unknown", None),
}


def token_kind(token: str) -> str:
    """What a token is written with, a key of KINDS."""
    if token == "[UNK]":
        return "unknown"
    if token in SPECIAL_TOKENS:
        return "special"
    if token.startswith("##") and len(token) > 2:
        return "inner"
    if is_han(token[0]):
        return "han" if len(token) == 1 else "word"
    return "symbol" if is_punctuation(token[0]) else "letters"


def token_boxes(text: str, rows: Mapping[str, Sequence[Piece | str]], theme: Theme = LIGHT):
    """The same text cut in several ways, a row of coloured boxes for each, aligned by character.

    Args:
        rows: name of the way -> its (token, start, end) pieces, offsets in characters of `text`, or its
            plain parts, which joined give `text`.
    """
    rows = {name: _pieces(parts) for name, parts in rows.items()}
    edges = np.concatenate([[0], np.cumsum([1.0 if ord(char) > 0x2E80 else 0.8 for char in text])])
    figure, (ax,) = new_figure(theme, max(5.5, 0.34 * edges[-1] + 1.7), 0.55 * len(rows) + 0.9)
    for number, pieces in enumerate(rows.values()):
        for token, start, end in pieces:
            _box(ax, edges[start], edges[end], -number, token, theme)
    names = [f"{name} ({len(pieces)})" for name, pieces in rows.items()]
    _legend(figure, {token_kind(token) for pieces in rows.values() for token, _, _ in pieces}, theme)
    _bare(ax)
    ax.set_yticks(range(0, -len(rows), -1), names, color=theme.ink, fontsize=10)
    ax.set_xlim(0, edges[-1])
    ax.set_ylim(-len(rows) + 0.45, 0.55)
    return figure


def _pieces(parts):
    if parts and not isinstance(parts[0], str):
        return list(parts)
    ends = np.cumsum([len(part) for part in parts])
    return [(part, int(end) - len(part), int(end)) for part, end in zip(parts, ends, strict=True)]


def _box(ax, left, right, middle, token, theme):
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.12"
    style = _box_style(token_kind(token), theme)
    ax.add_patch(
        FancyBboxPatch((left + 0.06, middle - 0.34), right - left - 0.12, 0.68, boxstyle=shape, **style)
    )
    room = (
        25
        * (right - left)
        / sum(1.0 if ord(char) > 0x2E80 else 0.85 if char.isupper() else 0.6 for char in token)
    )
    _text(ax, (left + right) / 2, middle - 0.02, token, theme.ink, min(11, max(5.5, room)))


def _box_style(kind, theme):
    """Edge and a paler filling; unknown tokens are empty and dashed."""
    from matplotlib.colors import to_rgb

    if kind == "unknown":
        return {"facecolor": theme.page, "edgecolor": theme.ink, "linestyle": "--", "linewidth": 1.2}
    color = theme.series[KINDS[kind][1]]
    pale = [0.22 * a + 0.78 * b for a, b in zip(to_rgb(color), to_rgb(theme.page), strict=True)]
    return {"facecolor": pale, "edgecolor": color, "linestyle": "-", "linewidth": 1.2}


def _legend(figure, kinds, theme):
    from matplotlib.patches import Patch

    handles = [Patch(label=KINDS[kind][0], **_box_style(kind, theme)) for kind in KINDS if kind in kinds]
    columns = min(4, len(handles))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9,
    )


def _text(ax, x, y, text, color, size=11.0, align="center"):
    ax.text(x, y, text, ha=align, va="center", color=color, fontsize=size, zorder=4)


def _bare(ax):
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def matching_steps(word: str, attempts: Sequence[tuple[int, int, bool]], theme: Theme = LIGHT):
    """How WordPiece finds its way through a word: one line per attempt, the first on top.

    Args:
        attempts: (start, end, found) of each piece that was looked up.
    """
    figure, (ax,) = new_figure(theme, 0.3 * len(word) + 2.6, 0.27 * len(attempts) + 0.4)
    for row, (start, end, found) in enumerate(attempts):
        ink, color = (theme.ink, theme.series[2]) if found else (theme.muted, theme.muted)
        ax.barh(-row, end - start, left=start, height=0.8, color=color, alpha=0.35 if found else 0.1)
        for place in range(start, end):
            _text(ax, place + 0.5, -row, word[place], ink)
        piece = ("##" if start else "") + word[start:end]
        _text(ax, len(word) + 0.5, -row, f"{piece}  {'found' if found else 'no'}", ink, 9, "left")
    _bare(ax)
    ax.set_xlim(0, len(word) + 8)
    ax.set_ylim(-len(attempts) + 0.4, 0.6)
    return figure


def coverage_curves(counts: Mapping[str, Counter], theme: Theme = LIGHT):
    """What share of the running text the most frequent 1, 2, 3 … units cover, a line per kind of unit."""
    figure, (ax,) = new_figure(theme, 6.4, 3.4)
    for number, (name, counter) in enumerate(counts.items()):
        shares = 100 * np.cumsum(sorted(counter.values(), reverse=True)) / sum(counter.values())
        color = theme.series[number % len(theme.series)]
        ax.plot(np.arange(1, len(shares) + 1), shares, color=color, linewidth=2, label=name)
        ax.plot(len(shares), 100, "o", color=color, markersize=5)
        _text(ax, len(shares), 106, f"{len(shares):,}", color, 9, "left" if number else "right")
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_ylim(0, 112)
    ax.set_yticks(range(0, 101, 25))
    ax.set_xlabel("size of the vocabulary, most frequent first", color=theme.muted, fontsize=9)
    ax.set_title("share of the text that is covered, %", color=theme.ink, fontsize=11, loc="left")
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9, loc="lower right")
    return figure


def kind_bars(counts: Mapping[str, Mapping[str, int]], theme: Theme = LIGHT):
    """Shares of the kinds of tokens, one bar from 0 to 100 % per name, with the counts inside."""
    figure, (ax,) = new_figure(theme, 7.2, 0.6 * len(counts) + 1.0)
    for row, kinds in enumerate(counts.values()):
        left = 0.0
        for kind in (kind for kind in KINDS if kinds.get(kind)):
            width = 100 * kinds[kind] / sum(kinds.values())
            ax.barh(-row, width, left=left, height=0.62, **_box_style(kind, theme))
            if width > 6:
                _text(ax, left + width / 2, -row, f"{kinds[kind]:,}", theme.ink, 9)
            left += width
    _legend(figure, {kind for kinds in counts.values() for kind in kinds if kinds[kind]}, theme)
    _bare(ax)
    ax.set_yticks(range(0, -len(counts), -1), counts, color=theme.ink, fontsize=10)
    ax.set_xlim(-0.3, 100.3)
    return figure


def heat_maps(
    tables: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    signs: Sequence[str] = (),
    numbers: bool = False,
    x_name: str = "",
    y_name: str = "",
    theme: Theme = LIGHT,
):
    """Tables [R, C] side by side with the same row names and the same scale of colours.

    Zero is white, a positive number orange, a negative one blue; blue to white when none is negative.

    Args:
        rows, columns: names of the rows (drawn once, on the left) and of the columns (under each table).
        signs: what stands between the tables ("+", "+", "="), one fewer than tables.
        numbers: write each number into its field.

    Raises:
        UserError: a table whose rows or columns do not have as many names.
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
        ax.set_xlabel(x_name, color=theme.muted, fontsize=9)
        ax.set_ylabel("" if number else y_name, color=theme.muted, fontsize=9)
        if 0 < number <= len(signs):
            place = dict(xy=(0, 0.5), xycoords="axes fraction", xytext=(-14, 0), textcoords="offset points")
            ax.annotate(signs[number - 1], **place, ha="center", va="center", fontsize=15, color=theme.ink)
    figure.get_layout_engine().set(wspace=0.09 if signs else 0.04)
    return figure


def _heat_map(ax, table, scale, numbers, theme):
    from matplotlib.colors import LinearSegmentedColormap

    signed, high = scale.min() < 0, np.abs(scale).max() or 1.0
    ends = [theme.series[0], theme.page, theme.series[1]] if signed else [theme.page, theme.series[0]]
    colors = LinearSegmentedColormap.from_list("lab", ends)
    ax.imshow(
        table, cmap=colors, vmin=-high if signed else 0, vmax=high, aspect="auto", interpolation="nearest"
    )
    ax.grid(False)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(theme.grid)
    if numbers:
        for (row, column), value in np.ndenumerate(table):
            _text(ax, column, row, f"{value:.2f}", theme.page if abs(value) > 0.6 * high else theme.ink, 7.5)


def attention_lines(
    tokens: Sequence[str], heads: Mapping[str, np.ndarray], query: int | None = None, theme: Theme = LIGHT
):
    """Where each token looks: queries on the left, keys on the right, a line as strong as its weight.

    Args:
        heads: name of the head -> its weights [L, L], rows (queries) sum to 1; a panel for each.
        query: draw the lines of this token only, with their weights in numbers.
    """
    length = len(tokens)
    figure, axes = new_figure(theme, 2.7 * len(heads) + 0.3, 0.28 * length + 0.6, columns=len(heads))
    for number, (ax, (name, weights)) in enumerate(zip(axes, heads.items(), strict=True)):
        color = theme.series[number % len(theme.series)]
        for row, column in np.ndindex(length, length):
            weight = float(weights[row][column])
            if weight >= 0.01 and query in (None, row):
                ax.plot(
                    [0, 1], [-row, -column], color=color, alpha=min(1, weight), linewidth=0.6 + 2.6 * weight
                )
            if weight >= 0.05 and query == row:
                _text(ax, 1.42, -column, f"{weight:.2f}", theme.muted, 8, "right")
        for place, token in enumerate(tokens):
            _text(ax, -0.04, -place, token, theme.ink if query in (None, place) else theme.muted, 11, "right")
            _text(ax, 1.04, -place, token, theme.ink, 11, "left")
        _bare(ax)
        ax.set_title(name, color=theme.ink, fontsize=10)
        ax.set_xlim(-0.4, 1.45)
        ax.set_ylim(-length + 0.4, 0.6)
    return figure


def line_chart(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    x_name: str,
    title: str,
    log_x: bool = False,
    theme: Theme = LIGHT,
):
    """One line with dots per name over the same values of x, where the ticks stand."""
    figure, (ax,) = new_figure(theme, 5.6, 3.2)
    for number, (name, values) in enumerate(lines.items()):
        color = theme.series[number % len(theme.series)]
        ax.plot(x, values, color=color, linewidth=2, marker="o", markersize=4, label=name)
    if log_x:
        ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.minorticks_off()
    ax.set_ylim(bottom=min(0, *(min(values) for values in lines.values())))
    ax.set_xlabel(x_name, color=theme.muted, fontsize=9)
    ax.set_title(title, color=theme.ink, fontsize=11, loc="left")
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9)
    return figure
