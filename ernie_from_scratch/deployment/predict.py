"""Prediction for the shell: texts in, one JSON object per line out, in blocks, so that a long file starts to be
answered at once.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.pipelines import pipeline
from ernie_from_scratch.deployment.tasks import TASKS
from ernie_from_scratch.utils.files import STDIN, open_bytes

LINES_PER_BLOCK = 512


def read_lines(path: str | Path) -> Iterator[str]:
    """Non-blank lines of a UTF-8 file ("-" for standard input; .gz and .xz are decompressed)."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(f"not UTF-8: {path} line {number}; convert the file to UTF-8") from error
            if text.strip():
                yield text


def predict_lines(
    model: str | Path,
    texts: Iterable[str] = (),
    input: str | Path | None = None,
    top_k: int | None = None,
    strategy: str | None = None,
    **settings: Any,
) -> int:
    """Print one JSON object for every text, as the task's pipeline formats it; returns the number of texts.

    Args:
        texts: the texts; if there are none, the lines of the file `input`, or of standard input.
        top_k, strategy: options of the task's pipeline; default: the pipeline's.
        settings: arguments of `pipeline`.

    Raises:
        UserError: no text at all, one that the model can't take, or an option that the task does not have.
    """
    texts = list(texts)
    if texts and input:
        raise UserError(f"texts and --input {input} are both given; keep one")
    pipe = pipeline(model=model, **settings)
    options = {name: value for name, value in (("top_k", top_k), ("strategy", strategy)) if value is not None}
    for name in options:
        if name not in pipe.backend.task.options:
            owners = " and ".join(task.name for task in TASKS.values() if name in task.options)
            raise UserError(f"--{name} is for {owners}; {model} does {pipe.task}")
    lines = iter(texts) if texts else read_lines(input or STDIN)
    count = 0
    while block := list(islice(lines, LINES_PER_BLOCK)):
        entries = [pipe.parse_line(line) for line in block]
        for entry, answer in zip(entries, pipe(entries, **options), strict=True):
            print(json.dumps(pipe.format_answer(entry, answer), ensure_ascii=False))
        count += len(block)
    if not count:
        raise UserError(f"no text: {input or 'standard input'} is empty; give one text per line")
    return count
