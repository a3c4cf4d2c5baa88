"""`ernie export`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.command_line import add_settings, read_settings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Turn a model folder into a graph that other engines run, checked against the network.

The output folder holds graph, vocabulary, config and labels: all that `ernie serve` and `ernie predict` need.

examples:
  ernie export --model runs/sentiment --output runs/sentiment-paddle
  ernie export --model runs/sentiment --output runs/sentiment-onnx --format onnx
"""


@dataclass
class ExportSettings(Settings):
    model: str = option(REQUIRED, "model folder", aliases=("model_name_or_path",))
    output: str = option(
        REQUIRED, "folder to write; one that an earlier export wrote is replaced", aliases=("output_dir",)
    )
    format: str = option(
        "paddle", "paddle: for paddle_inference; onnx: for onnxruntime, openvino", choices=("paddle", "onnx")
    )
    task: str | None = option(None, "text-classification or fill-mask; default: as the model's config tells")


def add_arguments(parser):
    add_settings(parser, ExportSettings)


def run(args):
    settings = read_settings(ExportSettings, args).check()
    from ernie_from_scratch.deployment.export import export

    export(**settings.to_dict())
