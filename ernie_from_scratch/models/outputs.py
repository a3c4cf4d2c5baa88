"""What a model's forward gives with return_dict=True: named tensors that are also a tuple."""

from typing import Any


class ModelOutput(dict):
    """Reads as `output.logits`, `output["logits"]` and `output[0]`; fields that are None are left out."""

    FIELDS: tuple[str, ...] = ()

    def __init__(self, **values: Any):
        super().__init__((name, values[name]) for name in self.FIELDS if values.get(name) is not None)

    def __getattr__(self, name: str) -> Any:
        if name not in self.FIELDS:
            raise AttributeError(
                f"{type(self).__name__} has no field {name}; it has {', '.join(self.FIELDS)}"
            )
        return self.get(name)

    def __getitem__(self, key: str | int) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple:
        return tuple(self.values())

    def unwrap(self) -> Any:
        """The tuple, or the tensor itself where there is only one."""
        return self.to_tuple() if len(self) > 1 else self[0]


class EncoderOutput(ModelOutput):
    FIELDS = ("last_hidden_state", "pooler_output", "past_key_values", "hidden_states", "attentions")


class PretrainingOutput(ModelOutput):
    FIELDS = ("loss", "prediction_logits", "seq_relationship_logits", "hidden_states", "attentions")


class MaskedLMOutput(ModelOutput):
    FIELDS = ("loss", "logits", "hidden_states", "attentions")


class TaskOutput(ModelOutput):
    FIELDS = ("loss", "logits", "hidden_states", "attentions")


class QuestionAnsweringOutput(ModelOutput):
    FIELDS = ("loss", "start_logits", "end_logits", "hidden_states", "attentions")
