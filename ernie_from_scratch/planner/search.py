"""All ways to spread a job over a cluster, the fastest that fits first, and why the others are not."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from ernie_from_scratch.config import UserError
from ernie_from_scratch.planner.counts import step_flops
from ernie_from_scratch.planner.hardware import Cluster
from ernie_from_scratch.planner.job import Job, Layout, divisors
from ernie_from_scratch.planner.memory import (
    GIB,
    RESERVED,
    Memory,
    fullest_stage,
    host_memory,
    stage_memory,
)
from ernie_from_scratch.planner.step_time import StepTime, step_time

LARGEST_MICRO_BATCH = 64
SHORT = {"recompute": "recomputation", "tensor_parallel": "tensor parallel messages", "bubble": "pipeline bubble",
         "pipeline": "pipeline messages", "synchronization": "gradient synchronization", "optimizer": "optimizer",
         "compute": "computation"}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A layout with what it would need and take. `misfit` says why it cannot be divided so; then only that is known."""

    job: Job
    cluster: Cluster
    layout: Layout
    misfit: str = ""

    @cached_property
    def fullest(self) -> tuple[int, Memory]:
        """The stage that needs most memory, and its memory."""
        return fullest_stage(self.job, self.layout)

    @property
    def memory_gib(self):
        """Of the fullest GPU, in GiB."""
        return self.fullest[1].total / GIB

    @property
    def available_gib(self):
        return self.cluster.gpu.memory_gib - RESERVED / GIB

    @property
    def feasible(self):
        return not self.misfit and self.memory_gib <= self.available_gib

    @cached_property
    def time(self) -> StepTime:
        return step_time(self.job, self.layout, self.cluster)

    @property
    def step_seconds(self):
        return self.time.total

    @property
    def tokens_per_second(self):
        return self.job.tokens / self.step_seconds

    @property
    def mfu(self):
        """Model FLOP/s utilization: without what is computed twice, over the data sheet's peak (PaLM, appendix B)."""
        flops = step_flops(
            self.job.config, self.job.global_batch_size, self.job.max_seq_len, self.job.asked_share
        )
        return flops / self.step_seconds / self.layout.gpus / self.cluster.gpu.peak_flops(self.job.precision)

    def days(self, tokens):
        return tokens / self.tokens_per_second / 86400

    def cost_per_million_tokens(self, price_per_gpu_hour):
        return self.layout.gpus * price_per_gpu_hour / 3600 / self.tokens_per_second * 1e6

    def stages(self):
        """`Memory` of each pipeline stage."""
        return [stage_memory(self.job, self.layout, n) for n in range(self.layout.pp_degree)]

    def reason(self, best=None):
        """Why not to take this plan: what is missing and by how much, or what makes it slower than `best`."""
        if self.misfit:
            return self.misfit
        if not self.feasible:
            return self._missing()
        if best is None or best is self:
            return "fastest that fits"
        slower = self.step_seconds / best.step_seconds - 1
        more = {name: getattr(self.time, name) - getattr(best.time, name) for name in SHORT}
        worst = max(more, key=more.get)
        rest = sum(more.values()) - more[worst]
        return f"{slower:.1%} slower: {SHORT[worst]} {more[worst]:+.3g} s, the rest {rest:+.3g} s"

    def _missing(self):
        stage, memory = self.fullest
        parts = {field.name: getattr(memory, field.name) / GIB for field in dataclasses.fields(memory)}
        named = ", ".join(f"{name} {size:.1f}" for name, size in parts.items() if size >= 0.05)
        over = f"{self.memory_gib - self.available_gib:.1f} GiB too much on stage {stage}"
        return f"{over}: {named} make {self.memory_gib:.1f} of {self.available_gib:.1f}"

    def to_dict(self, best=None):
        """The entries that `ernie plan --json` prints; numbers that cannot be known are None."""
        layout = dataclasses.asdict(self.layout)
        if self.misfit:
            known = dict.fromkeys(("memory_gib", "step_seconds", "tokens_per_second", "mfu"))
            return layout | known | {"feasible": False, "reason": self.misfit}
        stage, memory = self.fullest
        seconds = {
            field.name: getattr(self.time, field.name)
            for field in dataclasses.fields(StepTime)
            if field.name != "messages"
        }
        return layout | {
            "memory_gib": self.memory_gib,
            "available_gib": self.available_gib,
            "fullest_stage": stage,
            "memory_parts_gib": {name: size / GIB for name, size in dataclasses.asdict(memory).items()},
            "host_memory_gib": host_memory(self.job, self.layout) / GIB,
            "micro_batches": self.layout.micro_batches(self.job),
            "step_seconds": self.step_seconds,
            "seconds": seconds,
            "messages": [dataclasses.asdict(message) for message in self.time.messages],
            "tokens_per_second": self.tokens_per_second,
            "mfu": self.mfu,
            "feasible": self.feasible,
            "reason": self.reason(best),
        }


def search(job, cluster):
    """All `Plan`s for the job, best first: those that fit by step time, then the others by what they lack.

    For each product of degrees that uses every GPU, and each micro batch of 1, 2, 4 … rows, the fastest way of saving
    memory that fits stands in the list; where none fits, the one that needs least. Sharding stages 2 and 3 are tried
    without a pipeline only: with one, each micro batch would send whole gradients or weights.

    Raises:
        UserError: the GPU does not compute in the job's precision.
    """
    cluster.gpu.peak_flops(job.precision)
    return sorted((best_variant(job, cluster, layout) for layout in layouts(job, cluster)), key=_order)


def _order(plan):
    if plan.feasible:
        return (0, plan.step_seconds, -plan.layout.sharding_degree)
    return (2, 0, 0) if plan.misfit else (1, plan.memory_gib, 0)


def layouts(job, cluster):
    """Degrees whose product is the number of GPUs, times sizes of a micro batch."""
    gpus = cluster.gpus
    for mp in divisors(gpus):
        for pp in divisors(gpus // mp):
            for sharding in divisors(gpus // mp // pp):
                dp = gpus // mp // pp // sharding
                rows = 1
                while rows == 1 or (
                    rows <= LARGEST_MICRO_BATCH and dp * sharding * rows <= job.global_batch_size
                ):
                    yield Layout(dp, sharding, mp, pp, rows)
                    rows *= 2


def best_variant(job, cluster, layout):
    """The `Plan` with recompute, sharding stage and offload chosen."""
    misfit = layout.misfit(job)
    if misfit:
        return Plan(job, cluster, layout, misfit)
    # stages 2 and 3 as `check_sharding` lets them run
    uncut = layout.pp_degree == layout.mp_degree == 1 and layout.sharding_degree > 1
    savings = [
        dict(sharding_stage=stage, recompute=again, offload=offload)
        for again in (False, True)
        for stage in ((1, 2) if uncut and layout.dp_degree == 1 else (1,))
        for offload in (False, True)
    ]
    if uncut:
        savings.append(dict(sharding_stage=3, recompute=True))
    variants = [Plan(job, cluster, dataclasses.replace(layout, **saving)) for saving in savings]
    fitting = [plan for plan in variants if plan.feasible]
    if fitting:
        return min(fitting, key=lambda plan: plan.step_seconds)
    return min(variants, key=lambda plan: plan.memory_gib)


def best_of_each(plans):
    """The first plan of each way to cut the network (mp x pp): its best split of the rest, and best micro batch."""
    seen, first = set(), []
    for plan in plans:
        cut = (plan.layout.mp_degree, plan.layout.pp_degree)
        if cut not in seen:
            seen.add(cut)
            first.append(plan)
    return first


def with_fixed(plans, **fixed):
    """The plans whose layout has these values; None fixes nothing.

    Raises:
        UserError: no plan has them.
    """
    fixed = {name: value for name, value in fixed.items() if value is not None}
    found = [
        plan for plan in plans if all(getattr(plan.layout, name) == value for name, value in fixed.items())
    ]
    if not found:
        gpus = plans[0].cluster.gpus
        named = ", ".join(f"--{name} {value}" for name, value in fixed.items())
        raise UserError(
            f"no such plan: {named}; the product of the degrees must be the {gpus} GPUs, the micro batch a power of 2 "
            f"that leaves each GPU a row, at most {LARGEST_MICRO_BATCH}"
        )
    return found


def one_plan(job, cluster, layout):
    """The `Plan` of exactly this layout.

    Raises:
        UserError: its degrees do not make the cluster's GPUs.
    """
    if layout.gpus != cluster.gpus:
        raise UserError(
            f"degrees do not fit: dp {layout.dp_degree} x sharding {layout.sharding_degree} x mp {layout.mp_degree} x "
            f"pp {layout.pp_degree} = {layout.gpus}, the cluster has {cluster.gpus} GPUs; change one of them"
        )
    return Plan(job, cluster, layout, layout.misfit(job))


def to_dicts(plans, tokens=None, price_per_gpu_hour=None):
    """What `ernie plan --json` prints of plans that are sorted best first."""
    rows = []
    for plan in plans:
        row = plan.to_dict(plans[0] if plans[0].feasible else None)
        if tokens:
            row["days"] = None if plan.misfit else plan.days(tokens)
        if price_per_gpu_hour:
            row["cost_per_million_tokens"] = (
                None if plan.misfit else plan.cost_per_million_tokens(price_per_gpu_hour)
            )
        rows.append(row)
    return rows
