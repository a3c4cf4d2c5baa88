"""What `ernie demo` can be told, and the schedule that makes ERNIE's own network learn facts in minutes."""

from dataclasses import asdict, dataclass

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.settings import option


@dataclass
class DemoSettings:
    """Settings of the demo; the defaults are those of the README's figures."""

    output_dir: str = option("runs/demo", "where everything goes; the same command continues there")
    text: str | None = option(None, "your own text instead: a .txt, .jsonl or .gz file, or a folder of them")
    facts: int = option(500, "facts that the corpus tells and the cloze asks")
    sentences: int = option(30_000, "sentences of the generated corpus")
    steps: int | None = option(None, "optimizer steps of each pretraining; default: 4400, with --text 1500")
    probes: int = option(500, "cloze questions of each kind")
    seed: int = option(1234, "seed of corpus, weights, masks and order")
    fresh: bool = option(False, "start over: delete what an earlier demo left in the output folder")

    def check(self):
        """Fill in the default number of steps and refuse what can't work (UserError)."""
        self.steps = self.steps or (1500 if self.text else 4400)
        for name, least in (("facts", 20), ("sentences", 100), ("steps", 10), ("probes", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be at least {least}")

    def deciding(self):
        """The settings that decide the result, as a dict."""
        return {k: v for k, v in asdict(self).items() if k not in ("output_dir", "fresh")}
