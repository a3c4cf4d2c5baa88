"""Random numbers without saved generators."""


def step_seed(seed, step):
    """Seed of the dropout masks of one step: so a resumed run draws the same ones without saved generators."""
    return (seed * 1_000_003 + step) % (2**63)
