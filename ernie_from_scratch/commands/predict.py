"""`ernie predict`."""

from typing import Any

from ernie_from_scratch.deployment.settings import PredictSettings

HELP = """Ask a model: fill the [MASK] gaps of texts, or give texts a label.

Texts come from the command line, from --input FILE (one a line; a tab parts the texts of a pair) or, without
either, from standard input. Prints one JSON object per text.

examples:
  ernie predict --model runs/demo/pretrain_entity/final "[MASK][MASK][MASK]是黑龙江的省会"
  ernie predict --model runs/sentiment --top_k 2 "房间干净，服务也很周到。"
  ernie predict --model runs/sentiment-onnx --backend openvino --input reviews.txt > answers.jsonl
"""

SETTINGS = PredictSettings


def run(settings: PredictSettings) -> None:
    settings.check()
    from ernie_from_scratch.deployment.predict import predict_lines

    values: dict[str, Any] = settings.to_dict() | {"texts": settings.texts or []}
    predict_lines(**values)
