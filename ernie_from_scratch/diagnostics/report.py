"""Reports: one self-contained HTML page of pictures, tables and texts, for light and dark mode."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.figures import Figure, png_bytes
from ernie_from_scratch.lab.metrics_plots import Runs, column, load_run, loss_curves, metric_curves
from ernie_from_scratch.lab.theme import DARK, LIGHT, Theme
from ernie_from_scratch.utils.files import atomic_write

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Picture:
    """A figure drawn twice, for light and dark pages.

    Attributes:
        draw: called with each theme.
        caption: what it shows and how to read it, two sentences.
    """

    draw: Callable[[Theme], Figure]
    caption: str

    def html(self) -> str:
        figures = [self.draw(theme) for theme in (LIGHT, DARK)]
        light, dark = (base64.b64encode(png_bytes(figure)).decode() for figure in figures)
        width = round(100 * figures[0].get_figwidth())  # text has the same size in all pictures
        alt = escape(self.caption, quote=True)
        when_dark = f'media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}"'
        return (
            f"<figure><picture><source {when_dark}>"
            f'<img width="{width}" src="data:image/png;base64,{light}" alt="{alt}"></picture>'
            f"{_caption(self.caption)}</figure>"
        )


@dataclass
class Table:
    """Rows of texts and numbers under a header; numbers are right-aligned.

    Raises:
        UserError: a row has more or fewer cells than the header.
    """

    header: Sequence[str]
    rows: Sequence[Sequence]
    caption: str = ""

    def __post_init__(self):
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.header):
                raise UserError(f"table row {number} has {len(row)} cells, its header {len(self.header)}")

    def html(self) -> str:
        head = "".join(f"<th>{escape(str(name))}</th>" for name in self.header)
        body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<figure><div class="scroll">{table}</div>{_caption(self.caption)}</figure>'


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape(str(value))}</td>"
    return f'<td class="number">{value:{"," if isinstance(value, int) else ".4g"}}</td>'


@dataclass
class Fragment:
    """Finished HTML, such as `masked_examples_html(...)`, and a caption."""

    fragment: str
    caption: str = ""

    def html(self) -> str:
        return f"<figure>{self.fragment}{_caption(self.caption)}</figure>"


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


@dataclass
class Section:
    """A heading, paragraphs of plain text separated by blank lines, and the items below them."""

    title: str
    text: str = ""
    items: Sequence[Picture | Table | Fragment] = field(default_factory=list)

    def html(self, anchor: str) -> str:
        paragraphs = "".join(f"<p>{escape(p.strip())}</p>" for p in self.text.split("\n\n") if p.strip())
        items = "".join(item.html() for item in self.items)
        return f'<section id="{anchor}"><h2>{escape(self.title)}</h2>{paragraphs}{items}</section>'


def build_report(
    sections: Sequence[Section], path: str | os.PathLike, title: str = "Report", summary: str = ""
) -> Path:
    """Write the page (atomically) and return its path.

    Raises:
        UserError: no sections, or the file can't be written.
    """
    if not sections:
        raise UserError("empty report: there is no section to show")
    bodies = [section.html(f"part-{number}") for number, section in enumerate(sections, 1)]
    links = "".join(f'<a href="#part-{n}">{escape(s.title)}</a>' for n, s in enumerate(sections, 1))
    page = (TEMPLATES / "report.html").read_text(encoding="utf-8")
    values = {
        "title": escape(title),
        "summary": escape(summary),
        "contents": links,
        "body": "\n".join(bodies),
    }
    for name, value in values.items():
        page = page.replace("{{ " + name + " }}", value)
    path = Path(path)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def examples_table(rows: Sequence[dict], caption: str = "") -> Table:
    """Cloze answers: rows with `text`, `answer`, and each model's answer under its name."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    return Table(header, [[row.get(name) for name in header] for row in rows], caption)


LOSS_CAPTIONS = {
    "lm_loss": "Masked language model part of the loss, in nats per masked token. An untrained network starts near the "
    "logarithm of the vocabulary size.",
    "sop_loss": "Sentence order part of the loss, in nats per row. Guessing gives 0.69, which is ln 2.",
    "nsp_loss": "Next sentence part of the loss, in nats per row. Guessing gives 0.69, which is ln 2.",
}
OTHER_CAPTIONS = {
    "learning_rate": "Learning rate of the optimizer: linear warm-up, then decay. The loss usually falls fastest near "
    "the peak and settles as the learning rate shrinks.",
    "grad_norm": "Global norm of the gradient before clipping. A sudden rise announces trouble before the loss shows "
    "it.",
}


def runs_report(runs: Sequence[str | os.PathLike], path: str | os.PathLike | None = None) -> Path:
    """Draw runs of pretraining or fine-tuning into one page: every loss in their metrics, learning rate, gradient norm.

    Args:
        runs: run folders, or metrics.jsonl files.
        path: of the page; default: report.html in the first run's folder.

    Returns:
        The page's path.

    Raises:
        UserError: a run without metrics, two runs of the same name, or the page cannot be written.
    """
    rows_of: dict[str, list[dict]] = {}
    for run in runs:
        name = _run_name(run)
        if name in rows_of:
            raise UserError(f"two runs are called {name}: {run}; rename one of the folders")
        rows_of[name] = load_run(run)
    pictures = [
        Picture(
            lambda theme: loss_curves(rows_of, theme),
            "Training loss over the optimizer steps: thin lines are single log rows, thick ones their moving mean, "
            "dots evaluations on held-out data. Lower is better, but losses of runs with different masking, objectives "
            "or tasks cannot be compared.",
        )
    ]
    for name, caption in (_loss_captions(rows_of) | OTHER_CAPTIONS).items():
        if any(len(column(rows, "step", name)[0]) for rows in rows_of.values()):
            pictures.append(Picture(lambda theme, y=name: metric_curves(rows_of, y, theme=theme), caption))
    sections = [Section("Curves", items=pictures), Section("Final figures", items=[final_table(rows_of)])]
    first = Path(runs[0])
    path = path or (first if first.is_dir() else first.parent) / "report.html"
    return build_report(sections, path, title="Training runs", summary=", ".join(rows_of))


def _loss_captions(rows_of: Runs) -> dict[str, str]:
    """The caption of each part of the loss in the metrics, whatever the objective calls it."""
    names = [name for rows in rows_of.values() for row in rows for name in row if name.endswith("_loss")]
    return {
        name: LOSS_CAPTIONS.get(name, f"The part of the loss called {name}, in nats.")
        for name in dict.fromkeys(names)
    }


def final_table(rows_of: Runs) -> Table:
    """The last training row of each run, and its last row of every evaluation with all its scores."""
    names = ["step", "loss", "learning_rate", "tokens_per_second"]
    evaluations = [row for rows in rows_of.values() for row in rows if "eval" in row]
    scores = dict.fromkeys(name for row in evaluations for name in row if _is_score(name))
    names += [name for name in scores if name not in names]
    table = []
    for run, rows in rows_of.items():
        last = {row.get("eval", "train"): row for row in rows}
        table += [[run, split, *(row.get(name) for name in names)] for split, row in last.items()]
    header = ["run", "rows of", *(name.replace("_", " ").replace(" per second", "/s") for name in names)]
    return Table(header, table, "The last row that each run wrote for training and for each evaluation.")


def _is_score(name: str) -> bool:
    """Whether a column of an evaluation row is a score: no loss, and not the perplexity of one kind of token."""
    return name not in ("eval", "step", "epoch") and not name.endswith("loss") and "perplexity_" not in name


def _run_name(run: str | os.PathLike) -> str:
    path = Path(run).resolve()
    return path.parent.name if path.name == "metrics.jsonl" else path.name
