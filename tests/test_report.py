"""Pictures and pages: the numbers given are drawn, Chinese is drawn, and a page needs nothing else."""

import base64
import json
import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import UserError
from ernie_from_scratch.diagnostics.report import (
    Fragment,
    Picture,
    Section,
    Table,
    build_report,
    examples_table,
    final_table,
    runs_report,
)
from ernie_from_scratch.lab.charts import percent
from ernie_from_scratch.lab.cloze_plots import cloze_figure, save_cloze_figure, score_bars
from ernie_from_scratch.lab.figures import png_bytes
from ernie_from_scratch.lab.metrics_plots import (
    column,
    learning_rate_curve,
    load_run,
    loss_curves,
    metric_curves,
    smooth,
)
from ernie_from_scratch.lab.theme import DARK, LIGHT


def rows(count=50, start=5.0):
    found = [
        {"step": s, "loss": start / s**0.5, "learning_rate": 1e-3 * s, "grad_norm": 1.0, "tokens": 100 * s}
        for s in range(1, count + 1)
    ]
    return found + [{"step": count, "eval": "valid", "loss": 2.5, "masked_accuracy": 0.25}]


def write_run(folder, values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in values))
    return folder


# curves


def test_columns_keep_training_and_evaluation_apart():
    steps, loss = column(rows(3), "step", "loss")
    assert steps.tolist() == [1, 2, 3] and loss == pytest.approx([5, 5 / 2**0.5, 5 / 3**0.5])
    assert [values.tolist() for values in column(rows(3), "step", "loss", "valid")] == [[3], [2.5]]
    assert column(rows(3), "tokens", "loss")[0].tolist() == [100, 200, 300]  # all that were read so far
    assert column(rows(3), "step", "sop_loss")[0].size == 0


@pytest.mark.parametrize("window", [1, 2, 3, 8, 99])
def test_smoothing_is_the_mean_of_the_neighbours(window):
    values = np.random.default_rng(0).normal(size=40)
    half = window // 2
    expected = [values[max(0, i - half) : i + half + 1].mean() for i in range(40)]
    np.testing.assert_allclose(smooth(values, window), expected)


def test_curves_draw_the_numbers_and_name_the_runs():
    runs = {"实体掩码": rows(), "character": rows(start=4.0)}
    (ax,) = loss_curves(runs, vocab_size=1000).axes
    drawn = {line.get_label(): line for line in ax.get_lines()}
    assert {"实体掩码", "实体掩码, valid", "character"} <= set(drawn)
    assert drawn["character"].get_xdata().tolist() == list(range(1, 51))
    assert drawn["character, valid"].get_ydata().tolist() == [2.5]
    assert any(line.get_ydata()[0] == pytest.approx(np.log(1000)) for line in ax.get_lines())
    (ax,) = learning_rate_curve({"one": rows()}).axes
    assert ax.get_lines()[0].get_ydata() == pytest.approx(1e-3 * np.arange(1, 51))  # not smoothed
    assert ax.get_legend() is None  # a single line needs none


def test_chinese_is_drawn_without_missing_glyphs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for theme in (LIGHT, DARK):
            png = png_bytes(loss_curves({"实体掩码，损失曲线": rows(), "字": rows()}, theme))
            assert png.startswith(b"\x89PNG") and len(png) > 5000


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "can't be read"),
        ("", "no metrics yet"),
        ('{"step": 1}\n{]\n', "not JSON"),
        ('{"step"', "no metrics yet"),
    ],
)
def test_runs_that_cannot_be_drawn(tmp_path, content, message):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        load_run(tmp_path)


def test_nothing_to_draw():
    with pytest.raises(UserError, match="no run has the column 'gradient'"):
        metric_curves({"x": rows()}, "gradient")


# bars


def cloze_rows():
    accuracy = {"entity": (1.0, 0.9971, 0.83), "character": (0.02, 0.018, 0.0)}
    return [
        {"probes": probes, "strategy": strategy, "masking": masking, "accuracy": value, "before": 0.001}
        for strategy in ("all_at_once", "left_to_right")
        for masking, values in accuracy.items()
        for probes, value in zip(("seen", "unseen combinations", "differently worded"), values, strict=True)
    ]


def test_bars_are_as_high_as_the_accuracies():
    figure = cloze_figure(cloze_rows(), majority=0.09)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["filled all at once", "filled left to right"]
    for ax in figure.axes:
        assert [bar.get_height() for bar in ax.patches] == pytest.approx([100, 99.71, 83, 2, 1.8, 0])
        assert [text.get_text() for text in ax.texts] == ["100", "99.7", "83.0", "2.0", "1.8", "0.0"]
        assert any(line.get_ydata()[0] == 9 for line in ax.get_lines())
        centers = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
        assert np.round(centers).tolist() == [0, 1, 2, 0, 1, 2] and len(set(centers)) == 6
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (
        names[:2] == ["entity masking", "character masking"] and "9.0 %" in names[2] and "0.1 %" in names[3]
    )


def test_percentages_never_round_up_to_perfect():
    shares = (1, 0.99999, 0.9951, 0.5, 0.0004, 0)
    assert [percent(share) for share in shares] == ["100", "99.9", "99.5", "50.0", "0.0", "0.0"]


def test_missing_bars_leave_gaps_and_double_ones_are_refused():
    figure = cloze_figure(cloze_rows()[1:])  # entity masking has no "seen" bar in the first panel
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert sorted(heights) == pytest.approx([0, 1.8, 2, 83, 99.71])
    for wrong, message in (([], "empty"), ([*cloze_rows(), cloze_rows()[0]], "two cloze results")):
        with pytest.raises(UserError, match=message):
            cloze_figure(wrong)


def test_the_figure_is_written_atomically(tmp_path):
    path = save_cloze_figure(cloze_rows(), tmp_path / "new" / "cloze.png")
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG") and [f.name for f in path.parent.iterdir()] == ["cloze.png"]
    assert save_cloze_figure(cloze_rows(), path).read_bytes() == first  # the same numbers give the same file
    with pytest.raises(UserError, match="cannot write"):
        save_cloze_figure(cloze_rows(), path / "below_a_file.png")


def test_scores_show_the_mean_and_the_deviation_of_seeds():
    (ax,) = score_bars({"sentiment": {"pretrained": [0.9, 0.8, 1.0], "random weights": [0.6]}}).axes
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([90, 60])
    lines = [segment for collection in ax.collections for segment in collection.get_segments()]
    assert [abs(s[1, 1] - s[0, 1]) for s in lines] == pytest.approx([20])  # twice the standard deviation 0.1


# pages


class Page(HTMLParser):
    """Collects headings and sources; fails when tags don't match."""

    VOID = {"meta", "img", "source", "link", "br"}

    def __init__(self, html):
        super().__init__()
        self.open, self.sources, self.texts = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_holds_everything_and_loads_nothing(tmp_path):
    picture = Picture(lambda theme: loss_curves({"a": rows()}, theme), 'Cap "tion".')
    sections = [
        Section("Loss <1>", "First.\n\nSecond & last.", [picture]),
        Section("Tables", items=[
            Table(["名", "n", "x"], [["a<b", 1234, 0.123456], [None, True, 2]], "Under it."),
            examples_table([{"text": "甲", "answer": "乙"}, {"text": "丙", "entity": "丁"}]),
            Fragment("<p>ready</p>", "Made elsewhere."),
        ]),
    ]  # fmt: skip
    path = build_report(sections, tmp_path / "report.html", title="A & B", summary="two runs")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    text = " ".join(page.texts)
    titles = ("A & B", "two runs", "Loss <1>", "Second & last.", 'Cap "tion".', "Made elsewhere.")
    for expected in (*titles, "a<b", "1,234", "0.1235", "名", "丁", "ready"):
        assert expected in text, expected
    assert "{{" not in html and "<script" not in html
    assert all(source.startswith(("data:image/png;base64,", "#part-")) for source in page.sources)
    pictures = [base64.b64decode(s.split(",")[1]) for s in page.sources if s.startswith("data:")]
    assert (
        len(pictures) == 2 and all(p.startswith(b"\x89PNG") for p in pictures) and pictures[0] != pictures[1]
    )
    assert not re.search(r"https?://", re.sub(r"base64,[^\"]+", "", html))


def test_a_page_that_fails_leaves_the_old_one(tmp_path):
    path = build_report([Section("one")], tmp_path / "report.html")
    old = path.read_text()

    def broken(theme):
        raise RuntimeError("no picture")

    with pytest.raises(RuntimeError):
        build_report([Section("two", items=[Picture(broken, "x")])], path)
    assert path.read_text() == old and [f.name for f in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(UserError, match="empty report"):
        build_report([], path)
    with pytest.raises(UserError, match="cannot write"):
        build_report([Section("one")], path / "x.html")
    with pytest.raises(UserError, match="2 cells, its header 1"):
        Table(["a"], [["b", "c"]])


def test_report_command(tmp_path, capsys):
    one, two = write_run(tmp_path / "entity", rows()), write_run(tmp_path / "char", rows(start=3))
    assert main(["report", str(one), str(two / "metrics.jsonl")]) == 0
    page = tmp_path / "entity" / "report.html"
    assert capsys.readouterr().out.strip() == str(page)
    text = " ".join(Page(page.read_text(encoding="utf-8")).texts)
    assert "entity, char" in text and "learning rate" in text.lower() and "0.25" in text  # masked accuracy
    assert (
        main(["report", str(one), "--output", str(tmp_path / "x.html")]) == 0
        and (tmp_path / "x.html").exists()
    )
    assert runs_report([one]) == page


def test_a_report_draws_whatever_losses_and_scores_the_metrics_hold(tmp_path):
    pretraining = [{"step": s, "loss": 3.0, "camlm_loss": 2.0, "nsp_loss": 0.7} for s in range(1, 4)]
    pretraining.append(
        {"step": 3, "eval": "valid", "loss": 2.9, "perplexity_PER": 4.0, "masked_accuracy": 0.31}
    )
    tuning = [{"step": s, "epoch": s / 3, "loss": 1.0 / s, "learning_rate": 1e-3} for s in range(1, 4)]
    tuning.append({"step": 3, "epoch": 1, "eval": "dev", "loss": 0.4, "accuracy": 0.875, "entity_f1": 0.6125})
    runs = [write_run(tmp_path / "mlm", pretraining), write_run(tmp_path / "tuned", tuning)]
    page = Page(runs_report(runs).read_text(encoding="utf-8"))
    text = " ".join(page.texts)
    assert len([s for s in page.sources if s.startswith("data:")]) == 2 * 4  # loss, both parts, learning rate
    for expected in (
        "camlm_loss",
        "Next sentence part",
        "masked accuracy",
        "0.31",
        "entity f1",
        "0.6125",
        "dev",
    ):
        assert expected in text, expected
    assert "Sentence order" not in text and "perplexity PER" not in text and "gradient" not in text
    header, first, *_ = final_table({"mlm": pretraining}).header, *final_table({"mlm": pretraining}).rows
    assert dict(zip(header, first, strict=True))["step"] == 3 and first[-1] is None


@pytest.mark.parametrize("flags, message", [
    (["{}/none"], "can't be read"),
    (["{}/run", "{}/other/run"], "two runs are called run"),
    (["{}/run", "--output", "{}/run/metrics.jsonl/x.html"], "cannot write"),
    ([], "RUN"),
])  # fmt: skip
def test_mistakes_of_report(tmp_path, capsys, flags, message):
    for name in ("run", "other/run"):
        write_run(tmp_path / name, rows())
    assert main(["report", *(flag.format(tmp_path) for flag in flags)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: ") and message in error[0]
