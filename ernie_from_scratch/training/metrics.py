"""metrics.jsonl: one JSON object a line, append-only, cut back to the checkpoint when a run resumes."""

import json
import math
import os
from pathlib import Path
from typing import Any

from ernie_from_scratch.training.scalars import Scalars

TAIL = 2**16


class MetricsLog:
    """Append rows to `metrics.jsonl` in a run's folder, and to its curves in VisualDL.

    `offset` (bytes) goes into the checkpoint and truncates the file on resume: so it never has a gap or a
    repeated step, wherever the run was killed.
    """

    def __init__(self, folder: str | os.PathLike, offset: int = 0):
        self.path = Path(folder) / "metrics.jsonl"
        self.path.touch()
        with open(self.path, "r+b") as file:
            file.truncate(offset)
        self._scalars = Scalars(Path(folder) / "visualdl", read_metrics(self.path))
        self._file = open(self.path, "ab")

    @property
    def offset(self) -> int:
        """Bytes written so far, all of them handed to the operating system."""
        self._file.flush()
        return self._file.tell()

    def append(self, **row: Any) -> None:
        """Write one row; floats are rounded to 9 significant digits so that equal runs give equal files.

        A number that is not finite becomes null, which JSON has, unlike NaN.
        """
        row = {key: _rounded(value) if isinstance(value, float) else value for key, value in row.items()}
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._scalars.append(row)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        self._file.close()
        self._scalars.close()


def _rounded(value):
    return float(f"{value:.9g}") if math.isfinite(value) else None


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Rows of a metrics.jsonl as dicts; an unfinished last line is ignored."""
    lines = Path(path).read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]


def last_row(path: str | os.PathLike) -> dict[str, Any] | None:
    """The newest training row in the last TAIL bytes of a metrics.jsonl; None where there is none."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        lines = file.read().split(b"\n")[:-1]
    complete = lines[1:] if size > TAIL else lines
    rows = [json.loads(line) for line in complete]
    return next((row for row in reversed(rows) if "eval" not in row), None)
