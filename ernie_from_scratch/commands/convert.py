"""`ernie convert`."""

from dataclasses import MISSING, dataclass

from ernie_from_scratch.utils.settings import add_settings, option, read_settings

HELP = """Turn a model folder into another toolkit's layout, checked by running both sides.

The source's layout is found out: PaddleNLP, Hugging Face (safetensors or .bin), or static_vars of a graph.

examples:
  ernie convert --model runs/pretrain/final --output ernie-hf --to huggingface
  ernie convert --model model_last/static_vars --output ernie-1.0 --to dynamic --model_config ernie-1.0-base-zh
"""


@dataclass
class ConvertSettings:
    model: str = option(MISSING, "folder to read", aliases=("model_name_or_path", "path"))
    output: str = option(MISSING, "folder to write", aliases=("output_dir", "output_path"))
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
    settings = read_settings(ConvertSettings, args)
    from ernie_from_scratch.models.pretrained import name_some
    from ernie_from_scratch.weights.conversion import convert

    source, output, difference = convert(
        settings.model,
        settings.output,
        settings.to,
        settings.model_config,
    )
    for what, model in (("read", source), ("wrote", output)):
        print(f"{what:6}{model.folder}: {model.architecture}, {model.layout} layout, run by {model.toolkit}")
    skipped = f"; skipped, not part of the network: {name_some(source.skipped, 3)}" if source.skipped else ""
    print(f"{source.converted} tensors converted{skipped}")
    print(f"largest difference of their outputs: {difference:.1e}")
