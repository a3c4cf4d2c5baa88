"""`ernie export`."""

from ernie_from_scratch.deployment.settings import ExportSettings

HELP = """Turn a model folder into a graph that other engines run, checked against the network.

The output folder holds graph, vocabulary, config and labels: all that `ernie serve` and `ernie predict` need.

examples:
  ernie export --model runs/sentiment --output runs/sentiment-paddle
  ernie export --model runs/sentiment --output runs/sentiment-onnx --format onnx
"""

SETTINGS = ExportSettings


def run(settings: ExportSettings) -> None:
    settings.check()
    from ernie_from_scratch.deployment.export import export

    export(**settings.to_dict())
