"""Plans in the terminal: the best ones, the first one in detail, and why the others are impossible."""

import dataclasses

from rich.console import Console
from rich.table import Table

from ernie_from_scratch.planner.counts import total_parameters
from ernie_from_scratch.planner.hardware import Cluster
from ernie_from_scratch.planner.job import Job, Layout
from ernie_from_scratch.planner.memory import GIB, RESERVED, host_memory, stage_activations
from ernie_from_scratch.planner.search import Plan

DEGREES = (("dp", "dp_degree"), ("sharding", "sharding_degree"), ("mp", "mp_degree"), ("pp", "pp_degree"),
           ("micro batch", "micro_batch_size"))  # fmt: skip


def show(plans: list[Plan], console: Console, top: int, tokens: float | None, price: float | None) -> None:
    """Print the `top` best of `plans` (best first), details of the first one, and as many of those that do not fit."""
    job, cluster = plans[0].job, plans[0].cluster
    console.print(heading(job, cluster), soft_wrap=True)
    fitting = [plan for plan in plans if plan.feasible]
    others = [plan for plan in plans if not plan.feasible]
    if fitting:
        console.print(_ranking(fitting[:top], len(fitting), tokens, price))
        console.print(memory_by_stage(fitting[0]))
        console.print(_seconds(fitting[0]), _messages(fitting[0]))
    else:
        console.print("[bold]No plan fits.[/bold] The nearest ones:")
        if not others[0].invalid_reason:
            console.print(memory_by_stage(others[0]))
    if others:
        console.print(_impossible(others[:top], len(others)))


def heading(job: Job, cluster: Cluster) -> str:
    """Network, batch and cluster, a line each."""
    config, gpu = job.config, cluster.gpu
    layers = f"{config.num_hidden_layers} layers x {config.hidden_size:,}, {config.num_attention_heads} heads"
    batch = f"{job.global_batch_size:,} rows x {job.max_seq_len} tokens a step in {job.precision}"
    usable = f"{gpu.memory_gib - RESERVED / GIB:g} of {gpu.memory_gib:g} GiB usable"
    machines = f"{cluster.gpus} x {gpu.name}, {cluster.gpus_per_node} in a machine, {usable}"
    return f"{total_parameters(config):,} parameters: {layers}\n{batch}\n{machines}\n"


def saving(layout: Layout) -> str:
    """The ways to save memory that the layout uses."""
    words = ["recompute"] if layout.recompute else []
    words += [f"stage {layout.sharding_stage}"] if layout.sharding_stage > 1 else []
    return ", ".join(words + (["offload"] if layout.offload else [])) or "-"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        is_text = column in ("saving", "reason", "link", "part", "dimension")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    return table


def _degrees(plan: Plan) -> list[str]:
    return [str(getattr(plan.layout, name)) for _, name in DEGREES]


def _ranking(plans: list[Plan], count: int, tokens: float | None, price: float | None) -> Table:
    more = (["days"] if tokens else []) + (["price / M tokens"] if price else [])
    columns = ["", *(name for name, _ in DEGREES), "saving", "GiB", "s / step", "tokens/s", "MFU"]
    columns += [*more, "reason"]
    table = _table(f"Best {len(plans)} of {count} that fit", *columns)
    for number, plan in enumerate(plans, 1):
        row = [str(number), *_degrees(plan), saving(plan.layout), f"{plan.memory_gib:.1f}"]
        row += [f"{plan.step_seconds:.3g}", f"{plan.tokens_per_second:,.0f}", f"{plan.mfu:.0%}"]
        row += [f"{plan.days(tokens):,.1f}"] if tokens else []
        row += [f"{plan.cost_per_million_tokens(price):,.4g}"] if price else []
        table.add_row(*row, plan.reason(plans[0]))
    return table


def memory_by_stage(plan: Plan) -> Table:
    """GiB of a GPU of each stage; consecutive stages with the same memory are one row."""
    columns = ["stage", "weights", "gradients", "optimizer", "activations", "total"]
    columns += ["activations with recompute", "without recompute"]
    which = "first" if plan.feasible else "nearest"
    table = _table(f"\nMemory of the {which} plan by pipeline stage, GiB a GPU", *columns)
    both = [dataclasses.replace(plan.layout, recompute=again) for again in (True, False)]
    rows = []
    for stage, memory in enumerate(plan.stages()):
        sizes = [*vars(memory).values(), memory.total]
        sizes += [*(stage_activations(plan.job, layout, stage) for layout in both)]
        rows.append([f"{size / GIB:.2f}" for size in sizes])
    for first, last, row in runs(rows):
        table.add_row(str(first) if first == last else f"{first} to {last}", *row)
    if plan.layout.offload:
        table.caption = f"in host memory: {host_memory(plan.job, plan.layout) / GIB:.1f} GiB a GPU"
    return table


def runs(rows: list[list[str]], most: int = 12) -> list[tuple[int, int, list[str]]]:
    """(first, last, row) of each run of equal rows; of more than `most` runs only the first, middle and last ones."""
    found = []
    for number, row in enumerate(rows):
        if found and found[-1][2] == row:
            found[-1] = (found[-1][0], number, row)
        else:
            found.append((number, number, row))
    if len(found) <= most:
        return found
    return [found[0], found[1], found[len(found) // 2], found[-2], found[-1]]


def _seconds(plan: Plan) -> Table:
    table = _table("\nSeconds of a step", "part", "seconds", "share")
    for name, seconds in plan.time.parts.items():
        if seconds:
            table.add_row(name.replace("_", " "), f"{seconds:.4g}", f"{seconds / plan.step_seconds:.1%}")
    return table


def _messages(plan: Plan) -> Table:
    table = _table("\nWhat a GPU sends in a step", "dimension", "link", "GB", "seconds")
    for message in plan.time.messages:
        table.add_row(message.dimension, message.link, f"{message.bytes / 1e9:.4g}", f"{message.seconds:.3g}")
    return table


def _impossible(plans: list[Plan], count: int) -> Table:
    columns = [*(name for name, _ in DEGREES), "saving", "reason"]
    table = _table(f"\nNot possible: {len(plans)} of {count}, the nearest first", *columns)
    for plan in plans:
        table.add_row(*_degrees(plan), "-" if plan.invalid_reason else saving(plan.layout), plan.reason())
    return table
