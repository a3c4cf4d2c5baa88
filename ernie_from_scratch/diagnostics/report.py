"""One self-contained HTML page of pictures, tables and texts: no network, no other file, light or dark."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.curves import curves, load_run, loss_curves
from ernie_from_scratch.lab.theme import DARK, LIGHT, Theme, png_bytes
from ernie_from_scratch.utils.files import atomic_write

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Picture:
    """A figure drawn twice, for light and dark pages.

    Attributes:
        draw: theme -> matplotlib Figure.
        caption: what it shows and how to read it, two sentences.
    """

    draw: Callable[[Theme], object]
    caption: str

    def html(self) -> str:
        figures = [self.draw(theme) for theme in (LIGHT, DARK)]
        light, dark = (base64.b64encode(png_bytes(figure)).decode() for figure in figures)
        width = round(100 * figures[0].get_figwidth())  # so that letters are equally large in all pictures
        alt = escape(self.caption, quote=True)
        when_dark = f'media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}"'
        return (
            f"<figure><picture><source {when_dark}>"
            f'<img width="{width}" src="data:image/png;base64,{light}" alt="{alt}"></picture>'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@dataclass
class Table:
    """Rows of texts and numbers under a header; numbers stand to the right."""

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
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<figure><div class="scroll">{table}</div>{caption}</figure>'


def _cell(value):
    if value is None:
        return "<td></td>"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape(str(value))}</td>"
    return (
        f'<td class="number">{value:,}</td>'
        if isinstance(value, int)
        else f'<td class="number">{value:.4g}</td>'
    )


@dataclass
class Fragment:
    """Ready HTML, such as `masked_examples_html(...)`, under a caption."""

    fragment: str
    caption: str = ""

    def html(self) -> str:
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return f"<figure>{self.fragment}{caption}</figure>"


@dataclass
class Section:
    """A heading, a paragraph or more of plain text (blank lines between), and what is shown under it."""

    title: str
    text: str = ""
    items: Sequence[Picture | Table | Fragment] = field(default_factory=list)

    def html(self, anchor: str) -> str:
        paragraphs = "".join(f"<p>{escape(p.strip())}</p>" for p in self.text.split("\n\n") if p.strip())
        items = "".join(item.html() for item in self.items)
        return f'<section id="{anchor}"><h2>{escape(self.title)}</h2>{paragraphs}{items}</section>'


def build_report(sections: Sequence[Section], path, title: str = "Report", summary: str = "") -> Path:
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
        Path(temporary).write_text(page, encoding="utf-8")
    return path


def examples_table(rows: Sequence[dict], caption: str = "") -> Table:
    """Cloze answers: rows of `text`, `answer`, and the fillings of each model under its name."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    return Table(header, [[row.get(name) for name in header] for row in rows], caption)


def runs_report(runs: Sequence, path=None) -> Path:
    """Draw run folders (or metrics.jsonl files) into one page: losses, learning rate, gradient norm, closing
    figures.

    Without `path` the page becomes report.html in the first run's folder. Returns the page's path.

    Raises:
        UserError: a run without metrics, two runs of one name, or an unwritable path.
    """
    rows_of = {}
    for run in runs:
        name = _run_name(run)
        if name in rows_of:
            raise UserError(f"two runs are called {name}: {run}; rename one of the folders")
        rows_of[name] = load_run(run)
    pictures = [
        Picture(
            lambda theme: loss_curves(rows_of, theme),
            "Training loss over the optimizer steps: thin lines are single log rows, thick ones their "
            "moving mean, dots evaluations on held-out data. A lower line means a better guess of the hidden "
            "tokens or labels; lines of runs with different masking or tasks are not comparable in height.",
        )
    ]
    for name, caption in EXTRA_CURVES.items():
        if any(
            row.get(name) is not None and not row.get("eval") for rows in rows_of.values() for row in rows
        ):
            pictures.append(Picture(lambda theme, y=name: curves(rows_of, y, theme=theme), caption))
    sections = [Section("Curves", items=pictures), Section("Closing figures", items=[closing_table(rows_of)])]
    first = Path(runs[0])
    path = path or (first if first.is_dir() else first.parent) / "report.html"
    return build_report(sections, path, title="Training runs", summary=", ".join(rows_of))


EXTRA_CURVES = {
    "lm_loss": "Masked language model part of the loss, in nats per hidden token. An untrained network "
    "starts near the logarithm of the vocabulary size.",
    "sop_loss": "Sentence order part of the loss, in nats per row. Guessing gives 0.69, which is ln 2.",
    "learning_rate": "Learning rate that the optimizer used: a linear warm-up, then the decay. The loss "
    "usually falls fastest near its peak and settles as it shrinks.",
    "grad_norm": "Global norm of the gradient before clipping. A sudden rise announces trouble before the "
    "loss shows it.",
}


def closing_table(rows_of: dict) -> Table:
    """Last training row of each run, and its last row of every evaluation."""
    header = ["run", "rows of", "step", "loss", "learning rate", "tokens/s", "accuracy", "macro F1"]
    table = []
    for name, rows in rows_of.items():
        last = {row.get("eval", "train"): row for row in rows}
        for split, row in last.items():
            figures = [row.get(k) for k in ("step", "loss", "learning_rate", "tokens_per_second")]
            figures += [row.get("accuracy", row.get("masked_accuracy")), row.get("macro_f1")]
            table.append([name, split, *figures])
    return Table(
        header, table, "The last row that each run wrote. Accuracy is that of labels or of masked tokens."
    )


def _run_name(run):
    path = Path(run).resolve()
    return path.parent.name if path.name == "metrics.jsonl" else path.name
