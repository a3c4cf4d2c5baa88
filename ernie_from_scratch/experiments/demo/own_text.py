"""`ernie demo --text`: vocabulary, prepare and pretrain on the user's own text, then predict masked words of it."""

from pathlib import Path

from rich.console import Console

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.deployment.pipelines import pipeline
from ernie_from_scratch.diagnostics.report import runs_report
from ernie_from_scratch.experiments.demo import pretraining, text_stages
from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.experiments.runner import Experiment
from ernie_from_scratch.experiments.training_processes import TrainingProcess, train_side_by_side
from ernie_from_scratch.text.corpus.reading import read_documents
from ernie_from_scratch.text.segmenters.segmenter import make_segmenter
from ernie_from_scratch.utils.machine import available_cores

TITLES = {
    "vocabulary": "vocabulary",
    "prepare": "your text to token ids",
    "pretrain": "pretraining with whole word mask",
    "fill": "predicting masked words of your text",
    "report": "report",
}
SENTENCES = 8
SENTENCE_LENGTH = range(12, 50)  # characters: enough context to predict a word, short enough to read


def run(settings: DemoSettings, text: str, folder: Path) -> dict[str, dict]:
    """Run or resume the demo on the file or folder `text`; returns the results of its stages by name."""
    console = Console(highlight=False)
    demo = Experiment(folder, settings.deciding(), TITLES, console)
    vocabulary, prefix = folder / "vocab.txt", folder / "prepared" / "text"
    run_folder = pretraining.run_folder(folder, "word")
    model = run_folder / "final"
    size = demo.run("vocabulary", lambda: text_stages.write_vocabulary(text, vocabulary))["size"]
    demo.run("prepare", lambda: text_stages.write_prepared(text, prefix, vocabulary, segmenter="builtin"))
    demo.run("pretrain", lambda: pretrain(settings, folder, prefix, size, console))
    demo.run("fill", lambda: fill_masked_words(text, model, console))
    demo.run("report", lambda: {"summary": str(runs_report([run_folder], folder / "report.html"))})
    console.print(f"The model is in {model}; ask it yourself:")
    console.print(
        f"    ernie predict --task fill-mask --model {model} --text '…[MASK][MASK]…'", soft_wrap=True
    )
    return demo.results()


def pretrain(settings: DemoSettings, folder: Path, prefix: Path, vocab_size: int, console: Console) -> dict:
    """Stage "pretrain": one run with whole word mask, on all cores."""
    ErnieConfig.preset("tiny", vocab_size=vocab_size, **pretraining.TEXT_NETWORK).save(folder)
    run_settings = pretraining.pretraining_settings(
        settings, prefix, folder / "config.json", "word", pretraining.TEXT_SCHEDULE
    )
    process = TrainingProcess("word masking", run_settings, available_cores())
    train_side_by_side([process], console, at_once=1)
    last = process.rows()[-1]
    return {"last": last, "summary": f"loss {last['loss']:.2f} after {settings.steps} steps"}


def fill_masked_words(text: str, model: Path, console: Console) -> dict:
    """Stage "fill": mask one word in a few sentences of the text, and show the model's best predictions."""
    fill_mask, segmenter, sentences = pipeline("fill-mask", model=str(model)), make_segmenter("builtin"), []
    for sentence in example_sentences(text):
        words = segmenter.words(sentence)
        number = max(  # a word of 2 or 3 characters near the middle of the sentence
            range(len(words)),
            key=lambda i: (2 <= len(words[i]) <= 3 and words[i].isalnum(), -abs(i - len(words) / 2)),
        )
        word, before, after = words[number], "".join(words[:number]), "".join(words[number + 1 :])
        masked = before + "[MASK]" * len(word) + after
        answers = [f"{found['token_str']} {found['score']:.2f}" for found in fill_mask(masked, top_k=3)]
        sentences.append({"text": masked, "hidden": word, "filled": answers})
        gap = before + "＿" * len(word) + after
        console.print(f"    {gap}  [dim]masked[/dim] {word}  [dim]predicted[/dim] {', '.join(answers)}")
    return {"sentences": sentences, "summary": f"{len(sentences)} sentences"}


def example_sentences(text: str) -> list[str]:
    """A few sentences of medium length from different documents of the text, the same ones at every call."""
    chosen = []
    for document in read_documents([Path(text)]):
        suitable = [sentence.text for sentence in document if len(sentence.text) in SENTENCE_LENGTH]
        if suitable:
            chosen.append(suitable[len(suitable) // 2])
        if len(chosen) == SENTENCES:
            break
    return chosen
