"""Chapter 15: memory of each pipeline stage against the limit of the GPU, and the parts of the time of a step."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ernie_from_scratch.lab.figures import (
    Artist,
    Axes,
    Figure,
    Style,
    label,
    label_rows,
    legend_below,
    new_figure,
    patches,
    write,
)
from ernie_from_scratch.lab.theme import LIGHT, Theme
from ernie_from_scratch.planner.memory import GIB, Memory
from ernie_from_scratch.planner.search import Plan

PARTS = tuple(field.name for field in dataclasses.fields(Memory))
MOST_STAGES = 9  # bars in a picture


def memory_bars(memories: Mapping[str, Memory], limit_gib: float, title: str, theme: Theme = LIGHT) -> Figure:
    """One stacked bar for each named memory, in GiB; the limit of the GPU is a dashed line."""
    figure, (ax,) = new_figure(theme, 6.4, 3.6)
    _stacks(ax, memories, limit_gib, title, theme)
    legend_below(figure, theme, _part_patches(theme), columns=len(PARTS))
    return figure


def plan_figure(plan: Plan, theme: Theme = LIGHT) -> Figure:
    """Left: memory of a GPU by stage (a selection if there are many) and its limit. Right: time of a step by part.

    A plan whose degrees do not divide the job is one line of text.
    """
    layout = plan.layout
    title = (
        f"dp {layout.dp_degree} x sharding {layout.sharding_degree} x mp {layout.mp_degree} x pp {layout.pp_degree}, "
        f"micro batch {layout.micro_batch_size}"
    )
    if plan.invalid_reason:
        figure, (ax,) = new_figure(theme, 9.0, 1.2)
        ax.axis("off")
        write(ax, 0, 0.5, f"{title}\n{plan.invalid_reason}", theme.ink, 11, align="left")
        return figure
    figure, (left, right) = new_figure(theme, 9.0, 3.8, columns=2, width_ratios=(3, 2))
    stages = plan.stages()
    shown = np.unique(np.linspace(0, len(stages) - 1, min(len(stages), MOST_STAGES)).round().astype(int))
    bars = {str(number): stages[number] for number in shown}
    _stacks(left, bars, plan.available_gib, "GiB of a GPU, by pipeline stage", theme)
    _seconds(right, plan, theme)
    missing = plan.memory_gib - plan.available_gib
    verdict = "fits" if plan.feasible else f"needs {missing:.1f} GiB more than there are"
    figure.suptitle(f"{title}: {verdict}", color=theme.ink, fontsize=11)
    legend_below(figure, theme, _part_patches(theme), columns=len(PARTS))
    return figure


def _stacks(ax: Axes, memories: Mapping[str, Memory], limit: float, title: str, theme: Theme) -> None:
    ax.grid(False)
    highest = max(limit, max(memory.total for memory in memories.values()) / GIB)
    for place, memory in enumerate(memories.values()):
        bottom = 0.0
        for part, color in zip(PARTS, theme.series, strict=False):
            size = getattr(memory, part) / GIB
            ax.bar(place, size, 0.72, bottom, color=color, edgecolor=theme.page, linewidth=0.6)
            bottom += size
        over_line = dict(facecolor=theme.page, edgecolor="none", pad=0.6)
        number = f"{bottom:.1f}" if bottom < 100 else f"{bottom:,.0f}"
        color = theme.series[1] if bottom > limit else theme.ink
        style: Style = dict(color=color, fontsize=9, bbox=over_line, zorder=4)
        ax.text(place, bottom + 0.015 * highest, number, ha="center", va="bottom", **style)
    ax.axhline(limit, color=theme.ink, linewidth=1.2, linestyle="--")
    ax.set_xticks(range(len(memories)), list(memories), color=theme.ink, fontsize=9)
    ax.set_xlim(-0.6, len(memories) - 0.4)
    ax.set_ylim(0, 1.14 * highest)
    label(ax, theme, f"{title}; dashed: {limit:g} to plan with", size=10)


def _seconds(ax: Axes, plan: Plan, theme: Theme) -> None:
    parts = {
        field.name.replace("_", " "): getattr(plan.time, field.name)
        for field in dataclasses.fields(plan.time)
        if field.name != "messages"
    }
    ax.grid(False)
    ax.barh(range(0, -len(parts), -1), list(parts.values()), height=0.7, color=theme.series[4])
    for row, seconds in enumerate(parts.values()):
        write(ax, seconds, -row, f" {seconds / plan.step_seconds:.1%}", theme.muted, align="left")
    label_rows(ax, theme, parts, size=9)
    ax.set_xlim(0, 1.25 * max(parts.values()))
    label(ax, theme, f"{plan.step_seconds:.3g} s a step, MFU {plan.mfu:.0%}", size=10)


def _part_patches(theme: Theme) -> list[Artist]:
    return patches(dict(zip(PARTS, theme.series, strict=False)))
