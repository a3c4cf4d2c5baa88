"""`ernie evaluate`."""

import json
from dataclasses import dataclass

from ernie_from_scratch.utils.command_line import add_settings, read_settings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Score a fine-tuned model on labelled examples.

Prints one JSON object: number of examples, loss (nats), accuracy, macro F1.

examples:
  ernie evaluate --model runs/sentiment --data test.tsv
  ernie evaluate --model runs/sentiment --data test.tsv --predictions answers.tsv
"""


@dataclass
class EvaluateSettings(Settings):
    model: str = option(REQUIRED, "fine-tuned model folder", aliases=("model_name_or_path",))
    data: str = option(
        REQUIRED, "labelled .tsv with the header label<TAB>text_a[<TAB>text_b]", aliases=("test",)
    )
    task: str = option("seq_cls", "what the model does", choices=("seq_cls",))
    max_seq_len: int | None = option(
        None, "longest row in tokens; default: as the model allows", aliases=("max_seq_length",)
    )
    batch_size: int = option(64, "rows of one forward pass", aliases=("per_device_eval_batch_size",))
    predictions: str | None = option(
        None, "also write right label, prediction and its probability to this .tsv"
    )


def add_arguments(parser):
    add_settings(parser, EvaluateSettings)


def run(args):
    settings = read_settings(EvaluateSettings, args).check()
    from ernie_from_scratch.finetuning.evaluation import evaluate

    print(json.dumps(evaluate(**settings.to_dict())))
