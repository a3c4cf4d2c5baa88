"""`ernie convert`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.settings import REQUIRED, Settings, option
from ernie_from_scratch.weights.layouts import LAYOUT_ALIASES, LAYOUT_CHOICES

HELP = """Turn a model folder into another toolkit's layout, checked by running both sides.

The source's layout is found out: PaddleNLP, Hugging Face (safetensors or .bin), or static_vars of a graph.

examples:
  ernie convert --model runs/pretrain/final --output ernie-hf --to huggingface
  ernie convert --model model_last/static_vars --output ernie-1.0 --to dynamic --model_config ernie-1.0-base-zh
"""


@dataclass
class ConvertSettings(Settings):
    """Settings of `ernie convert`."""

    model: str = option(REQUIRED, "folder to read", aliases=("model_name_or_path", "path"), path=True)
    output: str = option(REQUIRED, "folder to write", aliases=("output_dir", "output_path"), path=True)
    to: str = option(
        "paddlenlp",
        "layout to write; dynamic is another name of paddlenlp, static is what paddle.static.save writes, "
        "persistables a file per variable in static_vars",
        choices=LAYOUT_CHOICES,
    )
    model_config: str | None = option(None, "preset or config.json, where the source has none")


SETTINGS = ConvertSettings


def run(settings: ConvertSettings) -> None:
    settings.check()
    from ernie_from_scratch.weights.conversion import convert
    from ernie_from_scratch.weights.pretrained import first_names

    source, output, difference = convert(
        settings.model,
        settings.output,
        LAYOUT_ALIASES.get(settings.to, settings.to),
        settings.model_config,
    )
    for what, model in (("read", source), ("wrote", output)):
        print(f"{what:6}{model.folder}: {model.architecture}, {model.layout} layout, run by {model.toolkit}")
    skipped = (
        f"; skipped, not part of the network: {first_names(source.skipped, 3)}" if source.skipped else ""
    )
    print(f"{source.converted} tensors converted{skipped}")
    print(f"largest difference of their outputs: {difference:.1e}")
