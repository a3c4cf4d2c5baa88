"""`ernie report`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Draw training runs into one HTML page: loss, learning rate, gradient norm, closing figures.

examples:
  ernie report runs/demo/pretrain_entity runs/demo/pretrain_char --output runs/compare.html
"""


@dataclass
class ReportSettings(Settings):
    """Settings of `ernie report`."""

    runs: list[str] = option(
        REQUIRED, "run folders, or metrics.jsonl files", positional=True, path=True, metavar="RUN"
    )
    output: str | None = option(None, "default: report.html in the first run", path=True, metavar="FILE.html")


SETTINGS = ReportSettings


def run(settings: ReportSettings) -> None:
    settings.check()
    from ernie_from_scratch.diagnostics.report import runs_report

    print(runs_report(settings.runs, settings.output))
