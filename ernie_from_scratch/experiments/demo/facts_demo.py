"""The demo whole: stages from facts to a served model; `run_demo` is what `ernie demo` calls."""

import logging
import shutil
import signal
from pathlib import Path

import paddle
from rich.console import Console
from rich.table import Table

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.experiments.demo import cloze, own_text, pretraining, sentiment, serving, text_stages
from ernie_from_scratch.experiments.demo.pictures import write_report
from ernie_from_scratch.experiments.demo.stages import Journey

ARMS = ("entity", "char")
TITLES = {
    "recipe": "facts told in sentences",
    "vocabulary": "vocabulary",
    "prepare": "sentences to token ids",
    "pretrain": "pretraining: whole entities masked, and single characters masked",
    "cloze": "cloze: what do they know?",
    "finetune": "fine-tuning: sentiment of reviews",
    "export": "export",
    "serve": "serving over HTTP",
    "report": "report",
}


def run_demo(settings):
    """Run or continue the demo that a `DemoSettings` describes; returns the stages' results by name.

    Raises:
        UserError: an output folder of other settings or that can't be written, or text that can't be read.
    """
    settings.check()
    logging.getLogger("ernie_from_scratch").setLevel(
        logging.ERROR
    )  # that new heads start at random is expected here
    signal.signal(signal.SIGTERM, _as_interrupt)  # stages clean up after themselves as they do on Ctrl-C
    folder = Path(settings.output_dir)
    if settings.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    return own_text.run(settings, folder) if settings.text else _facts_demo(settings, folder)


def _as_interrupt(number, frame):
    raise KeyboardInterrupt


def _facts_demo(settings, folder):
    console = Console(highlight=False)
    journey = Journey(folder, settings.deciding(), TITLES, console)
    corpus, vocabulary, prefix = folder / "corpus.jsonl", folder / "vocab.txt", folder / "prepared" / "facts"
    arms = {masking: folder / f"pretrain_{masking}" / "final" for masking in ARMS}
    config_file = folder / "config.json"

    journey.run("recipe", lambda: text_stages.write_recipe(settings, corpus))
    journey.run("vocabulary", lambda: text_stages.write_vocabulary(corpus, vocabulary))
    journey.run(
        "prepare", lambda: text_stages.write_prepared(corpus, prefix, vocabulary, segmenter="builtin")
    )
    journey.run("pretrain", lambda: _pretrain(settings, folder, prefix, console))
    journey.run("cloze", lambda: _cloze(settings, arms, config_file, vocabulary))
    tell = lambda line: console.print(f"    {line}")  # noqa: E731
    tuned = journey.run(
        "finetune", lambda: sentiment.finetune_both(arms["entity"], folder / "sentiment", tell)
    )
    journey.run("export", lambda: _export(tuned["model"], folder / "exported"))
    journey.run("serve", lambda: serving.serve_and_ask(folder / "exported"))
    journey.run("report", lambda: write_report(settings, folder, journey))
    results = {name: journey.result(name) for name in TITLES}
    console.print(summary(results))
    console.print(f"Look at it: {folder / 'report.html'}   The pieces are explained in notebooks/")
    return results


def _pretrain(settings, folder, prefix, console):
    vocabulary_size = sum(1 for _ in open(folder / "vocab.txt", encoding="utf8"))
    config = ErnieConfig.preset("tiny", vocab_size=vocabulary_size, **pretraining.FACTS_NETWORK)
    config.save(folder)
    cores = pretraining.cores()
    on_gpu = paddle.get_device().startswith("gpu")
    at_once = 1 if on_gpu or cores == 1 else len(ARMS)
    pair = []
    for name in ARMS:
        arm = pretraining.arm_settings(
            settings, prefix, folder / "config.json", name, pretraining.FACTS_SCHEDULE
        )
        pair.append(pretraining.Arm(f"{name} masking", arm, threads=max(1, cores // at_once)))
    pretraining.pretrain_side_by_side(pair, console, at_once)
    last = {masking: arm.rows()[-1] for masking, arm in zip(ARMS, pair, strict=True)}
    tokens = {masking: row["tokens"] for masking, row in last.items()}
    parts = [
        f"{masking}: loss {row['loss']:.2f} after {row['tokens'] / 1e6:.1f} M tokens"
        for masking, row in last.items()
    ]
    said = ", ".join(parts)
    return {"tokens": tokens, "last": last, "said": said}


def _cloze(settings, arms, config_file, vocabulary):
    found = cloze.ask(arms, config_file, vocabulary, text_stages.probes_of(settings), settings.seed)
    shown = {
        (row["masking"], row["probes"]): row["accuracy"]
        for row in found["rows"]
        if row["strategy"] == "left_to_right"
    }
    parts = [
        f"{kind}: entity {100 * shown['entity', kind]:.1f} %, character {100 * shown['char', kind]:.1f} %"
        for kind in cloze.TITLES.values()
    ]
    return {**found, "said": "; ".join(parts)}


def _export(model, target):
    from ernie_from_scratch.deployment.export import export

    shutil.rmtree(target, ignore_errors=True)  # an export that was cut off before its stage was noted
    record = export(model, target, quiet=True)
    return {
        "max_difference": record["max_difference"],
        "said": f"largest difference {record['max_difference']:.1e}",
    }


def summary(results):
    """The table that closes the demo."""
    table = Table(title="ernie demo", title_justify="left")
    for name, side in (("stage", "left"), ("result", "left"), ("seconds", "right")):
        table.add_column(name, justify=side)
    for name, result in results.items():
        table.add_row(name, result["said"], f"{result['seconds']:.0f}")
    table.add_row("all", "", f"{sum(result['seconds'] for result in results.values()):.0f}")
    return table
