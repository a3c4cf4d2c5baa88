"""Stage "report": report.html, the demo in pictures, and its first figure as cloze.png."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ernie_from_scratch.diagnostics.report import (
    Fragment,
    Picture,
    Section,
    Table,
    build_report,
    examples_table,
)
from ernie_from_scratch.experiments.demo.pretraining import (
    FACTS_MASKINGS,
    FACTS_SCHEDULE,
    pretraining_settings,
    run_folder,
)
from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.experiments.runner import Experiment
from ernie_from_scratch.lab.cloze_plots import cloze_figure, save_cloze_figure, score_bars
from ernie_from_scratch.lab.masked_examples import examples_from_batch
from ernie_from_scratch.lab.masked_html import masked_examples_html
from ernie_from_scratch.lab.metrics_plots import learning_rate_curve, load_run, loss_curves
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.pretrain import build_source
from ernie_from_scratch.training.run_folder import environment

CAVEATS = (
    "Read the figure with care. The questions have the form that entity masking trains: one whole name is masked. "
    "Accuracy with character masking still rises at the end of the run, so it learns more slowly here; that it could "
    "not learn the facts is not shown. Its loss is the lower one, since single characters are easier to predict than "
    "whole names. The two runs share seed, network, sentences and number of tokens; with one seed, a few points of "
    "difference mean little."
)
CLOZE_CAPTION = (
    "Share of questions whose whole name is filled in correctly after pretraining; the short line is the untrained "
    "network. Unseen combinations put known phrases together as the corpus never does; differently worded questions "
    "use phrases that it does not contain."
)
MASKED_CAPTION = (
    "The same rows with each masking. Entity masking masks whole names; character masking masks any 15 % of the "
    "characters, so a name can often be completed from its remaining characters. The network called entity masking "
    "reads two rows of three like this and the third with masked characters, as ERNIE 1.0 is trained with both."
)
LOSS_CAPTION = (
    "Training loss: masked language model plus sentence order. In the flat part at the start only the frequency of "
    "characters is learnt; in the fall after it, the facts."
)
LEARNING_RATE_CAPTION = (
    "Learning rate: linear warm-up, then linear decay to zero. ERNIE normalizes after each layer, and such networks "
    "need the warm-up."
)
SCORES_CAPTION = (
    "Accuracy on test reviews after fine-tuning, mean and standard deviation of three seeds, from the weights of the "
    "entity network and from random ones. Most opinions in the test reviews use words that the labelled ones never "
    "contain; the pretraining text has them without labels, praise before criticism, and the sentence order task has "
    "taught the network which is which."
)


def write_report(settings: DemoSettings, demo: Experiment) -> dict:
    """Write report.html and cloze.png into the demo's folder."""
    folder, results = demo.folder, demo.results()
    cloze = results["cloze"]
    runs = {f"{masking} masking": load_run(run_folder(folder, masking)) for masking in FACTS_MASKINGS}
    vocab_size = results["vocabulary"]["size"]
    scores = {"sentiment of reviews (test)": results["finetune"]["scores"]}
    save_cloze_figure(cloze["rows"], folder / "cloze.png", majority=cloze["majority"])
    knowledge = [
        Picture(lambda theme: cloze_figure(cloze["rows"], theme, cloze["majority"]), CLOZE_CAPTION),
        examples_table(
            cloze["questions"], "Questions and answers, filled all at once. ＿ marks a masked character."
        ),
    ]
    training = [
        Picture(lambda theme: loss_curves(runs, theme, vocab_size=vocab_size), LOSS_CAPTION),
        Picture(lambda theme: learning_rate_curve(runs, theme), LEARNING_RATE_CAPTION),
    ]
    value = [
        Picture(lambda theme: score_bars(scores, theme, chance=0.5), SCORES_CAPTION),
        served_table(results["serve"]["answers"]),
    ]
    sections = [
        Section("What do they know?", CAVEATS, knowledge),
        Section("What is masked?", items=[Fragment(masked_rows_html(settings, folder), MASKED_CAPTION)]),
        Section("How did they learn?", items=training),
        Section("What is it worth?", items=value),
        Section(
            "How long did it take, and on what?", items=[timing_table(demo, results), environment_table()]
        ),
    ]
    page = build_report(sections, folder / "report.html", title="ernie demo", summary=cloze["summary"])
    return {"path": str(page), "summary": str(page)}


def masked_rows_html(settings: DemoSettings, folder: Path) -> str:
    """Two rows of the corpus with each masking, as an HTML fragment."""
    vocabulary = Vocabulary.load(folder / "vocab.txt")
    prefix = folder / "prepared" / "facts"
    examples = []
    for masking in FACTS_MASKINGS:
        run = pretraining_settings(settings, prefix, folder / "config.json", masking, FACTS_SCHEDULE).check()
        run.masking, run.mask_schedule = masking, None  # without the rows that mask characters
        split = build_source(run, [(1.0, str(prefix))], vocabulary)["train"]
        batch = split.batch(np.arange(2))
        examples += examples_from_batch(batch, vocabulary, rows=[0, 1], name=f"{masking} masking")
    return masked_examples_html(examples)


def served_table(answers: Iterable[dict]) -> Table:
    """Texts sent to the server, the label it returned, and the label's probability."""
    best = [(one["text"], one["answer"]["predictions"][0][0]) for one in answers]
    rows = [[text, label["label"], label["score"]] for text, label in best]
    return Table(["review", "label", "probability"], rows, "Answers of the exported model over HTTP.")


def timing_table(demo: Experiment, results: dict[str, dict]) -> Table:
    """Result and seconds of each finished stage."""
    rows = [[demo.titles[name], result["summary"], result["seconds"]] for name, result in results.items()]
    return Table(["stage", "result", "seconds"], rows)


def environment_table() -> Table:
    """Versions and hardware."""
    return Table(["", "this machine"], [[name, str(value)] for name, value in environment().items()])
