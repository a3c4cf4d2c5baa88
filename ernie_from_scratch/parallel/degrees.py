"""How a run is spread over processes, and how its batch is: checked by arithmetic before anything is built."""

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import launched_processes

DEGREES = ("dp_degree", "sharding_degree", "mp_degree", "pp_degree")


def check_layout(settings, processes=None):
    """Fill in dp_degree and global_batch_size where they are left open; refuse what doesn't come out even.

    global_batch_size = micro_batch_size x dp_degree x sharding_degree x accumulation must hold for a whole
    accumulation, and dp x sharding x mp x pp must be the number of processes.

    Args:
        settings: a `PretrainSettings`.
        processes: how many there will be; None: as many as Paddle's launcher has started.

    Raises:
        UserError: with the nearest batch, or the product of degrees, that works.
    """
    processes = processes or launched_processes()
    if settings.dp_degree is None:
        others = settings.sharding_degree * settings.mp_degree * settings.pp_degree
        settings.dp_degree = max(1, processes // others)
    settings.global_batch_size = settings.global_batch_size or settings.rows_per_pass
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
    check_degrees(settings, processes)
    check_chunks(settings)


def check_chunks(settings):
    """Refuse an interleaved pipeline that Fleet's schedule can't run."""
    stages, chunks = settings.pp_degree, settings.virtual_pp_degree
    if chunks == 1:
        return
    if stages < 3:
        raise UserError(
            f"--virtual_pp_degree {chunks}: --pp_degree is {stages}, and must be 3 or more; or drop it"
        )
    if settings.accumulation < 2 * stages:
        least = 2 * stages * settings.rows_per_pass
        raise UserError(
            f"--virtual_pp_degree {chunks}: {settings.accumulation} micro batches a step, and --pp_degree {stages} "
            f"needs {2 * stages} to interleave; raise --global_batch_size to {least}"
        )


def check_degrees(settings, processes):
    """Refuse unless the product of the degrees is the number of processes."""
    product = 1
    for name in DEGREES:
        product *= getattr(settings, name)
    asked = " x ".join(f"--{name} {getattr(settings, name)}" for name in DEGREES)
    if product != processes:
        there = "there is 1" if processes == 1 else f"there are {processes}"
        raise UserError(
            f"{asked} asks for {product} process{'es' if product > 1 else ''} and {there}; "
            + _ways_out(settings, product, processes)
        )


def _ways_out(settings, product, processes):
    if processes > 1:
        return f"the product must be {processes}: leave the degrees out for --dp_degree {processes}"
    batch, micro = settings.global_batch_size, settings.micro_batch_size
    kept = (
        f"; --global_batch_size {batch} stays, as {batch // micro} micro batches"
        if batch % micro == 0
        else ""
    )
    gpus = ",".join(map(str, range(product)))
    return (
        f"start {product} with --gpus {gpus} or, on a CPU, --nproc {product}; or leave every degree 1{kept}"
    )
