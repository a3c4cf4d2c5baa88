"""An inspection in the terminal: tables, histograms, warnings, and samples with coloured entities and masks."""

import tempfile

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.diagnostics.inspect import Inspection, random_sentences
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus
from ernie_from_scratch.text.corpus.spans import ENTITY_TYPES, TYPE_SHIFT, WORD_START
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, surface

COLOURS = {
    "PER": "green",
    "LOC": "cyan",
    "ORG": "magenta",
    "TIME": "yellow",
    "WORK": "blue",
    "OTHER": "bright_black",
}
ROW_LENGTH = 128  # tokens of a masked row, at most
BAR = 24  # characters of the longest bar


def show(
    found: Inspection,
    corpus: PreparedCorpus,
    vocabulary: Vocabulary,
    samples: int,
    seed: int,
    console: Console,
) -> None:
    """Prints the whole report, with `samples` sentences and as many masked rows."""
    console.print(Columns([_counts(found), *(_bars(name, rows) for name, rows in found.histograms.items())]))
    if samples:
        console.print("\n[bold]Sentences[/bold]  words separated by ·  " + _legend())
        for tokens, spans in random_sentences(corpus, vocabulary, samples, seed):
            console.print(coloured_sentence(tokens, spans), soft_wrap=True)
        masking = "entity" if found.counts["entities"] else "word"
        console.print(f"\n[bold]Masked samples[/bold]  masking={masking}, tokens to predict in reverse")
        for line in masked_samples(found.prefix, vocabulary, masking, samples, seed):
            console.print(line, soft_wrap=True)
    console.print()
    for warning in found.warnings:
        console.print(Text("warning: ", "bold yellow") + Text(warning))
    if not found.warnings:
        console.print("nothing found that would hurt training")


def coloured_sentence(tokens: list[str], spans: np.ndarray) -> Text:
    """Words separated by ·, entities in the colour of their type."""
    line = Text("  ")
    for number, (token, span) in enumerate(zip(tokens, spans, strict=True)):
        if number and span & WORD_START:
            line.append("·", "dim")
        line.append(surface(token), COLOURS.get(ENTITY_TYPES[span >> TYPE_SHIFT], ""))
    return line


def masked_samples(prefix: str, vocabulary: Vocabulary, masking: str, count: int, seed: int) -> list[Text]:
    """Rows as a model sees them, with the tokens to predict in reverse and in the colour of their entity."""
    with tempfile.TemporaryDirectory() as cache:
        data = PretrainingData(
            [(1.0, prefix)],
            vocabulary,
            split="1,0,0",
            max_seq_len=ROW_LENGTH,
            masking=masking,
            sentence_pairs="none",
            seed=seed,
            cache_dir=cache,
        )["train"]
        numbers = np.random.default_rng(seed).integers(0, len(data), count)
        batch = data.batch(numbers)
    ids = batch["input_ids"]  # [B, L]
    labels = dict(zip(batch["masked_positions"], batch["masked_lm_labels"], strict=True))
    kinds = dict(zip(batch["masked_positions"], batch["masked_span_kinds"], strict=True))
    lines = []
    for row in range(len(ids)):
        line = Text("  ")
        for column, token in enumerate(ids[row]):
            position = row * ids.shape[1] + column
            if position in labels:
                colour = COLOURS.get(ENTITY_TYPES[kinds[position]], "")
                line.append(surface(vocabulary.tokens[labels[position]]), f"reverse {colour}".strip())
            elif token not in (vocabulary.pad_id, vocabulary.cls_id, vocabulary.sep_id):
                line.append(surface(vocabulary.tokens[token]))
        lines.append(line)
    return lines


def _counts(found: Inspection) -> Table:
    table = Table("", found.prefix, box=None, header_style="bold")
    for name, count in found.counts.items():
        table.add_row(name, f"{count:,}")
    table.add_row("unknown tokens", f"{found.unknown_share:.2%}")
    table.add_row("repeated sentences", f"{found.duplicate_share:.2%}")
    for name, count in found.entities.items():
        if count:
            table.add_row(Text(f"entities: {name}", COLOURS[name]), f"{count:,}")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _bars(name: str, rows: list[tuple[str, int]]) -> Table:
    table = Table("", name, "", box=None, header_style="bold")
    table.columns[0].justify = "right"
    longest = max((count for _, count in rows), default=0) or 1
    for label, count in rows:
        table.add_row(label, "█" * round(BAR * count / longest), f"{count:,}")
    return table


def _legend() -> str:
    return " ".join(f"[{colour}]{name}[/{colour}]" for name, colour in COLOURS.items())
