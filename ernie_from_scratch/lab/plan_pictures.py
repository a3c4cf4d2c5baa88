"""Pictures of plans: memory of each pipeline stage against the card's limit, and where the seconds of a step go.

Every function gives a matplotlib Figure; `lab.notebook.show` puts it under a cell.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ernie_from_scratch.lab.theme import LIGHT, Theme, new_figure
from ernie_from_scratch.planner.memory import GIB, Memory
from ernie_from_scratch.planner.search import Plan

PARTS = tuple(field.name for field in dataclasses.fields(Memory))
MOST_STAGES = 9  # bars in a picture


def memory_bars(memories: Mapping[str, Memory], limit_gib: float, title: str, theme: Theme = LIGHT):
    """One stacked bar for each named memory, in GiB; what the card can give is a dashed line."""
    figure, (ax,) = new_figure(theme, 6.4, 3.6)
    _stacks(ax, memories, limit_gib, title, theme)
    _legend(figure, theme)
    return figure


def plan_picture(plan: Plan, theme: Theme = LIGHT):
    """Left: memory of a GPU by stage (of many stages some) against the limit. Right: seconds of a step by part.

    A plan that cannot be divided is a line of text.
    """
    layout = plan.layout
    title = (
        f"dp {layout.dp_degree} x sharding {layout.sharding_degree} x mp {layout.mp_degree} x pp {layout.pp_degree}, "
        f"micro batch {layout.micro_batch_size}"
    )
    if plan.invalid_reason:
        figure, (ax,) = new_figure(theme, 9.0, 1.2)
        ax.axis("off")
        ax.text(0, 0.5, f"{title}\n{plan.invalid_reason}", color=theme.ink, fontsize=11, va="center")
        return figure
    figure, (left, right) = new_figure(theme, 9.0, 3.8, columns=2, width_ratios=(3, 2))
    stages = plan.stages()
    chosen = np.unique(np.linspace(0, len(stages) - 1, min(len(stages), MOST_STAGES)).round().astype(int))
    bars = {str(n): stages[n] for n in chosen}
    _stacks(left, bars, plan.available_gib, "GiB of a GPU, by pipeline stage", theme)
    _seconds(right, plan, theme)
    verdict = (
        "fits"
        if plan.feasible
        else f"needs {plan.memory_gib - plan.available_gib:.1f} GiB more than there are"
    )
    figure.suptitle(f"{title}: {verdict}", color=theme.ink, fontsize=11)
    _legend(figure, theme)
    return figure


def _stacks(ax, memories, limit, title, theme):
    ax.grid(False)
    highest = max(limit, max(memory.total for memory in memories.values()) / GIB)
    for place, memory in enumerate(memories.values()):
        bottom = 0.0
        for part, color in zip(PARTS, theme.series, strict=False):
            size = getattr(memory, part) / GIB
            ax.bar(place, size, 0.72, bottom, color=color, edgecolor=theme.page, linewidth=0.6)
            bottom += size
        over = bottom > limit
        color = theme.series[1] if over else theme.ink
        box = dict(facecolor=theme.page, edgecolor="none", pad=0.6)  # over the dashed line
        style = dict(color=theme.series[1] if bottom > limit else theme.ink, fontsize=9, bbox=box, zorder=4)
        number = f"{bottom:.1f}" if bottom < 100 else f"{bottom:,.0f}"
        ax.text(place, bottom + 0.015 * highest, number, ha="center", va="bottom", **style)
    ax.axhline(limit, color=theme.ink, linewidth=1.2, linestyle="--")
    ax.set_xticks(range(len(memories)), memories, color=theme.ink, fontsize=9)
    ax.set_xlim(-0.6, len(memories) - 0.4)
    ax.set_ylim(0, 1.14 * highest)
    ax.set_title(f"{title}; dashed: {limit:g} to plan with", color=theme.ink, fontsize=10, loc="left")


def _seconds(ax, plan, theme):
    parts = {name.replace("_", " "): seconds for name, seconds in plan.time.parts.items()}
    ax.grid(False)
    ax.barh(range(0, -len(parts), -1), parts.values(), height=0.7, color=theme.series[4])
    for row, seconds in enumerate(parts.values()):
        share = seconds / plan.step_seconds
        ax.text(seconds, -row, f" {share:.1%}", color=theme.muted, va="center", fontsize=9)
    ax.set_yticks(range(0, -len(parts), -1), parts, color=theme.ink, fontsize=9)
    ax.set_xlim(0, 1.25 * max(parts.values()))
    ax.set_title(
        f"{plan.step_seconds:.3g} s a step, MFU {plan.mfu:.0%}", color=theme.ink, fontsize=10, loc="left"
    )


def _legend(figure, theme):
    from matplotlib.patches import Patch

    handles = [Patch(label=part, color=color) for part, color in zip(PARTS, theme.series, strict=False)]
    place = dict(loc="outside lower center", ncols=len(PARTS))
    figure.legend(handles=handles, **place, frameon=False, labelcolor=theme.ink, fontsize=9)
