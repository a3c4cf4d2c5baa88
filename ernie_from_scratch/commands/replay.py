"""`ernie replay`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Compute a step again whose loss or gradient was not finite, and show where that began.

example:
  ernie replay runs/first/bad_step_812
"""


@dataclass
class ReplaySettings(Settings):
    """Settings of `ernie replay`."""

    folder: str = option(
        REQUIRED,
        "what `ernie pretrain` saved when it stopped",
        positional=True,
        path=True,
        metavar="RUN/bad_step_N",
    )


SETTINGS = ReplaySettings


def run(settings: ReplaySettings) -> None:
    settings.check()
    from ernie_from_scratch.diagnostics.replay import describe, replay

    for line in describe(replay(settings.folder)):
        print(line)
