"""`ernie convert`."""

from dataclasses import MISSING, dataclass

from ernie_from_scratch.commands.arguments import add_settings, read_settings
from ernie_from_scratch.config import option

HELP = """Turn a model folder into another toolkit's layout, checked by running both sides.

The source's layout is found out: PaddleNLP, Hugging Face (safetensors or .bin), or static_vars of a graph.

examples:
  ernie convert --model runs/pretrain/final --output ernie-hf --to huggingface
  ernie convert --model model_last/static_vars --output ernie-1.0 --model_config ernie-1.0-base-zh
"""


@dataclass
class ConvertSettings:
    model: str = option(MISSING, "folder to read", aliases=("model_name_or_path", "path"))
    output: str = option(MISSING, "folder to write", aliases=("output_dir", "output_path"))
    to: str = option(
        "paddlenlp",
        "layout to write; static is what paddle.static.save writes",
        choices=("paddlenlp", "huggingface", "static", "persistables"),
    )
    model_config: str | None = option(None, "preset or config.json, where the source has none")


def add_arguments(parser):
    add_settings(parser, ConvertSettings)


def run(args):
    settings = read_settings(ConvertSettings, args)
    from ernie_from_scratch.models.convert import convert

    source, output, difference = convert(settings.model, settings.output, settings.to, settings.model_config)
    for what, side in (("read", source), ("wrote", output)):
        print(f"{what:6}{side.folder}: {side.architecture}, {side.layout} layout, run by {side.runner}")
    print(f"largest difference of their outputs: {difference:.1e}")
