"""One line from text to prediction: `pipeline("fill-mask", model=DIR)(text)`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.backends import TASKS, Backend, find_task, load_backend, read_config
from ernie_from_scratch.deployment.fill_mask import SPAN, Filling, fill_spans
from ernie_from_scratch.finetuning.batches import by_length
from ernie_from_scratch.finetuning.evaluation import softmax
from ernie_from_scratch.finetuning.tasks import labels_of
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

# B rows, L sequence, C labels


class Pipeline(ABC):
    """A model with its tokenizer. Call it with one input or a list of them.

    Attributes:
        task: "fill-mask" or "text-classification".
        backend: the engine that runs the model.
        max_seq_len: longest row in tokens.
    """

    task: str

    def __init__(
        self, backend: Backend, tokenizer: ErnieTokenizer, config, max_seq_len: int, batch_size: int
    ):
        self.backend, self.tokenizer, self.config = backend, tokenizer, config
        self.max_seq_len, self.batch_size = max_seq_len, batch_size

    def __call__(self, inputs, **options):
        if isinstance(inputs, list):
            return self.predict(inputs, **options)
        return self.predict([inputs], **options)[0]

    @abstractmethod
    def predict(self, inputs: Sequence, **options) -> list:
        """The answer to each input, in order."""


class FillMaskPipeline(Pipeline):
    """Fills the [MASK] spans of texts; see `fill_spans` for the strategies."""

    task = "fill-mask"

    def predict(self, inputs, top_k: int = 5, strategy: str = "left_to_right", beam_size: int | None = None):
        """For each text its best fillings, best first, at most `top_k`.

        Args:
            beam_size: partial fillings kept while searching; default: 5, or top_k if that is more.

        Returns:
            Per text a list of dicts: `token_str` (the filled span; several spans are joined by " … "),
            `sequence` (the text with its gaps filled), `score` (joint probability), `tokens` and
            `token_scores` (one per [MASK]), `spans` (the string of each span).
        """
        check_count("top_k", top_k)
        beam = max(top_k, beam_size or 5)
        texts = [check_text(text) for text in inputs]
        found = fill_spans(
            self._scores, self.tokenizer, texts, strategy=strategy, beam_size=beam,
            batch_size=self.batch_size, max_seq_len=self.max_seq_len,
        )  # fmt: skip
        return [
            [self._answer(text, filling) for filling in fillings[:top_k]]
            for text, fillings in zip(texts, found, strict=True)
        ]

    def _scores(self, input_ids, token_type_ids, masked_positions):
        return self.backend.run(
            input_ids=input_ids, token_type_ids=token_type_ids, masked_positions=masked_positions
        )

    def _answer(self, text: str, filling: Filling) -> dict:
        spans = [self.tokenizer.decode(ids) for ids in filling.spans]
        rest = iter(spans)
        return {
            "token_str": " … ".join(spans),
            "sequence": SPAN.sub(lambda match: next(rest), text),
            "score": filling.score,
            "tokens": [self.tokenizer.vocabulary.tokens[token] for token in filling.token_ids],
            "token_scores": list(filling.token_scores),
            "spans": spans,
        }


class TextClassificationPipeline(Pipeline):
    """Gives texts, or pairs of texts, a label."""

    task = "text-classification"

    def predict(self, inputs, top_k: int | None = 1):
        """For each input its likeliest label as {"label", "score"}; with `top_k` other than 1 a list of the
        best.

        Inputs are texts, (text, text_pair) tuples, or dicts with `text` and `text_pair`. `top_k=None` gives
        all labels. Scores are probabilities and add up to 1 over all labels.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        rows = [
            self.tokenizer.encode(*text_and_pair(entry), max_seq_len=self.max_seq_len) for entry in inputs
        ]
        labels, answers = labels_of(self.config), [None] * len(rows)
        for numbers in by_length([len(row["input_ids"]) for row in rows], self.batch_size):
            batch = self.tokenizer.pad([rows[number] for number in numbers])
            logits = self.backend.run(input_ids=batch["input_ids"], token_type_ids=batch["token_type_ids"])
            for number, probabilities in zip(numbers, softmax(logits), strict=True):
                order = np.argsort(-probabilities, kind="stable")[:top_k]
                best = [{"label": labels[i], "score": float(probabilities[i])} for i in order]
                answers[number] = best[0] if top_k == 1 else best
        return answers


def check_text(text) -> str:
    """UserError unless `text` is a text with something in it."""
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"not a text: {str(text)[:40]!r}; give a string that is not empty")
    return text


def check_count(name: str, value) -> None:
    """UserError unless `value` is a whole number from 1 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} is {value!r}; it must be a whole number, at least 1")


def text_and_pair(entry) -> tuple[str, str | None]:
    """One input of a classifier as (text, text_pair or None)."""
    if isinstance(entry, dict):
        entry = (entry.get("text"), entry.get("text_pair"))
    if not isinstance(entry, str) and isinstance(entry, Sequence) and len(entry) == 2:
        text, pair = entry
        return check_text(text), None if pair is None else check_text(pair)
    return check_text(entry), None


PIPELINES = {kind.task: kind for kind in (FillMaskPipeline, TextClassificationPipeline)}


def pipeline(
    task: str | None = None,
    model=None,
    backend: str = "auto",
    max_seq_len: int | None = None,
    batch_size: int = 32,
    num_threads: int | None = None,
) -> Pipeline:
    """Load the folder `model` for `task` ("fill-mask" or "text-classification"; None: as its weights tell).

    Args:
        model: a from_pretrained folder (config.json, vocab.txt, model_state.pdparams), or an export folder.
        backend: "auto", "paddle", "paddle_inference", "onnxruntime" or "openvino".
        max_seq_len: longest row in tokens; default: as many as the model has positions.
        batch_size: rows of one forward pass.
        num_threads: CPU threads of the exported backends.

    Raises:
        UserError: no such folder, files missing in it, an unknown task or backend.
    """
    if task is not None and task not in TASKS:
        raise UserError(f"unknown task: {task}; choose one of {', '.join(TASKS)}")
    if model is None:
        raise UserError("no model: give model=FOLDER")
    config = read_config(model)
    task = task or find_task(model)
    tokenizer = ErnieTokenizer.from_pretrained(model)
    positions = config.max_position_embeddings
    if max_seq_len is not None and max_seq_len > positions:
        raise UserError(
            f"max_seq_len is {max_seq_len}: the model has {positions} positions; lower it to that"
        )
    engine = load_backend(model, task, backend, num_threads)
    return PIPELINES[task](engine, tokenizer, config, max_seq_len or positions, batch_size)
