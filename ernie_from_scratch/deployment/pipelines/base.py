"""One line from text to prediction: `pipeline("fill-mask", model=DIR)(text)`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ernie_from_scratch.config import EncoderConfig, UserError
from ernie_from_scratch.deployment.backends.base import Backend
from ernie_from_scratch.deployment.backends.registry import load_backend
from ernie_from_scratch.deployment.folders import find_task, read_config
from ernie_from_scratch.deployment.settings import PredictSettings
from ernie_from_scratch.deployment.tasks import get_task
from ernie_from_scratch.text.tokenizers.auto import load_tokenizer


class Pipeline(ABC):
    """A model with its tokenizer. Call it with one input, or with a list of inputs.

    Attributes:
        task: name of the task.
        backend: the engine that runs the model.
        max_seq_len: longest sequence in tokens; longer texts are truncated.
        batch_size: sequences of one forward pass.
        labels: names of the classes, for tasks that have some.
    """

    labels: Sequence[str] = ()

    def __init__(
        self, backend: Backend, tokenizer: Any, config: EncoderConfig, max_seq_len: int, batch_size: int
    ):
        self.backend, self.tokenizer, self.config = backend, tokenizer, config
        self.max_seq_len, self.batch_size = max_seq_len, batch_size
        self.task = backend.task.name

    def __call__(self, inputs: Any, **options: Any) -> Any:
        if isinstance(inputs, list):
            return self.predict(inputs, **options)
        return self.predict([inputs], **options)[0]

    @abstractmethod
    def predict(self, inputs: Sequence, *args: Any, **options: Any) -> list:
        """The answer to each input, in order; each task has its own options."""

    @classmethod
    def parse_line(cls, line: str) -> Any:
        """The input that a line of text stands for; a tab separates the two texts of a pair."""
        return tuple(line.split("\t", 1)) if "\t" in line else line

    @classmethod
    def format_answer(cls, entry: Any, answer: Any) -> dict[str, Any]:
        """What `ernie predict` prints as JSON for an input and its answer."""
        return {"text": entry, "predictions": answer if isinstance(answer, list) else [answer]}


def check_text(text: Any) -> str:
    """`text` itself; UserError unless it is a string with something in it."""
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"not a text: {str(text)[:40]!r}; give a string that is not empty")
    return text


def check_count(name: str, value: Any) -> None:
    """UserError unless `value` is an integer, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} is {value!r}; it must be an integer, at least 1")


def pipeline(
    task: str | None = None,
    model: str | Path | None = None,
    backend: str = PredictSettings.backend,
    max_seq_len: int | None = None,
    batch_size: int = PredictSettings.batch_size,
    num_threads: int | None = None,
) -> Pipeline:
    """Load the folder `model` for a task of `deployment.tasks.TASKS`.

    Args:
        task: "fill-mask" or "text-classification"; default: the one that the folder was saved for.
        model: a from_pretrained folder (config.json, vocab.txt, model_state.pdparams), or an export folder.
        backend: "auto", "paddle", "paddle_inference", "onnxruntime" or "openvino".
        max_seq_len: longest sequence in tokens; default: as many as the model has positions.
        batch_size: sequences of one forward pass.
        num_threads: CPU threads of the exported backends.

    Raises:
        UserError: no such folder, files missing in it, an unknown task or backend.
    """
    chosen = None if task is None else get_task(task)
    if model is None:
        raise UserError("no model: give model=FOLDER")
    config = read_config(model)
    chosen = chosen or find_task(model)
    tokenizer = load_tokenizer(model)
    positions: int = config.max_position_embeddings
    if max_seq_len is not None and max_seq_len > positions:
        raise UserError(
            f"max_seq_len is {max_seq_len}: the model has {positions} positions; lower it to that"
        )
    engine = load_backend(model, chosen, backend, num_threads)
    return chosen.pipeline_class()(engine, tokenizer, config, max_seq_len or positions, batch_size)
