"""Pydantic models of the JSON body of POST /predict: one class for each task.

Imported only by a running server, which needs the extra [deploy].
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from ernie_from_scratch.deployment.pipelines.beam_search import MASK
from ernie_from_scratch.deployment.tasks import STRATEGIES

MAX_TEXTS = 64  # of one request
MAX_CHARACTERS = 10_000  # of one text
MAX_TOP_K = 50

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]


class TextRequest(BaseModel):
    """One text or a list of texts; the base of all requests."""

    model_config = ConfigDict(extra="forbid")
    text: Texts

    @field_validator("text", "text_pair", mode="before", check_fields=False)
    @classmethod
    def make_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("text", "text_pair", check_fields=False)
    @classmethod
    def check_blank(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and any(not text.strip() for text in value):
            raise ValueError("a text is empty")
        return value

    def inputs(self) -> Sequence:
        """What the task's pipeline predicts from."""
        return self.text

    def options(self) -> dict[str, Any]:
        """Options of the pipeline's `predict`."""
        return {}


class FillMaskRequest(TextRequest):
    """Texts with [MASK]."""

    top_k: int = Field(5, ge=1, le=MAX_TOP_K, strict=True)
    strategy: str = STRATEGIES[0]

    @field_validator("text")
    @classmethod
    def check_mask(cls, value: list[str]) -> list[str]:
        if any(MASK not in text for text in value):
            raise ValueError(f"write {MASK} once for each masked character")
        return value

    @field_validator("strategy")
    @classmethod
    def check_strategy(cls, value: str) -> str:
        if value not in STRATEGIES:
            raise ValueError(f"choose one of {', '.join(STRATEGIES)}")
        return value

    def options(self) -> dict[str, Any]:
        return {"top_k": self.top_k, "strategy": self.strategy}


class TextClassificationRequest(TextRequest):
    """Texts or pairs of texts."""

    text_pair: Texts | None = None

    @model_validator(mode="after")
    def check_pairs(self) -> "TextClassificationRequest":
        if self.text_pair is not None and len(self.text_pair) != len(self.text):
            raise ValueError(f"{len(self.text)} texts, but {len(self.text_pair)} in text_pair")
        return self

    def inputs(self) -> Sequence:
        return self.text if self.text_pair is None else list(zip(self.text, self.text_pair, strict=True))

    def options(self) -> dict[str, Any]:
        return {"top_k": None}


def first_error(error: ValidationError) -> str:
    """A ValidationError as one line: the first mistake and its field."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
