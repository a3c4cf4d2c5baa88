"""`ernie demo --text`: vocabulary, prepare and pretrain on the user's own text, then fill hidden words of it."""

from pathlib import Path

from rich.console import Console

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.deployment.pipelines import pipeline
from ernie_from_scratch.diagnostics.report import runs_report
from ernie_from_scratch.experiments.demo import pretraining, text_stages
from ernie_from_scratch.experiments.demo.stages import Journey
from ernie_from_scratch.text.corpus.reading import read_documents
from ernie_from_scratch.text.segmenters.segmenter import make_segmenter

TITLES = {
    "vocabulary": "vocabulary",
    "prepare": "your text to token ids",
    "pretrain": "pretraining with whole words masked",
    "fill": "filling hidden words of your text",
    "report": "report",
}
SENTENCES = 8
SENTENCE_LENGTH = range(12, 50)  # characters: enough to guess from, short enough to read


def run(settings, folder):
    """Run or continue the demo on `settings.text`; returns the stages' results by name."""
    console = Console(highlight=False)
    journey = Journey(folder, settings.deciding(), TITLES, console)
    vocabulary, prefix, arm_folder = (
        folder / "vocab.txt",
        folder / "prepared" / "text",
        folder / "pretrain_word",
    )
    journey.run("vocabulary", lambda: text_stages.write_vocabulary(settings.text, vocabulary))
    journey.run(
        "prepare", lambda: text_stages.write_prepared(settings.text, prefix, vocabulary, segmenter="builtin")
    )
    journey.run(
        "pretrain", lambda: pretrain(settings, folder, prefix, journey.result("vocabulary")["size"], console)
    )
    journey.run("fill", lambda: fill(settings.text, arm_folder / "final", console))
    journey.run("report", lambda: {"said": str(runs_report([arm_folder], folder / "report.html"))})
    console.print(f"The model is in {arm_folder / 'final'}; ask it yourself:")
    console.print(
        f"    ernie predict --task fill-mask --model {arm_folder / 'final'} --text '…[MASK][MASK]…'",
        soft_wrap=True,
    )
    return {name: journey.result(name) for name in TITLES}


def pretrain(settings, folder, prefix, vocabulary_size, console):
    """Stage "pretrain"."""
    ErnieConfig.preset("tiny", vocab_size=vocabulary_size, **pretraining.TEXT_NETWORK).save(folder)
    arm = pretraining.arm_settings(
        settings, prefix, folder / "config.json", "word", pretraining.TEXT_SCHEDULE
    )
    threads = pretraining.cores()
    process = pretraining.Arm("word masking", arm, threads)
    pretraining.pretrain_side_by_side([process], console, at_once=1)
    last = process.rows()[-1]
    return {"last": last, "said": f"loss {last['loss']:.2f} after {settings.steps} steps"}


def fill(text, model, console):
    """Stage "fill": hide one word in a few sentences of the text, and show what the model puts there."""
    ask, segmenter, shown = pipeline("fill-mask", model=str(model)), make_segmenter("builtin"), []
    for sentence in readable_sentences(text):
        words = segmenter.words(sentence)
        number = max(
            range(len(words)),
            key=lambda i: (2 <= len(words[i]) <= 3 and words[i].isalnum(), -abs(i - len(words) / 2)),
        )
        start = sum(map(len, words[:number]))
        hidden = sentence[:start] + "[MASK]" * len(words[number]) + sentence[start + len(words[number]) :]
        answers = [f"{found['token_str']} {found['score']:.2f}" for found in ask(hidden, top_k=3)]
        shown.append({"text": hidden, "hidden": words[number], "filled": answers})
        gap = hidden.replace("[MASK]", "＿")
        console.print(f"    {gap}  [dim]hidden[/dim] {words[number]}  [dim]filled[/dim] {', '.join(answers)}")
    return {"sentences": shown, "said": f"{len(shown)} sentences"}


def readable_sentences(text):
    """A few sentences of middle length from different documents of the text, the same at every call."""
    chosen = []
    for document in read_documents([Path(text)]):
        fitting = [s.text for s in document if len(s.text) in SENTENCE_LENGTH]
        if fitting:
            chosen.append(fitting[len(fitting) // 2])
        if len(chosen) == SENTENCES:
            break
    return chosen
