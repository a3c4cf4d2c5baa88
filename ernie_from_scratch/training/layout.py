"""How a run is spread over processes, and how its batch is: checked by arithmetic before anything is built."""

import os

from ernie_from_scratch.config import UserError

DEGREES = ("dp_degree", "sharding_degree", "mp_degree", "pp_degree")


def launched_processes():
    """Processes that Paddle's launcher has started for this run; 1 without the launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM") or 1)


def check_layout(settings):
    """Refuse a batch that doesn't divide and degrees without as many processes.

    global_batch_size = micro_batch_size x dp_degree x sharding_degree x accumulation must hold for a whole
    accumulation, and dp x sharding x mp x pp must be the number of processes.

    Raises:
        UserError: with the nearest batch, or the product of degrees, that works.
    """
    rows, batch = settings.rows_per_pass, settings.global_batch_size
    if batch % rows:
        below, above = batch // rows * rows, (batch // rows + 1) * rows
        raise UserError(
            f"--global_batch_size {batch} is not a multiple of micro_batch_size {settings.micro_batch_size} x "
            f"dp_degree {settings.dp_degree} x sharding_degree {settings.sharding_degree} = {rows}; "
            f"nearest: {f'{below} or {above}' if below else above}"
        )
    if settings.use_sharding is False and settings.sharding_degree > 1:
        raise UserError(
            f"--use_sharding false and --sharding_degree {settings.sharding_degree} contradict; keep one"
        )
    check_processes(settings, launched_processes())


def check_processes(settings, processes):
    """Refuse unless this is one process and every degree is 1."""
    if processes > 1:
        raise UserError(
            f"started as {processes} processes, but `ernie pretrain` trains in one; start it without "
            "paddle.distributed.launch and with every degree 1"
        )
    product = 1
    for name in DEGREES:
        product *= getattr(settings, name)
    if product > 1:
        asked = " x ".join(f"--{name} {getattr(settings, name)}" for name in DEGREES)
        batch, micro = settings.global_batch_size, settings.micro_batch_size
        kept = (
            f"; --global_batch_size {batch} stays, as {batch // micro} micro batches"
            if batch % micro == 0
            else ""
        )
        raise UserError(
            f"{asked} asks for {product} processes and there is 1; the product that works is 1 x 1 x 1 x 1{kept}"
        )
