"""`ernie finetune`."""

from pathlib import Path

from ernie_from_scratch.finetuning.settings import FinetuneSettings
from ernie_from_scratch.parallel.launch import LaunchSettings, launched_processes

HELP = """Train a pretrained model on labelled examples.

The sets are .tsv files with the header label<TAB>text_a[<TAB>text_b]. The output folder is a model folder
with the weights of the epoch that was best on the development set; metrics.jsonl and results.json lie beside
them. The same command continues a run that was stopped.

examples:
  ernie finetune --model_name_or_path runs/demo/pretrain_entity/final --output_dir runs/sentiment \\
      --train data/tasks/sentiment/train.tsv --dev data/tasks/sentiment/dev.tsv
  ernie finetune --config sentiment.yaml --seed 2 --output_dir runs/sentiment-2
"""

SETTINGS = (FinetuneSettings, LaunchSettings)


def run(settings: FinetuneSettings, launch: LaunchSettings) -> None:
    processes = launch.check().processes if launched_processes() == 1 else None
    from ernie_from_scratch.finetuning.finetune import finetune, read_results, summary

    if processes:
        from ernie_from_scratch.training.launched import run_launched

        run_launched("finetune", settings, launch)
        results = read_results(Path(settings.output_dir))
    else:
        results = finetune(settings)
    if results and launched_processes() == 1:
        print(f"{settings.output_dir}: {summary(results)}")
