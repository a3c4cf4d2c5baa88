"""A model over HTTP: POST /predict, GET /health, and at GET / a page to try it in a browser."""

import contextlib
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import ernie_from_scratch
from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.backends import import_extra
from ernie_from_scratch.deployment.batcher import MicroBatcher, Overloaded
from ernie_from_scratch.deployment.fill_mask import MASK, STRATEGIES
from ernie_from_scratch.deployment.pipeline import Pipeline, pipeline
from ernie_from_scratch.finetuning.tasks import labels_of

PAGE = Path(__file__).parent / "page" / "index.html"
MAX_BODY = 1_000_000  # bytes of one request
MAX_TEXTS = 64  # texts of one request
MAX_CHARACTERS = 10_000  # of one text
MAX_FILLINGS = 50
GRACE_SECONDS = 10  # for answers under way when the server is told to stop
CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:"
)


def request_model(task: str):
    """The pydantic model of a request's JSON body for a task."""

    from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

    Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
    Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]

    class Request(BaseModel):
        model_config = ConfigDict(extra="forbid")
        text: Texts

        @field_validator("text", "text_pair", mode="before", check_fields=False)
        @classmethod
        def one_is_a_list(cls, value):
            return [value] if isinstance(value, str) else value

        @field_validator("text", "text_pair", check_fields=False)
        @classmethod
        def not_blank(cls, value):
            if value is not None and any(not text.strip() for text in value):
                raise ValueError("a text is empty")
            return value

    class FillMaskRequest(Request):
        top_k: int = Field(5, ge=1, le=MAX_FILLINGS, strict=True)
        strategy: Literal[STRATEGIES] = STRATEGIES[0]

        @field_validator("text")
        @classmethod
        def has_mask(cls, value):
            if any(MASK not in text for text in value):
                raise ValueError(f"write {MASK} once for each hidden character")
            return value

        def inputs(self):
            return self.text

        def options(self):
            return {"top_k": self.top_k, "strategy": self.strategy}

    class ClassificationRequest(Request):
        text_pair: Texts | None = None

        @model_validator(mode="after")
        def as_many_pairs(self):
            if self.text_pair is not None and len(self.text_pair) != len(self.text):
                raise ValueError(f"{len(self.text)} texts, but {len(self.text_pair)} in text_pair")
            return self

        def inputs(self):
            return self.text if self.text_pair is None else list(zip(self.text, self.text_pair, strict=True))

        def options(self):
            return {"top_k": None}

    return {"fill-mask": FillMaskRequest, "text-classification": ClassificationRequest}[task]


def explain(error) -> str:
    """A pydantic ValidationError as one line: the first thing that is wrong, and where."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def create_app(pipe: Pipeline, model_name: str = ""):
    """The FastAPI application around a pipeline.

    POST /predict takes {"text": ..., ...} and gives {"task", "predictions", "milliseconds"}: for each text a
    list of {"label", "score"} (text-classification, best first) or of fillings (fill-mask, see
    FillMaskPipeline.predict). Mistakes give {"error": one line} with status 400 (the model can't take it),
    413 (too large), 422 (not what is expected) or 503 (too many requests waiting).
    """
    fastapi = import_extra("fastapi")
    from fastapi.responses import HTMLResponse, JSONResponse
    from pydantic import ValidationError

    Body = request_model(pipe.task)
    batcher = MicroBatcher(lambda inputs, options: pipe.predict(inputs, **options))
    about = {
        "status": "ok",
        "task": pipe.task,
        "backend": pipe.backend.name,
        "model": model_name,
        "labels": labels_of(pipe.config) if pipe.task == "text-classification" else [],
        "max_seq_len": pipe.max_seq_len,
        "version": ernie_from_scratch.__version__,
    }

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await batcher.start()
        yield
        await batcher.stop()

    app = fastapi.FastAPI(
        title="ernie_from_scratch", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )

    def refuse(status, message, **headers):
        return JSONResponse({"error": message}, status_code=status, headers=headers)

    async def read(request):
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return None
        return bytes(body)

    @app.post("/predict")
    async def predict(request: fastapi.Request):
        start = time.perf_counter()
        body = await read(request)
        if body is None:
            return refuse(
                413, f"the request is larger than {MAX_BODY:,} bytes; send fewer texts", Connection="close"
            )
        try:
            asked = Body.model_validate_json(body)
            predictions = await batcher.submit(asked.inputs(), asked.options())
        except ValidationError as error:
            return refuse(422, explain(error))
        except UserError as error:
            return refuse(400, str(error))
        except Overloaded:
            return refuse(503, "too many requests are waiting; try again in a moment", **{"Retry-After": "1"})
        milliseconds = round(1000 * (time.perf_counter() - start), 2)
        return {"task": pipe.task, "predictions": predictions, "milliseconds": milliseconds}

    @app.get("/health")
    async def health():
        return {**about, "under_way": batcher.under_way}

    @app.get("/")
    async def page():
        return HTMLResponse(
            PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": CONTENT_POLICY}
        )

    return app


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UserError: the port is in use, not allowed, or the host is unknown.
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


def serve(model, host: str = "127.0.0.1", port: int = 8000, task: str | None = None, backend: str = "auto",
          max_seq_len: int | None = None, num_threads: int | None = None) -> None:  # fmt: skip
    """Serve a model or export folder until SIGTERM or Ctrl-C; answers under way are finished first.

    Prints one line on stdout when requests are welcome: "ready at http://HOST:PORT ...".

    Raises:
        UserError: see `listen` and `pipeline`; or the extra [deploy] is not installed.
    """
    uvicorn = import_extra("uvicorn")
    import_extra("fastapi")
    listener = listen(host, port)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(
            self,
        ):  # uvicorn's own raises the signal again at the end; a stop asked for is no failure
            before = {n: signal.signal(n, self.handle_exit) for n in (signal.SIGTERM, signal.SIGINT)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    with listener:
        pipe = pipeline(task, model=model, backend=backend, max_seq_len=max_seq_len, num_threads=num_threads)
        pipe(
            MASK if pipe.task == "fill-mask" else "。"
        )  # the first call is slow: make it before anybody waits
        app = create_app(pipe, model_name=Path(model).resolve().name)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            limit_concurrency=1000,
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        print(f"ready at {address} ({pipe.task}, {pipe.backend.name}); stop with Ctrl-C", flush=True)
        Server(config).run(sockets=[listener])
    print("stopped", file=sys.stderr)
