"""Chapter 10 and the reports: loss, learning rate and other columns of metrics.jsonl as curves."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.figures import Figure, handles_of, label, legend_inside, new_figure
from ernie_from_scratch.lab.theme import LIGHT, Theme
from ernie_from_scratch.training.metrics import read_metrics

Runs = Mapping[str, Sequence[Mapping]]  # name of the run -> the rows of its metrics.jsonl

AXIS_NAMES = {"step": "optimizer step", "tokens": "tokens read", "epoch": "epoch"}
COLUMN_NAMES = {
    "lm_loss": "masked LM loss (nats)",
    "sop_loss": "sentence order loss (nats)",
    "nsp_loss": "next sentence loss (nats)",
    "grad_norm": "gradient norm",
}


def column_name(name: str) -> str:
    """How a column of metrics.jsonl is called in a picture; every loss is in nats."""
    unit = " (nats)" if name.endswith("loss") else ""
    return COLUMN_NAMES.get(name, name.replace("_", " ") + unit)


def load_run(run: str | os.PathLike) -> list[dict]:
    """The metrics rows of a run folder or of a metrics.jsonl file.

    Raises:
        UserError: no such file, a file without rows, or a line that is not JSON.
    """
    path = Path(run)
    path = path / "metrics.jsonl" if path.is_dir() else path
    try:
        rows = read_metrics(path)
    except OSError as error:
        raise UserError(
            f"no metrics: {path} can't be read; give a run folder of `ernie pretrain` or `ernie finetune`"
        ) from error
    except ValueError as error:
        raise UserError(
            f"damaged metrics: {path} has a line that is not JSON; run the training again"
        ) from error
    if not rows:
        raise UserError(f"no metrics yet: {path} is empty; wait for the run's first log line")
    return rows


def column(
    rows: Sequence[Mapping], x: str, y: str, split: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The values of the columns x and y in the rows that have both, as two float arrays of equal length.

    `split` names an evaluation ("valid", "dev", …); None means the training rows.
    """
    rows = [row for row in rows if row.get("eval") == split]
    pairs = [(row[x], row[y]) for row in rows if row.get(x) is not None and row.get(y) is not None]
    xs, ys = np.array(pairs, dtype=float).reshape(-1, 2).T
    return xs, ys


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving mean over `window` values, as long as `values`: the window is smaller at both ends."""
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def metric_curves(
    runs: Runs,
    y: str = "loss",
    x: str = "step",
    theme: Theme = LIGHT,
    window: int | None = None,
    guess_level: int | None = None,
) -> Figure:
    """One line per run: the moving mean over a thin line of the raw values; evaluations as dots.

    Args:
        y, x: columns of the rows; rows without them are skipped.
        window: rows of the moving mean; default: a twentieth of the run, 1 for the learning rate.
        guess_level: draw ln(guess_level), the loss of a uniform guess among so many words.

    Raises:
        UserError: no run has the column `y`.
    """
    figure, (ax,) = new_figure(theme, 7.2, 2.7 if y == "learning_rate" else 3.6)
    drawn = False
    for number, (name, rows) in enumerate(runs.items()):
        color = theme.color(number)
        xs, ys = column(rows, x, y)
        if not len(xs):
            continue
        width = window or (1 if y == "learning_rate" else max(1, len(ys) // 20))
        if width > 1:
            ax.plot(xs, ys, color=color, linewidth=0.7, alpha=0.25)
        marker = "o" if len(xs) == 1 else None
        ax.plot(xs, smooth(ys, width), color=color, linewidth=2, label=name, marker=marker)
        for split in dict.fromkeys(row["eval"] for row in rows if row.get("eval")):
            points = column(rows, x, y, split)
            if len(points[0]):
                ax.plot(*points, color=color, linestyle="none", marker="o", markersize=5,
                        markeredgecolor=theme.page, label=f"{name}, {split}")  # fmt: skip
        drawn = True
    if not drawn:
        raise UserError(f"nothing to draw: no run has the column {y!r} over {x!r} in its metrics.jsonl")
    if guess_level:
        level = math.log(guess_level)
        ax.axhline(level, color=theme.muted, linewidth=1, linestyle=(0, (4, 3)))
        note = f"guessing evenly: ln {guess_level:,} = {level:.2f}"
        ax.annotate(note, (1, level), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                    textcoords="offset points", ha="right", color=theme.muted, fontsize=8)  # fmt: skip
    if len(handles_of(ax)) > 1:
        top = 0.92 if guess_level else 1.0  # below the dashed line and its note
        legend_inside(ax, theme, loc="upper right", bbox_to_anchor=(1, top))
    label(ax, theme, column_name(y), AXIS_NAMES.get(x, x))
    ax.set_xlim(left=0)
    if y == "learning_rate":
        ax.set_ylim(bottom=0)
        ax.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        ax.yaxis.get_offset_text().set_color(theme.muted)
    return figure


def loss_curves(runs: Runs, theme: Theme = LIGHT, x: str = "step", vocab_size: int | None = None) -> Figure:
    """The training loss; `vocab_size` adds the loss of a uniform guess among so many words."""
    return metric_curves(runs, "loss", x=x, theme=theme, guess_level=vocab_size)


def learning_rate_curve(runs: Runs, theme: Theme = LIGHT, x: str = "step") -> Figure:
    """The learning rate over the optimizer steps."""
    return metric_curves(runs, "learning_rate", x=x, theme=theme)
