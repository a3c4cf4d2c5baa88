"""`ernie demo`."""

from ernie_from_scratch.experiments.demo.settings import DemoSettings

HELP = """The whole path in minutes: text, vocabulary, pretraining, cloze, fine-tuning, export and serving.

Two small ERNIEs read the same generated encyclopaedia, one with whole entities masked, one with single characters;
then both are asked what they learnt. runs/demo/report.html shows it in pictures. With --text, your own text is
prepared and pretrained on instead. If it is interrupted, the same command resumes where it stopped.

examples:
  ernie demo
  ernie demo --facts 300 --output_dir runs/quick --steps 1200
  ernie demo --text my_corpus.txt --output_dir runs/mine
"""

SETTINGS = DemoSettings


def run(settings: DemoSettings) -> None:
    from ernie_from_scratch.experiments.demo.facts_demo import run_demo

    run_demo(settings)
