"""Settings of `ernie demo`."""

from dataclasses import dataclass, fields
from typing import Any

from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.utils.settings import Settings, inherit, option, option_of

FACTS_STEPS, TEXT_STEPS = 4400, 1500  # optimizer steps of a pretraining


@dataclass
class DemoSettings(Settings):
    """Settings of the demo; the defaults are those of the README's figures."""

    output_dir: str = option(
        "runs/demo", "folder of all results; the same command continues there", path=True, resumable=True
    )
    text: str | None = option(
        None, "your own text instead: a .txt, .jsonl or .gz file, or a folder of them", path=True
    )
    facts: int = option(500, "facts that the corpus states and the cloze asks for", minimum=20)
    sentences: int = option(30_000, "sentences of the generated corpus", minimum=100)
    steps: int | None = option(
        None,
        f"optimizer steps of each pretraining; default: {FACTS_STEPS}, with --text {TEXT_STEPS}",
        minimum=10,
    )
    probes: int = option(500, "cloze questions of each kind", minimum=1)
    seed: int = inherit(DataSettings, help="seed of corpus, weights, masks and order", group="")
    fresh: bool = option(
        False, "start over: delete what an earlier demo left in the output folder", resumable=True
    )

    def check(self) -> "DemoSettings":
        """As `Settings.check`; also fills in the default number of steps."""
        super().check()
        self.steps = self.steps or (TEXT_STEPS if self.text else FACTS_STEPS)
        return self

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not option_of(f).resumable}
