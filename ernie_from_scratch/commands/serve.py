"""`ernie serve`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.command_line import add_settings, read_settings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Serve a model over HTTP, with a page to try it in a browser.

POST /predict with {"text": "..."} answers with predictions, GET /health tells what is served, GET / is the
page. One line on stdout says when it is ready. SIGTERM or Ctrl-C stops it after the answers under way.

examples:
  ernie serve --model runs/sentiment
  ernie serve --model runs/sentiment-onnx --backend openvino --host 0.0.0.0 --port 80
  curl -d '{"text": "房间干净，服务也很周到。"}' http://127.0.0.1:8000/predict
"""


@dataclass
class ServeSettings(Settings):
    model: str = option(REQUIRED, "model folder or export folder", aliases=("model_name_or_path",))
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
    port: int = option(8000, "port; 0 takes a free one and prints it")
    task: str | None = option(None, "text-classification or fill-mask; default: as the model tells")
    backend: str = option(
        "auto", "engine", choices=("auto", "paddle", "paddle_inference", "onnxruntime", "openvino")
    )
    max_seq_len: int | None = option(
        None, "longest row in tokens; default: as the model allows", aliases=("max_seq_length",)
    )
    num_threads: int | None = option(None, "CPU threads of the exported engines")


def add_arguments(parser):
    add_settings(parser, ServeSettings)


def run(args):
    settings = read_settings(ServeSettings, args).check()
    from ernie_from_scratch.deployment.server.app import serve

    serve(**settings.to_dict())
