"""Chapter 00 and the demo: cloze accuracy of differently pretrained networks, and what pretraining is worth."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.charts import grouped_bars, percent
from ernie_from_scratch.lab.figures import (
    Axes,
    Figure,
    handles_of,
    label,
    legend_below,
    new_figure,
    png_bytes,
)
from ernie_from_scratch.lab.theme import LIGHT, Theme
from ernie_from_scratch.utils.files import atomic_write

STRATEGY_TITLES = {
    "left_to_right": "filled left to right",
    "all_at_once": "filled all at once",
    "most_confident": "filled most confident first",
}
DASHED = (0, (4, 3))


def cloze_figure(results: Sequence[Mapping], theme: Theme = LIGHT, majority: float | None = None) -> Figure:
    """Accuracy of filling in whole entities: a panel per strategy, a group per probe set, a bar per masking.

    Args:
        results: rows with `probes` (name of the probe set), `strategy`, `masking`, `accuracy` (0 to 1), and
            optionally `before` (accuracy of the untrained network, drawn as a short line across the bar).
            Probe sets, strategies and maskings appear in the order of their first row.
        majority: accuracy of always giving the most frequent answer, drawn as a dashed line.

    Raises:
        UserError: no rows, or two rows for one bar.
    """
    if not results:
        raise UserError("nothing to draw: the list of cloze results is empty")
    accuracy, before = {}, {}
    for row in results:
        key = (row["strategy"], row["masking"], row["probes"])
        if key in accuracy:
            raise UserError(f"two cloze results for {' / '.join(key)}; give one row for each bar")
        accuracy[key], before[key] = row["accuracy"], row.get("before")
    strategies, maskings, probes = (list(dict.fromkeys(key[i] for key in accuracy)) for i in range(3))
    figure, axes = new_figure(theme, 4.9 * len(strategies), 3.9, columns=len(strategies), sharey=True)
    for ax, strategy in zip(axes, strategies, strict=True):
        bars, lines = (
            {f"{m} masking": [values.get((strategy, m, p)) for p in probes] for m in maskings}
            for values in (accuracy, before)
        )
        grouped_bars(ax, theme, [p.replace(" ", "\n", 1) for p in probes], bars, references=lines)
        label(ax, theme, STRATEGY_TITLES.get(strategy, strategy))
        _percent_axis(ax, theme, majority)
    figure.set_layout_engine("constrained", wspace=0.06)
    label(axes[0], theme, y="whole entity right, %")
    handles = handles_of(axes[0])
    if majority is not None:
        name = f"always the most frequent answer ({percent(majority)} %)"
        handles.append(_line(name, color=theme.muted, linewidth=1, linestyle=DASHED))
    untrained = [share for share in before.values() if share is not None]
    if untrained:
        name = f"before training (at most {percent(max(untrained))} %)"
        handles.append(_line(name, color=theme.ink, linewidth=1.6))
    legend_below(figure, theme, handles, columns=4)
    return figure


def _percent_axis(ax: Axes, theme: Theme, level: float | None) -> None:
    """From 0 to 100 %, and a dashed line at `level` (0 to 1)."""
    if level is not None:
        ax.axhline(100 * level, color=theme.muted, linewidth=1, linestyle=DASHED, zorder=1)
    ax.set_ylim(0, 110)
    ax.set_yticks(range(0, 101, 25))


def _line(name: str, **style):
    from matplotlib.lines import Line2D

    return Line2D([], [], label=name, **style)


def save_cloze_figure(
    results: Sequence[Mapping],
    path: str | os.PathLike,
    theme: Theme = LIGHT,
    majority: float | None = None,
) -> Path:
    """Write `cloze_figure` as a PNG (atomically) and return its path."""
    figure = cloze_figure(results, theme, majority)
    with atomic_write(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
    return Path(path)


def score_bars(
    scores: Mapping[str, Mapping[str, Sequence[float]]], theme: Theme = LIGHT, chance: float | None = None
) -> Figure:
    """Mean score of several seeds with its standard deviation: a group per task, a bar per way of starting.

    Args:
        scores: task -> start ("pretrained", "random weights", …) -> one score (0 to 1) per seed.
        chance: score of guessing, drawn as a dashed line.
    """
    starts = list(dict.fromkeys(start for of_task in scores.values() for start in of_task))
    means, deviations = {}, {}
    for start in starts:
        runs = [list(of_task.get(start, [])) for of_task in scores.values()]
        means[start] = [float(np.mean(run)) if run else None for run in runs]
        deviations[start] = [float(np.std(run, ddof=1)) if len(run) > 1 else None for run in runs]
    figure, (ax,) = new_figure(theme, max(4.6, 2.4 + 1.4 * len(scores)), 3.6)
    grouped_bars(ax, theme, list(scores), means, deviations=deviations)
    _percent_axis(ax, theme, chance)
    ax.set_xlim(-0.7, len(scores) - 0.3)
    label(ax, theme, y="accuracy, %")
    legend_below(figure, theme, handles_of(ax), columns=4)
    return figure
