"""Labelled examples: tab-separated files with a header, one example a line."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.files import open_bytes

HEADER = "label<TAB>text_a[<TAB>text_b]"


@dataclass(frozen=True)
class Example:
    """A text or a pair of texts, its label (None when the file has no label column), and where it stood."""

    text_a: str
    text_b: str | None
    label: str | None
    where: str = ""


def read_examples(path: str | os.PathLike, need_labels: bool = True) -> list[Example]:
    """Read a .tsv file (UTF-8; .gz, .xz and .zst too) whose header names the columns `text_a`, `text_b`
    (optional) and `label`.

    Columns may stand in any order, others are passed over, empty lines too. Nothing is quoted: a text can't
    hold a tab.

    Raises:
        UserError: no such file, an empty one, not UTF-8, a missing column, a line with too few fields, an
            empty text or label, or no example at all.
    """
    lines = _lines(path)
    if not any(line.strip() for line in lines):
        raise UserError(f"empty file: {path}; expected the header {HEADER} and a line for each example")
    names = lines[0].split("\t")
    for name in ["text_a"] + (["label"] if need_labels else []):
        if name not in names:
            found = ", ".join(names[:6])[:80]
            raise UserError(
                f"no column {name!r}: {path} has the header {found!r}; its first line must be {HEADER}"
            )
    place = {name: names.index(name) for name in ("text_a", "text_b", "label") if name in names}
    examples = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        fields, where = line.split("\t"), f"{path}:{number}"
        if len(fields) != len(names):
            raise UserError(
                f"{len(fields)} columns where the header has {len(names)}: {where}; mend the line"
            )
        values = {name: fields[index].strip() for name, index in place.items()}
        for name in place if need_labels else [n for n in place if n != "label"]:
            if not values[name]:
                raise UserError(f"empty {name}: {where}; fill it in or delete the line")
        examples.append(Example(values["text_a"], values.get("text_b"), values.get("label"), where))
    if not examples:
        raise UserError(f"no examples: {path} has only a header; add a line for each example")
    return examples


def _lines(path):
    with open_bytes(path) as file:
        data = file.read()
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 text: {path} at byte {error.start}; convert it, for example with iconv"
        ) from error


def label_names(examples: Iterable[Example]) -> list[str]:
    """The labels that occur, in a fixed order: by value when all are whole numbers, else by the alphabet."""
    names = {str(example.label) for example in examples}
    numeric = all(name.lstrip("-").isdigit() for name in names)
    return sorted(names, key=int) if numeric else sorted(names)
