"""Masked sentences as HTML, for the report page: its style sheet defines the colours."""

from collections.abc import Sequence
from html import escape

from ernie_from_scratch.lab.masked_examples import TYPE_NAMES, MaskedExample
from ernie_from_scratch.text.corpus.spans import ENTITY_START, ENTITY_TYPES, PHRASE_START, WORD_START


def masked_examples_html(examples: Sequence[MaskedExample]) -> str:
    """An HTML fragment: each example as a row of boxes, the text above, and below what the network sees instead.

    The colours are those of the classes in the report's template, so they fit a light and a dark page.
    """
    rows = "".join(_example_html(example) for example in examples)
    present = {name for example in examples for name in example.entity_types()}
    keys = "".join(
        f'<span class="key"><i class="box entity {name}"></i>{TYPE_NAMES[name]}</span>'
        for name in ENTITY_TYPES[1:]
        if name in present
    )
    if any(e.span(position) & PHRASE_START for e in examples for position in range(len(e.tokens))):
        keys += '<span class="key"><i class="box phrase"></i>phrase (gaps between words)</span>'
    keys += '<span class="key"><i class="box masked"></i>to be predicted</span>'
    return f'<div class="masked-examples">{rows}<p class="keys">{keys}</p></div>'


def _example_html(example: MaskedExample) -> str:
    heading = f"<h4>{escape(example.name)}</h4>" if example.name else ""
    boxes = "".join(_token_html(example, position) for position in range(len(example.tokens)))
    return f'{heading}<div class="sentence" lang="zh">{boxes}</div>'


def _token_html(example: MaskedExample, position: int) -> str:
    token, seen = example.tokens[position], example.inputs[position]
    classes, title, below = ["token", *_span_classes(example, position)], "", ""
    if position in example.masked_positions:
        below = "■" if seen == "[MASK]" else seen
        if seen == token:
            title, state = "left as it is", ["kept"]
        elif seen == "[MASK]":
            title, state = "hidden", []
        else:
            title, state = "replaced at random", ["random"]
        classes += ["masked", *state]
        title = f' title="{title}"'
    elif token.startswith("[") and token.endswith("]"):
        classes.append("special")
    return f'<span class="{" ".join(classes)}"{title}><b>{escape(token)}</b><i>{escape(below)}</i></span>'


def _span_classes(example: MaskedExample, position: int) -> list[str]:
    span, entity_type = example.span(position), example.entity_type(position)
    classes = ["word-start"] if span & WORD_START else []
    classes += ["phrase-start"] if span & PHRASE_START else []
    if entity_type:
        after = position + 1
        ends = (
            after == len(example.tokens)
            or example.entity_type(after) != entity_type
            or example.span(after) & ENTITY_START
        )
        classes += ["entity", entity_type]
        classes += (["entity-start"] if span & ENTITY_START else []) + (["entity-end"] if ends else [])
    return classes
