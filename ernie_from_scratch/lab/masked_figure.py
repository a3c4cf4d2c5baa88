"""Chapters 00, 08 and 09: masked sentences as a figure."""

from collections.abc import Sequence

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.figures import (
    Artist,
    Axes,
    Figure,
    Style,
    blend,
    hide_axes,
    label_rows,
    legend_below,
    new_figure,
)
from ernie_from_scratch.lab.masked_examples import TYPE_NAMES, MaskedExample
from ernie_from_scratch.lab.theme import LIGHT, Theme
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES, PHRASE_START, WORD_START

SERIES = {"PER": 1, "LOC": 0, "ORG": 4, "TIME": 2, "WORK": 3, "OTHER": 5}  # places in Theme.series
WORD_GAP, PHRASE_GAP = 0.12, 0.42  # in widths of a character


def masked_figure(examples: Sequence[MaskedExample], theme: Theme = LIGHT) -> Figure:
    """One row of boxes per example: a colour for an entity, a gap between words, a wider one between phrases.

    A masked position is black and shows what the network sees there: nothing for [MASK], the token itself if it was
    kept, another token in italics if it was replaced.

    Raises:
        UserError: no examples, or examples of different texts.
    """
    if not examples:
        raise UserError("nothing to draw: the list of masked examples is empty")
    if any(list(example.tokens) != list(examples[0].tokens) for example in examples):
        raise UserError("examples of different texts: draw one figure for each text")
    edges = [_edges(example) for example in examples]
    width = max(boxes[-1][1] for boxes in edges)
    figure, (ax,) = new_figure(theme, max(4.5, 0.29 * width + 1.5), 0.52 * len(examples) + 0.75)
    for row, (example, boxes) in enumerate(zip(examples, edges, strict=True)):
        for position, (left, right) in enumerate(boxes):
            _token(ax, example, position, left, right, -row, theme)
    legend_below(figure, theme, _legend_patches(examples, theme), columns=6)
    hide_axes(ax)
    label_rows(ax, theme, [example.name for example in examples])
    ax.set_xlim(-0.1, width + 0.1)
    ax.set_ylim(-len(examples) + 0.5, 0.5)
    return figure


def _edges(example: MaskedExample) -> list[tuple[float, float]]:
    """(left, right) of each token's box."""
    edges, left = [], 0.0
    for position, token in enumerate(example.tokens):
        span = example.span(position)
        if position:
            left += PHRASE_GAP if span & PHRASE_START else WORD_GAP if span & WORD_START else 0.0
        width = 1.0 if len(token) == 1 else 1.5 if token.startswith("[") else 0.5 * len(token) + 0.3
        edges.append((left, left + width))
        left += width
    return edges


def _token(
    ax: Axes, example: MaskedExample, position: int, left: float, right: float, middle: float, theme: Theme
) -> None:
    from matplotlib.patches import Rectangle

    token, seen = example.tokens[position], example.inputs[position]
    masked = position in example.masked_positions
    special = token.startswith("[") and len(token) > 1
    entity_type = example.entity_type(position)
    color = _color(entity_type, theme) if entity_type else None
    if masked:
        face, ink, text = theme.ink, theme.page, "" if seen == "[MASK]" else seen
        edge = color or theme.grid
    else:
        face, ink, text = _pale(color, theme) if color else theme.page, theme.ink, token
        edge = color or theme.grid
        if special:
            edge, ink = theme.page, theme.muted
    box: Style = dict(facecolor=face, edgecolor=edge, linewidth=1.1)
    ax.add_patch(Rectangle((left, middle - 0.36), right - left, 0.72, **box))
    style: Style = dict(
        fontsize=7.5 if special else 11, style="italic" if masked and seen != token else "normal"
    )
    ax.text((left + right) / 2, middle - 0.02, text, ha="center", va="center", color=ink, **style)


def _color(entity_type: str, theme: Theme) -> str:
    return theme.series[SERIES[entity_type]]


def _pale(color: str, theme: Theme) -> tuple[float, float, float]:
    return blend(color, theme.page, 0.25)


def _legend_patches(examples: Sequence[MaskedExample], theme: Theme) -> list[Artist]:
    from matplotlib.patches import Patch

    present = {name for example in examples for name in example.entity_types()}
    handles: list[Artist] = []
    for name in ENTITY_TYPES[1:]:
        if name in present:
            color = _color(name, theme)
            handles.append(Patch(facecolor=_pale(color, theme), edgecolor=color, label=TYPE_NAMES[name]))
    if any(example.masked_positions for example in examples):
        handles.append(Patch(facecolor=theme.ink, edgecolor=theme.ink, label="to be predicted"))
    return handles
