"""Chapters 12 and 14: partial sums on their way around a ring, and the schedule of a pipeline."""

from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.figures import (
    Figure,
    blend,
    label,
    legend_below,
    new_figure,
    new_rows,
    patches,
    write,
)
from ernie_from_scratch.lab.theme import LIGHT, Theme

PASSES = {"F": "forward", "B": "backward"}


def pipeline_charts(
    charts: Mapping[str, Sequence[tuple[int, str, int, float, float]]], unit: str, theme: Theme = LIGHT
) -> Figure:
    """What the stages of a pipeline do when: a row per stage, a box per pass, idle time left empty.

    Args:
        charts: title -> (stage, "F" or "B", number of the micro batch, start, end) of each pass; all charts share
            one time axis.
        unit: of the times.
    """
    stages = [1 + max(stage for stage, *_ in passes) for passes in charts.values()]
    figure, axes = new_rows(theme, 8.4, [0.42 * count + 0.25 for count in stages])
    colors = theme.colors(PASSES)
    end_of_all = max(end for passes in charts.values() for *_, end in passes)
    for ax, (title, passes), count in zip(axes, charts.items(), stages, strict=True):
        for stage, kind, number, start, end in passes:
            ax.barh(-stage, end - start, left=start, height=0.84, color=colors[kind], edgecolor=theme.page)
            if end - start > end_of_all / 70:  # room for the number
                write(ax, (start + end) / 2, -stage, str(number), theme.page)
        ax.set_yticks(range(0, -count, -1), [f"stage {stage}" for stage in range(count)], color=theme.ink)
        ax.set_ylim(-count + 0.5, 0.5)
        ax.set_xlim(0, end_of_all)
        label(ax, theme, title, size=10)
    label(axes[-1], theme, x=f"{unit}; in the boxes: the micro batch")
    legend_below(figure, theme, patches({PASSES[kind]: color for kind, color in colors.items()}))
    return figure


def ring_steps(steps: Mapping[str, np.ndarray], theme: Theme = LIGHT) -> Figure:
    """How partial sums grow around a ring: a panel per step, a row per process, a column per chunk of the tensor.

    Args:
        steps: title -> table [processes, chunks]: over how many processes each chunk has been summed; a complete
            sum is drawn in the second colour.
    """
    processes, chunks = next(iter(steps.values())).shape
    figure, axes = new_figure(theme, 1.2 * len(steps) + 0.9, 0.3 * processes + 0.9, columns=len(steps))
    for number, (ax, (title, table)) in enumerate(zip(axes, steps.items(), strict=True)):
        colors = np.empty([processes, chunks, 3])
        for (row, column), count in np.ndenumerate(table):
            strength = 0.2 + 0.8 * (count - 1) / max(1, processes - 1)
            colors[row, column] = blend(theme.series[1 if count == processes else 0], theme.page, strength)
            write(ax, column, row, str(int(count)), theme.page if count > processes / 2 else theme.ink)
        ax.imshow(colors, aspect="auto", interpolation="nearest")
        ax.grid(False)
        ax.set_title(title, color=theme.ink, fontsize=9)
        names = [f"process {row}" for row in range(processes)]
        ax.set_yticks(range(processes), [] if number else names, color=theme.ink, fontsize=9)
        ax.set_xticks([])
    label(axes[0], theme, x="parts of the tensor")
    return figure
