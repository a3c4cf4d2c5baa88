"""Loss and learning-rate curves of one run or several, from their metrics.jsonl."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure
from ernie_from_scratch.training.metrics import read_metrics

AXIS_NAMES = {"step": "optimizer step", "tokens": "tokens read", "epoch": "epoch"}
COLUMN_NAMES = {
    "loss": "loss (nats)",
    "lm_loss": "masked LM loss (nats)",
    "sop_loss": "sentence order loss (nats)",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
}


def load_run(run) -> list[dict]:
    """Metrics rows of a run folder or of a metrics.jsonl file.

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
    """The (x, y) pairs of the rows that have both, as two float arrays of equal length.

    `split` names an evaluation ("valid", "dev", ...); None means the training rows.
    """
    rows = [row for row in rows if row.get("eval") == split]
    pairs = [(row[x], row[y]) for row in rows if row.get(x) is not None and row.get(y) is not None]
    return tuple(np.array(pairs, dtype=float).reshape(-1, 2).T)


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving mean over `window` values; the window shrinks at both ends, so the length stays."""
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def curves(
    runs: Mapping[str, Sequence[Mapping]],
    y: str = "loss",
    x: str = "step",
    theme: Theme = LIGHT,
    window: int | None = None,
    guess_level: int | None = None,
):
    """One line per run: the raw values thin behind their moving mean; evaluations as dots.

    Args:
        runs: name of the run -> its metrics rows.
        y, x: columns of the rows; rows without them are passed over.
        window: rows of the moving mean; default a twentieth of the run, 1 for the learning rate.
        guess_level: draw ln(guess_level), the loss of guessing evenly among so many words.

    Returns:
        A matplotlib Figure.

    Raises:
        UserError: no run has the column `y`.
    """
    figure, (ax,) = new_figure(theme, 7.2, 2.7 if y == "learning_rate" else 3.6)
    drawn = False
    for number, (name, rows) in enumerate(runs.items()):
        xs, ys = column(rows, x, y)
        if not len(xs):
            continue
        color = theme.series[number % len(theme.series)]
        width = window or (1 if y == "learning_rate" else max(1, len(ys) // 20))
        if width > 1:
            ax.plot(xs, ys, color=color, linewidth=0.7, alpha=0.25)
        line = smooth(ys, width)
        ax.plot(xs, line, color=color, linewidth=2, label=name, marker="o" if len(xs) == 1 else None)
        for split in dict.fromkeys(row["eval"] for row in rows if row.get("eval")):
            points = column(rows, x, y, split)
            if not len(points[0]):
                continue
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
    if len(ax.get_legend_handles_labels()[0]) > 1:
        top = 0.92 if guess_level else 1.0  # below the dashed line and its note
        ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9, loc="upper right", bbox_to_anchor=(1, top))
    ax.set_xlabel(AXIS_NAMES.get(x, x), color=theme.muted, fontsize=9)
    ax.set_title(COLUMN_NAMES.get(y, y), color=theme.ink, fontsize=11, loc="left")
    ax.set_xlim(left=0)
    if y == "learning_rate":
        ax.set_ylim(bottom=0)
        ax.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        ax.yaxis.get_offset_text().set_color(theme.muted)
    return figure


def loss_curves(runs, theme: Theme = LIGHT, x: str = "step", vocab_size: int | None = None):
    """Training loss of the runs; `vocab_size` adds the level of a model that guesses evenly."""
    return curves(runs, "loss", x=x, theme=theme, guess_level=vocab_size)


def learning_rate_curve(runs, theme: Theme = LIGHT, x: str = "step"):
    """Learning rate over the optimizer steps."""
    return curves(runs, "learning_rate", x=x, theme=theme)
