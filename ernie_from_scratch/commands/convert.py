"""`ernie convert`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.command_line import add_settings, read_settings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Turn a model folder into another toolkit's layout, checked by running both sides.

The source's layout is found out: PaddleNLP, Hugging Face (safetensors or .bin), or static_vars of a graph.

examples:
  ernie convert --model runs/pretrain/final --output ernie-hf --to huggingface
  ernie convert --model model_last/static_vars --output ernie-1.0 --to dynamic --model_config ernie-1.0-base-zh
"""


@dataclass
class ConvertSettings(Settings):
    model: str = option(REQUIRED, "folder to read", aliases=("model_name_or_path", "path"))
    output: str = option(REQUIRED, "folder to write", aliases=("output_dir", "output_path"))
    to: str = option(
        "paddlenlp",
        "layout to write; dynamic is another name of paddlenlp, static is what paddle.static.save writes, "
        "persistables a file per variable in static_vars",
        choices=("paddlenlp", "dynamic", "huggingface", "static", "persistables"),
    )
    model_config: str | None = option(None, "preset or config.json, where the source has none")


def add_arguments(parser):
    add_settings(parser, ConvertSettings)


def run(args):
    settings = read_settings(ConvertSettings, args).check()
    from ernie_from_scratch.weights.conversion import convert
    from ernie_from_scratch.weights.pretrained import first_names

    source, output, difference = convert(
        settings.model,
        settings.output,
        "paddlenlp" if settings.to == "dynamic" else settings.to,
        settings.model_config,
    )
    for what, side in (("read", source), ("wrote", output)):
        print(f"{what:6}{side.folder}: {side.architecture}, {side.layout} layout, run by {side.runner}")
    aside = f"; left aside, not of the network: {first_names(source.aside, 3)}" if source.aside else ""
    print(f"{source.tensors} tensors taken over{aside}")
    print(f"largest difference of their outputs: {difference:.1e}")
