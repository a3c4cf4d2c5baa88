"""`ernie predict`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.command_line import add_settings, read_settings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Ask a model: fill the [MASK] gaps of texts, or give texts a label.

Texts come from the command line, from --input FILE (one a line; a tab parts the texts of a pair) or, without
either, from standard input. Prints one JSON object per text.

examples:
  ernie predict --model runs/demo/pretrain_entity/final "[MASK][MASK][MASK]是黑龙江的省会"
  ernie predict --model runs/sentiment --top_k 2 "房间干净，服务也很周到。"
  ernie predict --model runs/sentiment-onnx --backend openvino --input reviews.txt > answers.jsonl
"""


@dataclass
class PredictSettings(Settings):
    model: str = option(REQUIRED, "model folder or export folder", aliases=("model_name_or_path",))
    input: str | None = option(
        None, "file with one text a line; - for standard input", aliases=("input_file",)
    )
    task: str | None = option(None, "text-classification or fill-mask; default: as the model tells")
    top_k: int | None = option(None, "answers per text; default: 5 fillings, or the best label")
    strategy: str | None = option(
        None, "order of filling (fill-mask)", choices=("left_to_right", "all_at_once", "most_confident")
    )
    backend: str = option(
        "auto", "engine", choices=("auto", "paddle", "paddle_inference", "onnxruntime", "openvino")
    )
    max_seq_len: int | None = option(
        None, "longest row in tokens; default: as the model allows", aliases=("max_seq_length",)
    )
    batch_size: int = option(32, "rows of one forward pass")
    num_threads: int | None = option(None, "CPU threads of the exported engines")


def add_arguments(parser):
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="texts; without any, --input or standard input"
    )
    add_settings(parser, PredictSettings)


def run(args):
    settings = read_settings(PredictSettings, args).check()
    from ernie_from_scratch.deployment.predict import predict_lines

    predict_lines(texts=args.texts, **settings.to_dict())
