"""Masked sentences as a matplotlib picture, which shows wherever a notebook does (the HTML of mask_pictures.py
needs the report's style sheet).
"""

from collections.abc import Sequence

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.mask_pictures import TYPE_NAMES, MaskedExample
from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES, PHRASE_START, TYPE_SHIFT, WORD_START

SERIES = {"PER": 1, "LOC": 0, "ORG": 4, "TIME": 2, "WORK": 3, "OTHER": 5}  # places in Theme.series
WORD_GAP, PHRASE_GAP = 0.12, 0.42  # in widths of a character


def masked_figure(examples: Sequence[MaskedExample], theme: Theme = LIGHT):
    """One row of boxes per example: colour for an entity, a gap between words, a wider one between phrases.

    A token that the network has to predict stands in black, with what the network sees of it: nothing when it
    is hidden, the token itself when it was left, another one in italics when it was replaced.

    Raises:
        UserError: no example, or tokens that differ from the first example's (the rows must be one text).
    """
    if not examples:
        raise UserError("nothing to draw: the list of masked examples is empty")
    if any(list(example.tokens) != list(examples[0].tokens) for example in examples):
        raise UserError("examples of different texts: draw one figure for each text")
    edges = [_edges(example) for example in examples]
    width = max(right[-1][1] for right in edges)
    figure, (ax,) = new_figure(theme, max(4.5, 0.29 * width + 1.5), 0.52 * len(examples) + 0.75)
    for row, (example, places) in enumerate(zip(examples, edges, strict=True)):
        for place, (left, right) in enumerate(places):
            _token(ax, example, place, left, right, -row, theme)
    _legend(figure, examples, theme)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks(range(0, -len(examples), -1), [e.name for e in examples], color=theme.ink, fontsize=10)
    ax.set_xlim(-0.1, width + 0.1)
    ax.set_ylim(-len(examples) + 0.5, 0.5)
    return figure


def _edges(example):
    """(left, right) of each token's box."""
    edges, left = [], 0.0
    for place, token in enumerate(example.tokens):
        mark = 0 if example.marks is None else int(example.marks[place])
        if place:
            left += PHRASE_GAP if mark & PHRASE_START else WORD_GAP if mark & WORD_START else 0.0
        width = 1.0 if len(token) == 1 else 1.5 if token.startswith("[") else 0.5 * len(token) + 0.3
        edges.append((left, left + width))
        left += width
    return edges


def _token(ax, example, place, left, right, middle, theme):
    from matplotlib.patches import Rectangle

    token, seen, asked = example.tokens[place], example.seen[place], place in example.chosen
    color = _color(example, place, theme)
    if asked:
        face, ink, text = theme.ink, theme.page, "" if seen == "[MASK]" else seen
    else:
        face, ink, text = _pale(color, theme) if color else theme.page, theme.ink, token
    special = token.startswith("[") and len(token) > 1
    edge = theme.page if special and not asked else color or theme.grid
    ax.add_patch(
        Rectangle((left, middle - 0.36), right - left, 0.72, facecolor=face, edgecolor=edge, linewidth=1.1)
    )
    style = dict(fontsize=7.5 if special else 11, color=theme.muted if special and not asked else ink)
    style["style"] = "italic" if asked and seen != token else "normal"
    ax.text((left + right) / 2, middle - 0.02, text, ha="center", va="center", **style)


def _color(example, place, theme):
    kind = 0 if example.marks is None else int(example.marks[place]) >> TYPE_SHIFT
    return theme.series[SERIES[ENTITY_TYPES[kind]]] if kind else None


def _pale(color, theme):
    from matplotlib.colors import to_rgb

    return [0.25 * a + 0.75 * b for a, b in zip(to_rgb(color), to_rgb(theme.page), strict=True)]


def _legend(figure, examples, theme):
    from matplotlib.patches import Patch

    marks = [int(mark) for example in examples if example.marks is not None for mark in example.marks]
    handles = []
    for name in ENTITY_TYPES[1:]:
        if any(ENTITY_TYPES[mark >> TYPE_SHIFT] == name for mark in marks):
            color = theme.series[SERIES[name]]
            handles.append(Patch(facecolor=_pale(color, theme), edgecolor=color, label=TYPE_NAMES[name]))
    if any(len(example.chosen) for example in examples):
        handles.append(Patch(facecolor=theme.ink, edgecolor=theme.ink, label="to be predicted"))
    if handles:
        style = dict(ncols=6, frameon=False, labelcolor=theme.ink, fontsize=9)
        figure.legend(handles=handles, loc="outside lower center", **style)
