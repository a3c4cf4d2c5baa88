"""Prediction for the shell: texts in, one JSON object a line out; a long file starts answering at once."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice

from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.pipeline import pipeline
from ernie_from_scratch.utils.files import STDIN, open_bytes

LINES_AT_ONCE = 512


def read_lines(path) -> Iterator[str]:
    """Lines of a UTF-8 file ("-" for standard input, .gz and .xz unpacked) that are not blank."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(f"not UTF-8: {path} line {number}; convert the file to UTF-8") from error
            if text.strip():
                yield text


def predict_lines(
    model,
    texts: Iterable[str] = (),
    input=None,
    top_k: int | None = None,
    strategy: str | None = None,
    **settings,
) -> int:
    """Print {"text", "predictions"} for every text; returns how many there were.

    Args:
        texts: the texts; if there are none, the lines of the file `input`, or of standard input.
        settings: as `pipeline` takes them.

    Raises:
        UserError: no text at all, or one that the model can't take.
    """
    texts = list(texts)
    if texts and input:
        raise UserError(f"texts and --input {input} are both given; keep one")
    pipe = pipeline(model=model, **settings)
    if strategy and pipe.task != "fill-mask":
        raise UserError(f"--strategy is for fill-mask; {model} does {pipe.task}")
    options = {name: value for name, value in (("top_k", top_k), ("strategy", strategy)) if value is not None}
    lines = iter(texts) if texts else read_lines(input or STDIN)
    count = 0
    while block := list(islice(lines, LINES_AT_ONCE)):
        entries = [tuple(line.split("\t", 1)) if "\t" in line else line for line in block]
        for entry, answer in zip(entries, pipe(entries, **options), strict=True):
            answers = answer if isinstance(answer, list) else [answer]
            print(
                json.dumps({"text": entry, "predictions": answers}, ensure_ascii=False),
                file=sys.stdout,
            )
        count += len(block)
    if not count:
        raise UserError(f"no text: {input or 'standard input'} is empty; give one text a line")
    return count
