"""All ways to divide a job among the GPUs of a cluster, the fastest that fits first, with reasons for the order."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.degrees import check_product, check_sharding_stage
from ernie_from_scratch.planner.counts import full_batch_flops
from ernie_from_scratch.planner.hardware import Cluster
from ernie_from_scratch.planner.job import Job, Layout, divisors
from ernie_from_scratch.planner.memory import GIB, RESERVED, Memory, fullest_stage, host_memory, stage_memory
from ernie_from_scratch.planner.step_time import StepTime, step_time

LARGEST_MICRO_BATCH = 64
PART_NAMES = {
    "recompute": "recomputation", "tensor_parallel": "mp communication", "bubble": "pipeline bubble",
    "pipeline": "pp communication", "synchronization": "gradient synchronization", "optimizer": "optimizer",
    "compute": "computation",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A layout with its memory and time. Nothing else is known of one with an `invalid_reason`."""

    job: Job
    cluster: Cluster
    layout: Layout
    invalid_reason: str = ""

    @cached_property
    def fullest(self) -> tuple[int, Memory]:
        """(stage, `Memory`) of the stage that needs most memory."""
        return fullest_stage(self.job, self.layout)

    @property
    def memory_gib(self) -> float:
        """Memory of the fullest GPU."""
        return self.fullest[1].total / GIB

    @property
    def available_gib(self) -> float:
        """Memory of a GPU without what plans leave free."""
        return self.cluster.gpu.memory_gib - RESERVED / GIB

    @property
    def feasible(self) -> bool:
        return not self.invalid_reason and self.memory_gib <= self.available_gib

    @cached_property
    def time(self) -> StepTime:
        return step_time(self.job, self.layout, self.cluster)

    @property
    def step_seconds(self) -> float:
        return self.time.total

    @property
    def tokens_per_second(self) -> float:
        return self.job.tokens / self.step_seconds

    @property
    def mfu(self) -> float:
        """Model FLOPs utilization: FLOP/s without recomputation over the data sheet's peak (PaLM, appendix B)."""
        job = self.job
        flops = full_batch_flops(job.config, job.global_batch_size, job.max_seq_len, job.masked_lm_prob)
        return flops / self.step_seconds / self.layout.gpus / self.cluster.gpu.peak_flops(job.precision)

    def days(self, tokens: float) -> float:
        return tokens / self.tokens_per_second / 86400

    def cost_per_million_tokens(self, price_per_gpu_hour: float) -> float:
        return self.layout.gpus * price_per_gpu_hour / 3600 / self.tokens_per_second * 1e6

    def stages(self) -> list[Memory]:
        """`Memory` of each pipeline stage."""
        return [stage_memory(self.job, self.layout, n) for n in range(self.layout.pp_degree)]

    def reason(self, best: "Plan | None" = None) -> str:
        """Why the plan is impossible, by how much its memory is exceeded, or what makes it slower than `best`."""
        if self.invalid_reason:
            return self.invalid_reason
        if not self.feasible:
            return self._memory_excess()
        if best is None or best is self:
            return "fastest that fits"
        slower = self.step_seconds / best.step_seconds - 1
        more = {name: self.time.parts[name] - best.time.parts[name] for name in PART_NAMES}
        worst = max(more, key=lambda name: more[name])
        rest = sum(more.values()) - more[worst]
        return f"{slower:.1%} slower: {PART_NAMES[worst]} {more[worst]:+.3g} s, the rest {rest:+.3g} s"

    def _memory_excess(self) -> str:
        stage, memory = self.fullest
        parts = {name: size / GIB for name, size in vars(memory).items()}
        named = ", ".join(f"{name} {size:.1f}" for name, size in parts.items() if size >= 0.05)
        over = f"{self.memory_gib - self.available_gib:.1f} GiB too much on stage {stage}"
        return f"{over}: {named} make {self.memory_gib:.1f} of {self.available_gib:.1f}"

    def to_dict(self, best: "Plan | None" = None) -> dict[str, Any]:
        """The entries that `ernie plan --json` prints; unknown numbers are None."""
        layout = dataclasses.asdict(self.layout)
        if self.invalid_reason:
            known = dict.fromkeys(("memory_gib", "step_seconds", "tokens_per_second", "mfu"))
            return layout | known | {"feasible": False, "reason": self.invalid_reason}
        stage, memory = self.fullest
        return layout | {
            "memory_gib": self.memory_gib,
            "available_gib": self.available_gib,
            "fullest_stage": stage,
            "memory_parts_gib": {name: size / GIB for name, size in vars(memory).items()},
            "host_memory_gib": host_memory(self.job, self.layout) / GIB,
            "micro_batches": self.layout.micro_batches(self.job),
            "step_seconds": self.step_seconds,
            "seconds": self.time.parts,
            "messages": [dataclasses.asdict(message) for message in self.time.messages],
            "tokens_per_second": self.tokens_per_second,
            "mfu": self.mfu,
            "feasible": self.feasible,
            "reason": self.reason(best),
        }


def search(job: Job, cluster: Cluster) -> list[Plan]:
    """All `Plan`s for the job, best first: those that fit by step time, then the others by memory.

    There is one for each product of degrees that uses every GPU and each micro batch of 1, 2, 4 … rows: the fastest of
    the ways to save memory that fits; if none fits, the one that needs least memory. Sharding stages 2 and 3 are tried
    where the trainer has them: without tensor and pipeline parallel.

    Raises:
        UserError: the GPU does not support the job's precision.
    """
    cluster.gpu.peak_flops(job.precision)
    return sorted((best_variant(job, cluster, layout) for layout in layouts(job, cluster)), key=_order)


def _order(plan: Plan) -> tuple[int, float, float]:
    if plan.feasible:
        return (0, plan.step_seconds, -plan.layout.sharding_degree)
    return (2, 0, 0) if plan.invalid_reason else (1, plan.memory_gib, 0)


def layouts(job: Job, cluster: Cluster) -> Iterator[Layout]:
    """Each product of degrees that is the number of GPUs, with each micro batch."""
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


def best_variant(job: Job, cluster: Cluster, layout: Layout) -> Plan:
    """The `Plan` with recompute, sharding stage and offload chosen."""
    reason = layout.invalid_reason(job)
    if reason:
        return Plan(job, cluster, layout, reason)
    savings = [
        dict(sharding_stage=stage, recompute=again, offload=offload)
        for again in (False, True)
        for stage in ((1, 2) if _allows_stage(layout, 2) else (1,))
        for offload in (False, True)
    ]
    if _allows_stage(layout, 3):
        savings.append(dict(sharding_stage=3, recompute=True))
    variants = [Plan(job, cluster, dataclasses.replace(layout, **saving)) for saving in savings]
    fitting = [plan for plan in variants if plan.feasible]
    if fitting:
        return min(fitting, key=lambda plan: plan.step_seconds)
    return min(variants, key=lambda plan: plan.memory_gib)


def _allows_stage(layout: Layout, sharding_stage: int) -> bool:
    try:
        check_sharding_stage(sharding_stage, False, layout.degrees, on_cpu=False)
    except UserError:
        return False
    return True


def best_of_each(plans: Sequence[Plan]) -> list[Plan]:
    """The first plan for each way to divide the network (mp x pp)."""
    first = {}
    for plan in plans:
        first.setdefault((plan.layout.mp_degree, plan.layout.pp_degree), plan)
    return list(first.values())


def with_fixed(plans: Sequence[Plan], **fixed: int | None) -> list[Plan]:
    """The plans whose layout has these values; None: any value.

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
            f"no such plan: {named}; the product of the degrees must be the {gpus} GPUs, the micro batch a power of 2, "
            f"at most {LARGEST_MICRO_BATCH}, with which the global batch has a row for each GPU"
        )
    return found


def one_plan(job: Job, cluster: Cluster, layout: Layout) -> Plan:
    """The `Plan` of this layout.

    Raises:
        UserError: the product of its degrees is not the number of GPUs.
    """
    check_product(layout.degrees, cluster.gpus, "change one of them", unit="GPU")
    return Plan(job, cluster, layout, layout.invalid_reason(job))


def to_dicts(
    plans: Sequence[Plan], tokens: float | None = None, price_per_gpu_hour: float | None = None
) -> list[dict[str, Any]]:
    """What `ernie plan --json` prints of plans in the order of `search`."""
    rows = []
    for plan in plans:
        row = plan.to_dict(plans[0] if plans[0].feasible else None)
        if tokens:
            row["days"] = None if plan.invalid_reason else plan.days(tokens)
        if price_per_gpu_hour:
            row["cost_per_million_tokens"] = (
                None if plan.invalid_reason else plan.cost_per_million_tokens(price_per_gpu_hour)
            )
        rows.append(row)
    return rows
