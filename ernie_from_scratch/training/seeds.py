"""Random numbers without saved generators."""

MULTIPLIER = 1_000_003


def step_seed(seed: int, step: int) -> int:
    """Seed of the dropout masks of one step: so a resumed run draws the same ones without saved generators."""
    return (seed * MULTIPLIER + step) % (2**63)


def micro_batch_seed(seed: int, step: int, number: int) -> int:
    """Seed of the dropout masks of micro batch `number` of a step, counted over all processes.

    So two processes of one micro batch draw what one process of two draws.
    """
    return step_seed(step_seed(seed, step), number)
