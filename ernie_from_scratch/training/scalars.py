"""The rows of metrics.jsonl as curves in VisualDL: `visualdl --logdir RUN/visualdl`."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOT_CURVES = ("step", "eval")


class Scalars:
    """Writes rows as scalars `train/…`, `valid/…` and `test/…`; starts anew from the rows that a run already has.

    VisualDL's files can't be cut back when a run resumes, so they are written again: no step appears twice.
    """

    def __init__(self, folder: str | os.PathLike, rows: Iterable[dict[str, Any]] = ()):
        from visualdl import LogWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = LogWriter(logdir=str(Path(folder)))
        for row in rows:
            self.append(row)

    def append(self, row: dict[str, Any]) -> None:
        part = row.get("eval", "train")
        for name, value in row.items():
            if name not in NOT_CURVES and isinstance(value, int | float):
                self._writer.add_scalar(tag=f"{part}/{name}", step=row["step"], value=float(value))

    def close(self) -> None:
        self._writer.close()
