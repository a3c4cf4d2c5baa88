"""`ernie serve`."""

from ernie_from_scratch.deployment.settings import ServeSettings

HELP = """Serve a model over HTTP, with a page to try it in a browser.

POST /predict with {"text": "..."} answers with predictions, GET /health tells what is served, GET / is the
page. One line on stdout says when it is ready. SIGTERM or Ctrl-C stops it after the answers under way.

examples:
  ernie serve --model runs/sentiment
  ernie serve --model runs/sentiment-onnx --backend openvino --host 0.0.0.0 --port 80
  curl -d '{"text": "房间干净，服务也很周到。"}' http://127.0.0.1:8000/predict
"""

SETTINGS = ServeSettings


def run(settings: ServeSettings) -> None:
    settings.check()
    from ernie_from_scratch.deployment.server.app import serve

    serve(**settings.to_dict())
