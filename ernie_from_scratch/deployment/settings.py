"""Settings of `ernie predict`, `ernie export` and `ernie serve`."""

from dataclasses import dataclass

from ernie_from_scratch.deployment.backends.registry import BACKEND_CHOICES, EXPORT_FORMATS
from ernie_from_scratch.deployment.tasks import STRATEGIES, TASKS
from ernie_from_scratch.utils.settings import REQUIRED, Settings, inherit, option


@dataclass
class PipelineSettings(Settings):
    """The options of `pipeline`."""

    model: str = option(REQUIRED, "model folder or export folder", aliases=("model_name_or_path",), path=True)
    task: str | None = option(None, "what the model does; default: as its config says", choices=tuple(TASKS))
    backend: str = option(BACKEND_CHOICES[0], "engine", choices=BACKEND_CHOICES)
    max_seq_len: int | None = option(
        None, "longest row in tokens; default: as the model allows", aliases=("max_seq_length",)
    )
    num_threads: int | None = option(None, "CPU threads of the exported engines")


@dataclass
class PredictSettings(PipelineSettings):
    """Settings of `ernie predict`."""

    texts: list[str] | None = option(
        None, "texts; without any, --input or standard input", positional=True, metavar="TEXT"
    )
    input: str | None = option(
        None, "file with one text a line; - for standard input", aliases=("input_file",), path=True
    )
    top_k: int | None = option(None, "answers per text; default: 5 fillings, or the best label")
    batch_size: int = option(32, "rows of one forward pass")
    strategy: str | None = option(
        None, f"order of filling (fill-mask); default: {STRATEGIES[0]}", choices=STRATEGIES
    )


@dataclass
class ServeSettings(PipelineSettings):
    """Settings of `ernie serve`."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
    port: int = option(8000, "port; 0 takes a free one and prints it")


@dataclass
class ExportSettings(Settings):
    """Settings of `ernie export`."""

    model: str = inherit(PipelineSettings, help="model folder")
    output: str = option(
        REQUIRED,
        "folder to write; one that an earlier export wrote is replaced",
        aliases=("output_dir",),
        path=True,
    )
    format: str = option(
        "paddle",
        "paddle: for paddle_inference; onnx: for onnxruntime, openvino",
        choices=tuple(EXPORT_FORMATS),
    )
    task: str | None = inherit(PipelineSettings)
