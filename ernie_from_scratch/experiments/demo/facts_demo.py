"""The facts demo, from a table of facts to a served model; `run_demo` is what `ernie demo` calls."""

import logging
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

import paddle
from rich.console import Console
from rich.table import Table

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.experiments.demo import cloze, own_text, pretraining, sentiment, serving, text_stages
from ernie_from_scratch.experiments.demo.report import write_report
from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.experiments.runner import Experiment
from ernie_from_scratch.experiments.training_processes import TrainingProcess, train_side_by_side
from ernie_from_scratch.utils.machine import available_cores

TITLES = {
    "recipe": "sentences about facts",
    "vocabulary": "vocabulary",
    "prepare": "sentences to token ids",
    "pretrain": "pretraining twice: entities masked, and single characters masked",
    "cloze": "cloze: which facts do the networks know?",
    "finetune": "fine-tuning: sentiment of reviews",
    "export": "export",
    "serve": "serving over HTTP",
    "report": "report",
}


def run_demo(settings: DemoSettings) -> dict[str, dict]:
    """Run or resume the demo; returns the results of its stages by name.

    Raises:
        UserError: the output folder cannot be written or holds a demo with other settings, or the text cannot be
            read.
    """
    settings.check()
    # "new heads start from random weights" is expected here
    logging.getLogger("ernie_from_scratch").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, _interrupt)  # stages then clean up as they do after Ctrl-C
    folder = Path(settings.output_dir)
    if settings.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    return own_text.run(settings, settings.text, folder) if settings.text else _facts_demo(settings, folder)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _facts_demo(settings: DemoSettings, folder: Path) -> dict[str, dict]:
    console = Console(highlight=False)
    demo = Experiment(folder, settings.deciding(), TITLES, console)
    corpus, vocabulary, prefix = folder / "corpus.jsonl", folder / "vocab.txt", folder / "prepared" / "facts"
    models = {
        masking: pretraining.run_folder(folder, masking) / "final" for masking in pretraining.FACTS_MASKINGS
    }

    demo.run("recipe", lambda: text_stages.write_recipe(settings, corpus))
    demo.run("vocabulary", lambda: text_stages.write_vocabulary(corpus, vocabulary))
    demo.run("prepare", lambda: text_stages.write_prepared(corpus, prefix, vocabulary, segmenter="builtin"))
    demo.run("pretrain", lambda: _pretrain(settings, folder, prefix, console))
    demo.run("cloze", lambda: _cloze(settings, models, folder / "config.json", vocabulary))
    tuned = demo.run(
        "finetune",
        lambda: sentiment.compare_starts(
            models["entity"], folder / "sentiment", lambda line: console.print(f"    {line}")
        ),
    )
    demo.run("export", lambda: _export(tuned["model"], folder / "exported"))
    demo.run("serve", lambda: serving.serve_reviews(folder / "exported"))
    demo.run("report", lambda: write_report(settings, demo))
    results = demo.results()
    console.print(summary_table(results))
    console.print(f"Look at it: {folder / 'report.html'}   The pieces are explained in notebooks/")
    return results


def _pretrain(settings: DemoSettings, folder: Path, prefix: Path, console: Console) -> dict:
    """Pretrain the same network on the same tokens once per masking, side by side if there are cores for it."""
    with open(folder / "vocab.txt", encoding="utf8") as lines:
        vocab_size = sum(1 for _ in lines)
    config_file = folder / "config.json"
    ErnieConfig.preset("tiny", vocab_size=vocab_size, **pretraining.FACTS_NETWORK).save(folder)
    cores = available_cores()
    at_once = 1 if paddle.get_device().startswith("gpu") or cores == 1 else len(pretraining.FACTS_MASKINGS)
    runs = {}
    for masking in pretraining.FACTS_MASKINGS:
        run_settings = pretraining.pretraining_settings(
            settings, prefix, config_file, masking, pretraining.FACTS_SCHEDULE
        )
        runs[masking] = TrainingProcess(f"{masking} masking", run_settings, max(1, cores // at_once))
    train_side_by_side(list(runs.values()), console, at_once)
    last = {masking: run.rows()[-1] for masking, run in runs.items()}
    summary = [
        f"{masking}: loss {row['loss']:.2f} after {row['tokens'] / 1e6:.1f} M tokens"
        for masking, row in last.items()
    ]
    tokens = {masking: row["tokens"] for masking, row in last.items()}
    return {"tokens": tokens, "last": last, "summary": ", ".join(summary)}


def _cloze(
    settings: DemoSettings, models: Mapping[str, Path], config_file: Path, vocabulary_file: Path
) -> dict:
    probes = text_stages.make_demo_probes(settings)
    result = cloze.compare_models(models, config_file, vocabulary_file, probes, settings.seed)
    accuracy = {
        (row["masking"], row["probes"]): row["accuracy"]
        for row in result["rows"]
        if row["strategy"] == "left_to_right"
    }
    summary = [
        f"{kind}: entity {100 * accuracy['entity', kind]:.1f} %, character {100 * accuracy['char', kind]:.1f} %"
        for kind in cloze.TITLES.values()
    ]
    return {**result, "summary": "; ".join(summary)}


def _export(model: str, target: Path) -> dict:
    from ernie_from_scratch.deployment.export import export

    shutil.rmtree(
        target, ignore_errors=True
    )  # of an attempt that was interrupted before its result was stored
    difference = export(model, target, quiet=True)["max_difference"]
    return {"max_difference": difference, "summary": f"largest difference {difference:.1e}"}


def summary_table(results: Mapping[str, dict]) -> Table:
    """The table shown at the end of the demo: summary and seconds of each stage."""
    table = Table(title="ernie demo", title_justify="left")
    table.add_column("stage")
    table.add_column("result")
    table.add_column("seconds", justify="right")
    for name, result in results.items():
        table.add_row(name, result["summary"], f"{result['seconds']:.0f}")
    table.add_row("all", "", f"{sum(result['seconds'] for result in results.values()):.0f}")
    return table
