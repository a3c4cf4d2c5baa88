"""metrics.jsonl: one JSON object a line, append-only, cut back to the checkpoint when a run resumes."""

import json
import math
from pathlib import Path


class MetricsLog:
    """Append rows to `path`; `offset` (bytes) goes into the checkpoint and truncates the file on resume.

    So the file never has a gap or a repeated step, wherever the run was killed.
    """

    def __init__(self, path, offset=0):
        self.path = Path(path)
        self.path.touch()
        with open(self.path, "r+b") as file:
            file.truncate(offset)
        self._file = open(self.path, "ab")

    @property
    def offset(self):
        """Bytes written so far, all of them handed to the operating system."""
        self._file.flush()
        return self._file.tell()

    def append(self, **row):
        """Write one row; floats are rounded to 9 significant digits so that equal runs give equal files.

        A number that is not finite becomes null, which JSON has, unlike NaN.
        """
        row = {key: _rounded(value) if isinstance(value, float) else value for key, value in row.items()}
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def close(self):
        self._file.close()


def _rounded(value):
    return float(f"{value:.9g}") if math.isfinite(value) else None


def read_metrics(path):
    """Rows of a metrics.jsonl as dicts; a last line that is not finished yet is left out."""
    lines = Path(path).read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]
