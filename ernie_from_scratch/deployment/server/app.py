"""A model over HTTP: POST /predict, GET /health, and at GET / a page to try it in a browser."""

import contextlib
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ernie_from_scratch
from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.pipelines import Pipeline, pipeline
from ernie_from_scratch.deployment.server.batcher import DynamicBatcher, Overloaded
from ernie_from_scratch.deployment.settings import ServeSettings
from ernie_from_scratch.deployment.tasks import STRATEGIES
from ernie_from_scratch.utils.imports import import_extra

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = Path(__file__).parents[1] / "page" / "index.html"
MAX_BODY = 1_000_000  # bytes of one request
MAX_CONNECTIONS = 1000
SHUTDOWN_SECONDS = 10  # for pending answers after SIGTERM or Ctrl-C
CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:"
)


def create_app(pipe: Pipeline, model_name: str = "") -> "FastAPI":
    """The FastAPI application around a pipeline.

    POST /predict takes {"text": ..., ...} and returns {"task", "predictions", "milliseconds"}: for each text a
    list of {"label", "score"} (text-classification, best first) or of fillings (fill-mask, see
    FillMaskPipeline.predict). Errors return {"error": one line} with status 400 (the model can't take the input),
    413 (too large), 422 (invalid request) or 503 (too many requests in the queue).
    """
    import_extra("fastapi")
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse, JSONResponse
    from pydantic import ValidationError

    from ernie_from_scratch.deployment.server.requests import first_error

    request_class = pipe.backend.task.request_class()
    batcher = DynamicBatcher(lambda inputs, options: pipe.predict(inputs, **options))
    about = {
        "status": "ok",
        "task": pipe.task,
        "backend": pipe.backend.name,
        "model": model_name,
        "labels": list(pipe.labels),
        "max_seq_len": pipe.max_seq_len,
        "fields": list(request_class.model_fields),
        "strategies": STRATEGIES if "strategy" in request_class.model_fields else (),
        "example": pipe.backend.task.example,
        "version": ernie_from_scratch.__version__,
    }

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(
        title="ernie_from_scratch", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )

    def error_response(status: int, message: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": message}, status_code=status, headers=headers)

    async def read_body(request: Request) -> bytes | None:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return None
        return bytes(body)

    @app.post("/predict")
    async def predict(request: Request):
        start = time.perf_counter()
        body = await read_body(request)
        if body is None:
            return error_response(
                413, f"the request is larger than {MAX_BODY:,} bytes; send fewer texts", Connection="close"
            )
        try:
            parsed = request_class.model_validate_json(body)
            predictions = await batcher.submit(parsed.inputs(), parsed.options())
        except ValidationError as error:
            return error_response(422, first_error(error))
        except UserError as error:
            return error_response(400, str(error))
        except Overloaded:
            message = "too many requests are waiting; try again in a moment"
            return error_response(503, message, **{"Retry-After": "1"})
        milliseconds = round(1000 * (time.perf_counter() - start), 2)
        return {"task": pipe.task, "predictions": predictions, "milliseconds": milliseconds}

    @app.get("/health")
    async def health():
        return {**about, "under_way": batcher.pending}

    @app.get("/")
    async def page():
        return HTMLResponse(
            PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": CONTENT_POLICY}
        )

    return app


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UserError: the port is in use or not allowed, or the host is unknown.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; give 1 to 65535, or 0 for any free port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port (0 takes a free one)"
        ) from error
    return listener


def serve(
    model: str | Path,
    host: str = ServeSettings.host,
    port: int = ServeSettings.port,
    task: str | None = None,
    backend: str = ServeSettings.backend,
    max_seq_len: int | None = None,
    num_threads: int | None = None,
) -> None:
    """Serve a model or export folder until SIGTERM or Ctrl-C; pending requests are answered first.

    Prints one line on stdout when the server accepts requests: "ready at http://HOST:PORT ...".

    Raises:
        UserError: see `listen` and `pipeline`; or the extra [deploy] is not installed.
    """
    uvicorn = import_extra("uvicorn")
    import_extra("fastapi")
    listener = listen(host, port)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """uvicorn's own raises the signal again when the server has stopped; here that is a success.

            An ignored SIGINT stays ignored: a background job of a script, which Ctrl-C is not meant for.
            """
            ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            numbers = (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGINT)
            before = {n: signal.signal(n, self.handle_exit) for n in numbers}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    with listener:
        pipe = pipeline(task, model=model, backend=backend, max_seq_len=max_seq_len, num_threads=num_threads)
        pipe(pipe.backend.task.warmup)  # the first call is slow
        config = uvicorn.Config(
            create_app(pipe, model_name=Path(model).resolve().name),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        print(f"ready at {address} ({pipe.task}, {pipe.backend.name}); stop with Ctrl-C", flush=True)
        Server(config).run(sockets=[listener])
    print("stopped", file=sys.stderr)
