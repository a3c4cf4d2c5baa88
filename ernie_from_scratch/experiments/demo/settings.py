"""What `ernie demo` can be told, and the schedule that makes ERNIE's own network learn facts in minutes."""

from dataclasses import dataclass, fields

from ernie_from_scratch.utils.settings import Settings, option, option_of


@dataclass
class DemoSettings(Settings):
    """Settings of the demo; the defaults are those of the README's figures."""

    output_dir: str = option(
        "runs/demo", "folder of all results; the same command continues there", path=True, resumable=True
    )
    text: str | None = option(
        None, "your own text instead: a .txt, .jsonl or .gz file, or a folder of them", path=True
    )
    facts: int = option(500, "facts that the corpus tells and the cloze asks", minimum=20)
    sentences: int = option(30_000, "sentences of the generated corpus", minimum=100)
    steps: int | None = option(
        None, "optimizer steps of each pretraining; default: 4400, with --text 1500", minimum=10
    )
    probes: int = option(500, "cloze questions of each kind", minimum=1)
    seed: int = option(1234, "seed of corpus, weights, masks and order")
    fresh: bool = option(
        False, "start over: delete what an earlier demo left in the output folder", resumable=True
    )

    def check(self) -> "DemoSettings":
        """As `Settings.check`; also fills in the default number of steps."""
        self.steps = self.steps or (1500 if self.text else 4400)
        return super().check()

    def deciding(self) -> dict:
        """The settings that decide the result."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not option_of(f).resumable}
