"""`ernie evaluate`."""

import json

from ernie_from_scratch.finetuning.settings import EvaluateSettings

HELP = """Score a fine-tuned model on labelled examples.

Prints one JSON object: number of examples, loss (nats), accuracy, macro F1.

examples:
  ernie evaluate --model runs/sentiment --data test.tsv
  ernie evaluate --model runs/sentiment --data test.tsv --predictions answers.tsv
"""

SETTINGS = EvaluateSettings


def run(settings: EvaluateSettings) -> None:
    settings.check()
    from ernie_from_scratch.finetuning.evaluation import evaluate

    print(json.dumps(evaluate(**settings.to_dict())))
