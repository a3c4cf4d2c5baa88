"""Which degrees, batch sizes and networks go together. Arithmetic only, no Paddle, before anything is built.

The training settings, `Strategy.start`, tensor parallel, the optimizer and the planner all call these checks. Each
raises UserError: one line with the values that were found and those that would work.
"""

import math
from typing import Protocol

from ernie_from_scratch.config import UserError

Degrees = tuple[int, int, int, int]  # dp, sharding, mp, pp


class RunLayout(Protocol):
    """The fields of the training settings that say how a run is divided among processes."""

    dp_degree: int | None
    sharding_degree: int
    mp_degree: int
    pp_degree: int
    virtual_pp_degree: int
    use_sharding: bool | None
    micro_batch_size: int
    global_batch_size: int | None

    @property
    def accumulation(self) -> int: ...


def check_layout(settings: RunLayout, processes: int | None = None) -> None:
    """Fill in dp_degree and global_batch_size where they are None, then check degrees and batch against each other.

    Args:
        settings: of a run; changed in place.
        processes: number of processes of the run; None: those that Paddle's launcher has started.

    Raises:
        UserError: with the nearest batch size, or the product of degrees, that works.
    """
    if processes is None:
        from ernie_from_scratch.parallel.launch import launched_processes

        processes = launched_processes()
    sharding, mp, pp = settings.sharding_degree, settings.mp_degree, settings.pp_degree
    dp = settings.dp_degree or max(1, processes // (sharding * mp * pp))
    micro = settings.micro_batch_size
    batch = settings.global_batch_size or micro * dp * sharding
    settings.dp_degree, settings.global_batch_size = dp, batch
    check_global_batch(batch, micro, dp, sharding)
    if settings.use_sharding is False and sharding > 1:
        raise UserError(f"--use_sharding false and --sharding_degree {sharding} contradict; keep one")
    product = dp * sharding * mp * pp
    advice = f"the product must be {processes}: leave the degrees out for --dp_degree {processes}"
    if processes == 1:
        gpus = ",".join(map(str, range(product)))
        advice = (
            f"start {product} with --gpus {gpus} or, on a CPU, --nproc {product}; or leave every degree 1"
        )
        if batch % micro == 0:
            advice += f"; --global_batch_size {batch} stays, as {batch // micro} micro batches"
    check_product((dp, sharding, mp, pp), processes, advice)
    check_interleaving(pp, settings.virtual_pp_degree, settings.accumulation, micro * dp * sharding)


def check_product(degrees: Degrees, available: int, advice: str, unit: str = "process") -> None:
    """UserError with `advice` unless the product of the degrees is the number of processes (or GPUs) available."""
    product = math.prod(degrees)
    if product != available:
        names = ("dp_degree", "sharding_degree", "mp_degree", "pp_degree")
        flags = " x ".join(f"--{name} {degree}" for name, degree in zip(names, degrees, strict=True))
        units = {"process": "processes", "GPU": "GPUs"}[unit] if product > 1 else unit
        there = "there is 1" if available == 1 else f"there are {available}"
        raise UserError(f"{flags} asks for {product} {units} and {there}; {advice}")


def check_global_batch(global_batch_size: int, micro_batch_size: int, dp: int, sharding: int) -> None:
    """UserError unless global_batch_size = micro_batch_size x dp x sharding x a whole number (the accumulation)."""
    rows = micro_batch_size * dp * sharding
    if global_batch_size % rows:
        below = global_batch_size // rows * rows
        raise UserError(
            f"--global_batch_size {global_batch_size} is not a multiple of micro_batch_size {micro_batch_size} x "
            f"dp_degree {dp} x sharding_degree {sharding} = {rows}; "
            f"nearest: {f'{below} or ' if below else ''}{below + rows}"
        )


def check_interleaving(pp: int, virtual_pp: int, micro_batches: int, rows_per_micro_step: int) -> None:
    """UserError unless Fleet's schedule can interleave the chunks of a pipeline (`virtual_pp` above 1).

    `micro_batches` of a step on each pipeline; `rows_per_micro_step` of one micro batch on all pipelines.
    """
    if virtual_pp == 1:
        return
    if pp < 3:
        raise UserError(
            f"--virtual_pp_degree {virtual_pp}: --pp_degree is {pp}, and must be 3 or more; or drop it"
        )
    if micro_batches < 2 * pp:
        raise UserError(
            f"--virtual_pp_degree {virtual_pp}: {micro_batches} micro batches a step, and --pp_degree {pp} needs "
            f"{2 * pp} to interleave; raise --global_batch_size to {2 * pp * rows_per_micro_step}"
        )


def check_mp_degree(num_attention_heads: int, intermediate_size: int, mp_degree: int) -> None:
    """UserError unless tensor parallel can divide attention and feed-forward network evenly.

    The vocabulary needs no check: it is padded to a multiple of mp_degree.
    """
    if num_attention_heads % mp_degree or intermediate_size % mp_degree:
        heads = range(1, num_attention_heads + 1)
        valid = [str(n) for n in heads if num_attention_heads % n == 0 and intermediate_size % n == 0]
        raise UserError(
            f"--mp_degree {mp_degree} does not divide {num_attention_heads} attention heads and intermediate_size "
            f"{intermediate_size}; degrees that do: {', '.join(valid)}"
        )


def check_sharding_stage(stage: int, offload: bool, degrees: Degrees, on_cpu: bool) -> None:
    """UserError unless the sharding stage (1, 2 or 3), with or without offload, runs with these degrees on this device.

    Stage 2 and offload are Paddle's and need GPUs.
    """
    if stage == 1 and not offload:
        return
    flags = f"--sharding_stage {stage}" + (" with --offload" if offload else "")
    if offload and stage != 2:
        raise UserError(f"{flags}: optimizer state can be kept in host memory with --sharding_stage 2 only")
    if stage == 2 and on_cpu:
        raise UserError(f"{flags}: Paddle runs it on GPUs only; on a CPU use --sharding_stage 1 or 3")
    dp, sharding, mp, pp = degrees
    found = f"found dp_degree {dp}, sharding_degree {sharding}, mp_degree {mp}, pp_degree {pp}"
    if sharding == 1:
        raise UserError(f"{flags} needs a --sharding_degree above 1; {found}")
    if stage == 2 and dp * mp * pp > 1:
        raise UserError(f"{flags} takes all processes as sharding_degree; {found}")
    if mp * pp > 1:
        raise UserError(f"{flags} works with dp_degree and sharding_degree only; {found}")
