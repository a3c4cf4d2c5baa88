"""Masked sentences in colour: words, phrases and entities, and what the network gets to see of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.spans import (
    ENTITY_START,
    ENTITY_TYPES,
    PHRASE_START,
    TYPE_SHIFT,
    WORD_START,
)

TYPE_NAMES = {
    "PER": "person",
    "LOC": "place",
    "ORG": "organisation",
    "TIME": "time",
    "WORK": "work",
    "OTHER": "other name",
}


@dataclass
class MaskedExample:
    """One row of a batch, ready to draw.

    Attributes:
        tokens: the text as it was, one string per token (`##` already taken off).
        seen: what the network sees at each place; equal to `tokens` where nothing was masked.
        chosen: places that the network has to predict; some of them are left unchanged (the 10 % rule).
        marks: one uint8 per token as in PREFIX_spans.npy (word, phrase, entity, type), or None when unknown.
        name: a short heading such as "entity masking".
    """

    tokens: Sequence[str]
    seen: Sequence[str]
    chosen: Sequence[int]
    marks: Sequence[int] | None = None
    name: str = ""
    _chosen: set = field(init=False, repr=False)

    def __post_init__(self):
        lengths = {len(self.tokens), len(self.seen), len(self.tokens if self.marks is None else self.marks)}
        if len(lengths) > 1:
            raise UserError(
                f"masked example: tokens, seen and marks have different lengths {sorted(lengths)}"
            )
        self._chosen = {int(place) for place in self.chosen}


def examples_from_batch(
    batch: Mapping, vocabulary, rows: Sequence[int], name: str = ""
) -> list[MaskedExample]:
    """Take rows out of a pretraining batch (`dataset.PretrainingData`); padding is cut off.

    Only the types of masked entities are known in a batch, so `marks` marks those.
    """
    length = batch["input_ids"].shape[1]  # L
    examples = []
    for row in rows:
        seen_ids = np.asarray(batch["input_ids"][row])  # [L]
        mask = batch.get("attention_mask")
        used = length if mask is None else int(np.asarray(mask[row]).sum())
        here = np.flatnonzero(np.asarray(batch["masked_positions"]) // length == row)
        places = np.asarray(batch["masked_positions"])[here] % length
        true_ids = seen_ids.copy()
        true_ids[places] = np.asarray(batch["masked_lm_labels"])[here]
        marks = np.zeros(length, dtype=np.uint8)
        if batch.get("masked_span_kinds") is not None:
            kinds = np.asarray(batch["masked_span_kinds"])[here].astype(np.uint8)
            marks[places] = kinds << TYPE_SHIFT
            starts = [
                i
                for i in range(len(places))
                if i == 0 or places[i] != places[i - 1] + 1 or kinds[i] != kinds[i - 1]
            ]
            marks[places[starts]] |= ENTITY_START * (kinds[starts] > 0).astype(np.uint8)
        examples.append(
            MaskedExample(
                tokens=[_plain(vocabulary.tokens[i]) for i in true_ids[:used]],
                seen=[_plain(vocabulary.tokens[i]) for i in seen_ids[:used]],
                chosen=[int(p) for p in places],
                marks=marks[:used],
                name=name,
            )
        )
    return examples


def _plain(token):
    return token[2:] if token.startswith("##") and len(token) > 2 else token


def masked_examples_html(examples: Sequence[MaskedExample]) -> str:
    """An HTML fragment: each example as a row of boxes, the text above and what the network sees below.

    Colours come from the classes of `templates/report.html`, so the fragment follows a light or dark page.
    """
    rows = "".join(_example_html(example) for example in examples)
    used = [t for t in ENTITY_TYPES[1:] if any(t in _types(e) for e in examples)]
    keys = "".join(f'<span class="key"><i class="box entity {t}"></i>{TYPE_NAMES[t]}</span>' for t in used)
    if any(e.marks is not None and any(int(m) & PHRASE_START for m in e.marks) for e in examples):
        keys += '<span class="key"><i class="box phrase"></i>phrase (gaps between words)</span>'
    keys += '<span class="key"><i class="box masked"></i>to be predicted</span>'
    return f'<div class="masked-examples">{rows}<p class="keys">{keys}</p></div>'


def _types(example):
    return {ENTITY_TYPES[int(m) >> TYPE_SHIFT] for m in (example.marks if example.marks is not None else [])}


def _example_html(example):
    heading = f"<h4>{escape(example.name)}</h4>" if example.name else ""
    boxes = "".join(_token_html(example, place) for place in range(len(example.tokens)))
    return f'{heading}<div class="sentence" lang="zh">{boxes}</div>'


def _token_html(example, place):
    token, seen = example.tokens[place], example.seen[place]
    classes = ["token", *_mark_classes(example.marks, place)]
    title = ""
    if place in example._chosen:
        kept = seen == token
        classes += (
            ["masked"] + (["kept"] if kept else []) + (["random"] if not kept and seen != "[MASK]" else [])
        )
        title = ' title="{}"'.format(
            "left as it is" if kept else "hidden" if seen == "[MASK]" else "replaced at random"
        )
    elif token.startswith("[") and token.endswith("]"):
        classes.append("special")
    below = {"[MASK]": "■"}.get(seen, seen) if place in example._chosen else ""
    return f'<span class="{" ".join(classes)}"{title}><b>{escape(token)}</b><i>{escape(below)}</i></span>'


def _mark_classes(marks, place):
    if marks is None:
        return []
    mark = int(marks[place])
    kind = ENTITY_TYPES[mark >> TYPE_SHIFT]
    classes = ["word-start"] if mark & WORD_START else []
    classes += ["phrase-start"] if mark & PHRASE_START else []
    if kind:
        after = int(marks[place + 1]) if place + 1 < len(marks) else 0
        ends = after >> TYPE_SHIFT != mark >> TYPE_SHIFT or after & ENTITY_START
        classes += ["entity", kind]
        classes += (["entity-start"] if mark & ENTITY_START else []) + (["entity-end"] if ends else [])
    return classes
