"""`ernie plan`."""

from dataclasses import dataclass
from typing import Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.planner.hardware import GPUS, PRECISIONS, Cluster
from ernie_from_scratch.planner.job import PRESETS, Job
from ernie_from_scratch.utils.settings import Settings, inherit, option

HELP = """Find out how to spread a model over GPUs: memory, time and price of each way, before paying for one

Examples:
  ernie plan --config ernie_230b --gpus 256 --gpu v100-32g --global_batch_size 4096 --max_seq_len 512
  ernie plan --config ernie_large --gpus 8 --gpu a100-80g --global_batch_size 512 --max_seq_len 512 --tokens 1e11
  ernie plan --config model/config.json --gpus 16 --gpu my_gpu.yaml --global_batch_size 256 --max_seq_len 128 --json
  ernie plan --explain

Exit code: 0 when a plan fits, 1 when none does, 2 for a mistake in the flags.
"""
NEEDED = ("config", "gpus", "gpu", "global_batch_size", "max_seq_len")
FIXED = ("dp_degree", "sharding_degree", "mp_degree", "pp_degree", "micro_batch_size")
ONLY = "only plans with this value"


@dataclass
class PlanSettings(Settings):
    """Settings of `ernie plan`."""

    config: str | None = option(
        None, f"{', '.join(PRESETS)}, a preset, or a config.json", metavar="NAME|FILE"
    )
    gpus: int | None = option(None, "GPUs in all")
    gpu: str | None = option(None, f"{', '.join(GPUS)}, or a YAML or JSON file", metavar="NAME|FILE")
    global_batch_size: int | None = option(None, "rows of an optimizer step")
    max_seq_len: int | None = option(None, "tokens of a row")
    gpus_per_node: int = option(Cluster.gpus_per_node, "GPUs in a machine")
    precision: str = option(Job.precision, "number type of the matrix products", choices=PRECISIONS)
    masked_lm_prob: float = inherit(DataSettings, group="")
    tokens: float | None = option(None, "tokens of the whole training: adds days", above=0, metavar="N")
    price_per_gpu_hour: float | None = option(None, "adds the price of a million tokens", above=0)
    dp_degree: int | None = option(None, ONLY)
    sharding_degree: int | None = option(None, ONLY)
    mp_degree: int | None = option(None, ONLY)
    pp_degree: int | None = option(None, ONLY)
    micro_batch_size: int | None = option(None, ONLY)
    top: int = option(10, "plans to show of each kind", minimum=1)
    all: bool = option(False, "every combination, not the best of each mp x pp")
    json: bool = option(False, "all plans as a JSON list, best first")
    explain: bool = option(False, "the formulas, constants and GPUs, with sources")

    def check(self) -> "PlanSettings":
        """As `Settings.check`; also that a plan has all that it needs."""
        super().check()
        for name in NEEDED:
            if getattr(self, name) is None and not self.explain:
                raise UserError(f"--{name} is missing: a plan needs it; `ernie plan --help` shows examples")
        return self


SETTINGS = PlanSettings


def run(settings: PlanSettings) -> int:
    settings.check()
    import json
    import sys

    from rich.console import Console

    from ernie_from_scratch.planner import search as plan_search
    from ernie_from_scratch.planner import view as plan_view
    from ernie_from_scratch.planner.explain import explanation
    from ernie_from_scratch.planner.hardware import find_gpu
    from ernie_from_scratch.planner.job import find_config

    if settings.explain:
        print(explanation())
        return 0
    needed: dict[str, Any] = {name: getattr(settings, name) for name in NEEDED}  # `check` has seen them all
    job = Job(
        find_config(needed["config"]),
        needed["global_batch_size"],
        needed["max_seq_len"],
        settings.precision,
        settings.masked_lm_prob,
    )
    cluster = Cluster(find_gpu(needed["gpu"]), needed["gpus"], settings.gpus_per_node)
    plans = plan_search.search(job, cluster)
    fixed = {name: getattr(settings, name) for name in FIXED}
    if any(value is not None for value in fixed.values()):
        plans = plan_search.with_fixed(plans, **fixed)
    if not settings.all:
        plans = plan_search.best_of_each(plans)
    if settings.json:
        rows = plan_search.to_dicts(plans, settings.tokens, settings.price_per_gpu_hour)
        print(json.dumps(rows, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 150)
        plan_view.show(plans, console, settings.top, settings.tokens, settings.price_per_gpu_hour)
    return 0 if plans[0].feasible else 1
