"""Stage "report": runs/demo/report.html, the demo in pictures."""

import numpy as np

from ernie_from_scratch.diagnostics.report import (
    Fragment,
    Picture,
    Section,
    Table,
    build_report,
    examples_table,
)
from ernie_from_scratch.experiments.demo.pretraining import FACTS_SCHEDULE, arm_settings
from ernie_from_scratch.lab.bars import cloze_bars, cloze_figure, score_bars
from ernie_from_scratch.lab.curves import learning_rate_curve, load_run, loss_curves
from ernie_from_scratch.lab.mask_pictures import examples_from_batch, masked_examples_html
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.pretrain import build_source
from ernie_from_scratch.training.run_folder import environment

CAVEATS = (
    "Read the figure with care. The questions have the form that entity masking trains: one whole name hidden. "
    "Character masking still rises when the run ends, so it is slower here, not unable; its loss is the lower one, "
    "since single characters are easier to guess than whole names. The two runs share seed, network, sentences and "
    "number of tokens; one seed says little about a few points of difference."
)


def masked_examples(settings, folder, maskings):
    """The same rows of the corpus under each masking, as an HTML fragment."""
    vocabulary = Vocabulary.load(folder / "vocab.txt")
    prefix = folder / "prepared" / "facts"
    examples = []
    for masking in maskings:
        arm = arm_settings(settings, prefix, folder / "config.json", masking, FACTS_SCHEDULE).check()
        arm.masking, arm.mask_schedule = masking, None  # the picture shows entity masking alone
        split = build_source(arm, [(1.0, str(prefix))], vocabulary)["train"]
        batch = split.batch(np.arange(2))
        examples += examples_from_batch(batch, vocabulary, rows=[0, 1], name=f"{masking} masking")
    return masked_examples_html(examples)


def write_report(settings, folder, journey):
    """Write report.html and the first figure, cloze.png, into `folder`."""
    maskings = ("entity", "char")
    found, tuned = journey.result("cloze"), journey.result("finetune")
    runs = {f"{masking} masking": load_run(folder / f"pretrain_{masking}") for masking in maskings}
    vocabulary_size = journey.result("vocabulary")["size"]
    cloze_bars(found["rows"], folder / "cloze.png", majority=found["majority"])
    scores = {"sentiment of reviews (test)": tuned["scores"]}
    sections = [
        Section(
            "What do they know?",
            CAVEATS,
            [
                Picture(
                    lambda theme: cloze_figure(found["rows"], theme, found["majority"]),
                    "Share of questions whose whole name is filled in rightly, after pretraining; the short"
                    " line is the untrained network. Unseen combinations put known turns together in a way "
                    "the corpus never does; differently worded questions use turns of phrase that it never "
                    "uses.",
                ),
                examples_table(
                    found["questions"], "Questions and answers, filled all at once. ＿ marks what is hidden."
                ),
            ],
        ),
        Section(
            "What is hidden?",
            items=[
                Fragment(
                    masked_examples(settings, folder, maskings),
                    "The same rows under each masking. Entity masking hides whole names, character "
                    "masking any 15 % of the characters, so a name can be completed from its own remaining "
                    "characters. The network called entity masking reads two rows of three "
                    "like this and the third with characters hidden, as ERNIE 1.0 is trained with both.",
                )
            ],
        ),
        Section(
            "How did it learn?",
            items=[
                Picture(
                    lambda theme: loss_curves(runs, theme, vocab_size=vocabulary_size),
                    "Training loss: masked language model plus sentence order. The flat part at the start "
                    "is the time in which only the frequency of characters is learnt; the fall after it is "
                    "facts being learnt.",
                ),
                Picture(
                    lambda theme: learning_rate_curve(runs, theme),
                    "Learning rate: linear warm-up, then linear decay to zero. ERNIE normalizes after each "
                    "layer, and such networks need the warm-up.",
                ),
            ],
        ),
        Section(
            "What is it worth?",
            items=[
                Picture(
                    lambda theme: score_bars(scores, theme, chance=0.5),
                    "Accuracy on test reviews after fine-tuning, mean and deviation of three seeds, from the entity "
                    "network's weights and from random ones. Most opinions in the test reviews are worded in ways that "
                    "the labelled ones never show; the pretraining text shows them without a label, praise before "
                    "blame, and telling the order of sentences has taught which is which.",
                ),
                served_table(journey.result("serve")["answers"]),
            ],
        ),
        Section("How long did it take, on what?", items=[timing_table(journey), environment_table()]),
    ]
    path = build_report(sections, folder / "report.html", title="ernie demo", summary=found["said"])
    return {"path": str(path), "said": str(path)}


def served_table(answers):
    """Texts sent to the server and the label it gave, with its probability."""
    rows = []
    for one in answers:
        best = one["answer"]["predictions"][0][0]
        rows.append([one["text"], best["label"], best["score"]])
    return Table(["review", "label", "probability"], rows, "Answers of the exported model over HTTP.")


def timing_table(journey):
    rows = [
        [journey.titles[name], kept["said"], kept["seconds"]]
        for name in journey.titles
        if (kept := journey.result(name))
    ]
    return Table(["stage", "result", "seconds"], rows)


def environment_table():
    return Table(["", "this machine"], [[name, str(value)] for name, value in environment().items()])
