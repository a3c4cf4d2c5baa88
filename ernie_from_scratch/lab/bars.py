"""Comparison bars: what two ways of training know, and what pretraining is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure, png_bytes
from ernie_from_scratch.utils.files import atomic_write

STRATEGY_TITLES = {
    "left_to_right": "filled left to right",
    "all_at_once": "filled all at once",
    "most_confident": "filled most confident first",
}


def grouped_bars(
    ax,
    theme: Theme,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    spread: Mapping[str, Sequence[float | None]] | None = None,
    marks: Mapping[str, Sequence[float | None]] | None = None,
) -> None:
    """Draw shares (0 to 1) as bars in per cent: one group of bars per name in `groups`, one colour per
    series.

    Args:
        series: name -> one value per group; None leaves a gap.
        spread: name -> half the height of the error bar, in the same unit.
        marks: name -> a value drawn as a short line across the bar (for example before training).
    """
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=3, foreground=theme.page)  # keeps the number readable across a line
    width = 0.78 / max(len(series), 1)
    for number, (name, values) in enumerate(series.items()):
        color = theme.series[number % len(theme.series)]
        for place, value in enumerate(values):
            if value is None:
                continue
            center = place + (number - (len(series) - 1) / 2) * width
            label = name if place == next(i for i, v in enumerate(values) if v is not None) else None
            ax.bar(center, 100 * value, width * 0.92, color=color, label=label, zorder=2)
            half = (spread or {}).get(name, [None] * len(groups))[place]
            top = 100 * (value + (half or 0))
            if half:
                ax.errorbar(
                    center, 100 * value, 100 * half, color=theme.ink, linewidth=1, capsize=3, zorder=3
                )
            ax.annotate(percent(value), (center, top), xytext=(0, 3), textcoords="offset points", ha="center",
                        color=theme.ink, fontsize=9, zorder=5, path_effects=[halo])  # fmt: skip
            mark = (marks or {}).get(name, [None] * len(groups))[place]
            if mark is not None:
                ax.hlines(
                    100 * mark,
                    center - width / 2,
                    center + width / 2,
                    color=theme.ink,
                    linewidth=1.6,
                    zorder=3,
                )
    ax.set_xticks(range(len(groups)), groups)
    ax.tick_params(axis="x", labelsize=9, labelcolor=theme.ink)


def percent(share: float) -> str:
    """0.9987 -> "99.9", 0.28 -> "28.0", 1.0 -> "100"; never rounds up to a perfect score."""
    return "100" if share >= 1 else f"{min(100 * share, 99.9):.1f}"


def cloze_figure(results: Sequence[Mapping], theme: Theme = LIGHT, majority: float | None = None):
    """Whole-entity cloze accuracy: a panel per way of filling, a group per probe set, a bar per masking.

    Args:
        results: rows with `probes` (name of the probe set), `strategy`, `masking`, `accuracy` (0 to 1), and
            optionally `before` (accuracy of the untrained network, drawn as a short line across the bar).
            Probe sets, strategies and maskings appear in the order of their first row.
        majority: share that always giving the most frequent answer gets right, drawn as a dashed line.

    Raises:
        UserError: no rows, or two rows for one bar.
    """
    if not results:
        raise UserError("nothing to draw: the list of cloze results is empty")
    value, before = {}, {}
    for row in results:
        key = (row["strategy"], row["masking"], row["probes"])
        if key in value:
            raise UserError(f"two cloze results for {' / '.join(key)}; give one row for each bar")
        value[key], before[key] = row["accuracy"], row.get("before")
    strategies, maskings, probes = (list(dict.fromkeys(k[i] for k in value)) for i in range(3))
    figure, axes = new_figure(theme, 4.9 * len(strategies), 3.9, columns=len(strategies), sharey=True)
    for ax, strategy in zip(axes, strategies, strict=True):
        table = {f"{m} masking": [value.get((strategy, m, p)) for p in probes] for m in maskings}
        marks = {f"{m} masking": [before.get((strategy, m, p)) for p in probes] for m in maskings}
        grouped_bars(ax, theme, [p.replace(" ", "\n", 1) for p in probes], table, marks=marks)
        ax.set_title(STRATEGY_TITLES.get(strategy, strategy), color=theme.ink, fontsize=11, loc="left")
        if majority is not None:
            ax.axhline(100 * majority, color=theme.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        ax.set_ylim(0, 110)
        ax.set_yticks(range(0, 101, 25))
    figure.get_layout_engine().set(wspace=0.06)
    axes[0].set_ylabel("whole entity right, %", color=theme.muted, fontsize=9)
    _legend(figure, axes[0], theme, majority, [share for share in before.values() if share is not None])
    return figure


def _legend(figure, ax, theme, majority, before):
    from matplotlib.lines import Line2D

    handles, _ = ax.get_legend_handles_labels()
    if majority is not None:
        name = f"always the most frequent answer ({percent(majority)} %)"
        handles.append(Line2D([], [], color=theme.muted, linewidth=1, linestyle=(0, (4, 3)), label=name))
    if before:
        name = f"before training (at most {percent(max(before))} %)"
        handles.append(Line2D([], [], color=theme.ink, linewidth=1.6, label=name))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, frameon=False, labelcolor=theme.ink, fontsize=9
    )


def cloze_bars(results: Sequence[Mapping], path, theme: Theme = LIGHT, majority: float | None = None) -> Path:
    """Write `cloze_figure` as a PNG (atomically) and return its path."""
    figure = cloze_figure(results, theme, majority)
    with atomic_write(path) as temporary:
        Path(temporary).write_bytes(png_bytes(figure))
    return Path(path)


def score_bars(
    scores: Mapping[str, Mapping[str, Sequence[float]]], theme: Theme = LIGHT, chance: float | None = None
):
    """Mean score of several seeds with its standard deviation: a group per task, a bar per way of starting.

    Args:
        scores: task -> start ("pretrained", "random weights", ...) -> one score (0 to 1) per seed.
        chance: level of guessing, drawn as a dashed line.
    """
    import numpy as np

    starts = list(dict.fromkeys(start for by_start in scores.values() for start in by_start))
    series, spread = {}, {}
    for start in starts:
        runs = [list(by_start.get(start, [])) for by_start in scores.values()]
        series[start] = [float(np.mean(r)) if r else None for r in runs]
        spread[start] = [float(np.std(r, ddof=1)) if len(r) > 1 else None for r in runs]
    figure, (ax,) = new_figure(theme, max(4.6, 2.4 + 1.4 * len(scores)), 3.6)
    grouped_bars(ax, theme, list(scores), series, spread=spread)
    if chance is not None:
        ax.axhline(100 * chance, color=theme.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ax.set_ylim(0, 110)
    ax.set_yticks(range(0, 101, 25))
    ax.set_xlim(-0.7, len(scores) - 0.3)
    ax.set_ylabel("accuracy, %", color=theme.muted, fontsize=9)
    _legend(figure, ax, theme, None, [])
    return figure
