"""Chapter 15's plots: heights, limit and texts are read back from the figure."""

import pytest

from ernie_from_scratch.lab import plan_plots
from ernie_from_scratch.planner.hardware import GPUS, Cluster
from ernie_from_scratch.planner.job import Job, Layout, find_config
from ernie_from_scratch.planner.memory import GIB, Memory
from ernie_from_scratch.planner.search import one_plan


def picture(**layout):
    job, cluster = Job(find_config("ernie_large"), 512, 512), Cluster(GPUS["v100-32g"], 16)
    plan = one_plan(job, cluster, Layout(**layout))
    return plan, plan_plots.plan_figure(plan)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_bars_are_stacked_to_their_totals():
    memories = {"one": Memory(GIB, 2 * GIB, 3 * GIB, 4 * GIB), "two": Memory(GIB, 0, 0, GIB)}
    ax = plan_plots.memory_bars(memories, 5, "memory").axes[0]
    assert texts(ax) == ["10.0", "2.0"]
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches]
    assert tops == pytest.approx([1, 3, 6, 10, 1, 1, 1, 2])
    assert ax.lines[0].get_ydata()[0] == 5 and "dashed: 5" in ax.get_title(loc="left")
    assert ax.texts[0].get_color() != ax.texts[1].get_color(), "a total above the limit has another colour"


def test_a_plan_shows_its_stages_and_seconds():
    plan, figure = picture(sharding_degree=2, pp_degree=8, micro_batch_size=4)
    left, right = figure.axes
    assert texts(left) == [f"{memory.total / GIB:.1f}" for memory in plan.stages()]
    widths = [bar.get_width() for bar in right.patches]
    assert sum(widths) == pytest.approx(plan.step_seconds)
    assert figure.get_suptitle().endswith("micro batch 4: fits") and plan.feasible


def test_some_of_many_stages_and_the_missing_memory_are_shown():
    plan, figure = picture(pp_degree=16, micro_batch_size=64)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(labels) == plan_plots.MOST_STAGES and labels[0] == "0" and labels[-1] == "15"
    assert not plan.feasible and "GiB more than there are" in figure.get_suptitle()


def test_an_invalid_layout_shows_its_reason():
    plan, figure = picture(mp_degree=16, dp_degree=1, micro_batch_size=1)
    assert not plan.invalid_reason  # 16 heads
    plan, figure = picture(dp_degree=16, micro_batch_size=64)
    assert "not a multiple" in texts(figure.axes[0])[0]
