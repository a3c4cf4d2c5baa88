"""Pictures of the parallel chapters: a pipeline's time chart, and sums that travel around a ring.

Every function gives a matplotlib Figure; `lab.notebook.show` puts it under a cell.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure

PASSES = {"F": "forward", "B": "backward"}


def time_charts(
    charts: Mapping[str, Sequence[tuple[int, str, int, float, float]]], unit: str, theme: Theme = LIGHT
):
    """What each stage of a pipeline does when: a row per stage, a box per pass, idle time left white.

    Args:
        charts: title -> (stage, "F" or "B", number of the micro batch, start, end) of each pass; all charts have the
            same scale of time.
        unit: of the times.
    """
    stages = [1 + max(stage for stage, *_ in passes) for passes in charts.values()]
    figure, axes = _rows_of_axes(theme, 8.4, [0.42 * count + 0.25 for count in stages])
    longest = max(end for passes in charts.values() for *_, end in passes)
    for ax, (title, passes), count in zip(axes, charts.items(), stages, strict=True):
        for stage, kind, number, start, end in passes:
            color = theme.series[list(PASSES).index(kind)]
            ax.barh(-stage, end - start, left=start, height=0.84, color=color, edgecolor=theme.page)
            if end - start > longest / 70:
                ax.text(
                    (start + end) / 2, -stage, number, color=theme.page, fontsize=9, ha="center", va="center"
                )
        ax.set_yticks(range(0, -count, -1), [f"stage {stage}" for stage in range(count)], color=theme.ink)
        ax.set_ylim(-count + 0.5, 0.5)
        ax.set_xlim(0, longest)
        ax.set_title(title, color=theme.ink, fontsize=10, loc="left")
    axes[-1].set_xlabel(f"{unit}; in the boxes: the micro batch", color=theme.muted, fontsize=9)
    _legend(figure, dict(zip(PASSES.values(), theme.series, strict=False)), theme)
    return figure


def ring_steps(steps: Mapping[str, np.ndarray], theme: Theme = LIGHT):
    """How sums grow on their way around a ring: a panel per step, processes down, parts of the tensor across.

    Args:
        steps: title -> table [processes, parts] of how many processes' numbers each part holds the sum of; a part
            that is complete is drawn in the second colour.
    """
    from matplotlib.colors import to_rgb

    processes, parts = next(iter(steps.values())).shape
    figure, axes = new_figure(theme, 1.2 * len(steps) + 0.9, 0.3 * processes + 0.9, columns=len(steps))
    page = np.array(to_rgb(theme.page))
    for number, (ax, (title, table)) in enumerate(zip(axes, steps.items(), strict=True)):
        colors = np.empty([processes, parts, 3])
        for place, count in np.ndenumerate(table):
            full = np.array(to_rgb(theme.series[1 if count == processes else 0]))
            colors[place] = page + (0.2 + 0.8 * (count - 1) / max(1, processes - 1)) * (full - page)
            ink = theme.page if count > processes / 2 else theme.ink
            ax.text(place[1], place[0], int(count), color=ink, fontsize=9, ha="center", va="center")
        ax.imshow(colors, aspect="auto", interpolation="nearest")
        ax.grid(False)
        ax.set_title(title, color=theme.ink, fontsize=9)
        names = [f"process {row}" for row in range(processes)]
        ax.set_yticks(range(processes), [] if number else names, color=theme.ink, fontsize=9)
        ax.set_xticks([])
    axes[0].set_xlabel("parts of the tensor", color=theme.muted, fontsize=9)
    return figure


def _rows_of_axes(theme, width, heights):
    """One axes below the other, of these heights in inches, with a common scale of x."""
    figure, (first,) = new_figure(theme, width, sum(heights) + 0.35 * len(heights) + 0.65)
    grid = first.get_subplotspec().get_gridspec()
    first.remove()
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axes = []
    for number in range(len(heights)):
        ax = figure.add_subplot(grid[number])
        ax.set_facecolor(theme.page)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(theme.grid)
        ax.tick_params(colors=theme.muted, length=0, labelsize=9, labelbottom=number == len(heights) - 1)
        ax.grid(axis="x", color=theme.grid, linewidth=0.8)
        ax.set_axisbelow(True)
        axes.append(ax)
    return figure, axes


def _legend(figure, colors, theme):
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    place = dict(loc="outside lower center", ncols=len(handles))
    figure.legend(handles=handles, **place, frameon=False, labelcolor=theme.ink, fontsize=9)
