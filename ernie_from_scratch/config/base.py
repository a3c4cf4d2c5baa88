"""What every network configuration shares: reading, checking and writing."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

C = TypeVar("C", bound="ModelConfig")


class UserError(ValueError):
    """A mistake that the user can mend: "<what>: <where>; <what to do>", one line."""


ACTIVATIONS = ("gelu", "relu", "silu", "tanh")

# Settings that other tools write into config.json and that do not change these networks.
IGNORED_IN_FILES = frozenset(
    """architectures model_type paddlenlp_version transformers_version paddle_version dtype torch_dtype fuse
    use_cache label2id tokenizer_class name_or_path _name_or_path init_class return_dict
    output_hidden_states output_attentions use_flash_attention pruned_heads tie_word_embeddings
    quantization_config tensor_parallel_degree tensor_parallel_rank sep_parallel_degree
    tensor_parallel_output recompute_use_reentrant is_encoder_decoder is_decoder
    cross_attention_hidden_size add_cross_attention tie_encoder_decoder chunk_size_feed_forward
    finetuning_task task_specific_params prefix bos_token_id eos_token_id sep_token_id cls_token_id
    mask_token_id decoder_start_token_id gradient_checkpointing torchscript use_bfloat16 tf_legacy_loss
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
    temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
    return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens""".split()
)
EXECUTION_FIELDS = ("enable_recompute", "pack_rows")  # with the same results
OTHER_NAMES = {
    "num_classes": "num_labels",
    "dropout": "classifier_dropout",
    "sent_type_vocab_size": "type_vocab_size",  # ERNIE 2.0's own config files
}


@dataclass
class ModelConfig:
    """Reading, checking and writing that every configuration shares; the fields are in the subclasses."""

    MODEL_TYPE: ClassVar[str] = ""
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}

    def __post_init__(self):
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            allowed = tuple(getattr(kind, "__origin__", kind) for kind in get_args(hint) or (hint,))
            if float in allowed and isinstance(value, int) and not isinstance(value, bool):
                setattr(self, field.name, float(value))
            elif not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
                names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
                raise UserError(f"wrong type: {field.name} is {value!r}; give {names}")

    @classmethod
    def preset_names(cls) -> list[str]:
        return list(cls.PRESETS)

    @classmethod
    def preset(cls: type[C], name: str, **overrides: Any) -> C:
        """The configuration of a published model (or `tiny`), with single fields replaced by `overrides`."""
        if name not in cls.PRESETS:
            raise UserError(f"unknown model: {name}; {nearest_choice(name, cls.PRESETS)}")
        return cls.from_dict({**cls.PRESETS[name], **overrides})

    @classmethod
    def from_dict(cls: type[C], values: dict[str, Any]) -> C:
        """Raises UserError for an unknown key or a wrong type."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {OTHER_NAMES.get(key, key): value for key, value in values.items()}
        for key in values:
            if key not in known:
                raise UserError(f"unknown key: {key}; {nearest_choice(key, known)}")
        return cls(**values)

    @classmethod
    def from_file(cls: type[C], path: str | os.PathLike) -> C:
        """Reads config.json, or PaddleNLP's older model_config.json, of a file or of a model folder."""
        path = Path(path)
        if path.is_dir():
            candidates = [path / "config.json", path / "model_config.json"]
            path = next((file for file in candidates if file.is_file()), candidates[0])
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"no configuration: {path}; {(error.strerror or str(error)).lower()}") from error
        except ValueError as error:
            raise UserError(f"not JSON: {path}; {error}") from error
        if not isinstance(values, dict):
            raise UserError(f"not a configuration: {path}; a JSON object is expected")
        # PaddleNLP's older model_config.json nests the network's arguments in its task's arguments.
        while nested := values.pop("init_args", None):
            if not (isinstance(nested, list | tuple) and isinstance(nested[0], dict)):
                raise UserError(f"not a configuration: {path}; init_args must be a list that holds an object")
            values |= nested[0]
        if values.get("model_type", cls.MODEL_TYPE) != cls.MODEL_TYPE:
            raise UserError(
                f"other kind of model: {path}; model_type is {values['model_type']}, not {cls.MODEL_TYPE}"
            )
        if values.pop("position_embedding_type", "absolute") != "absolute":
            raise UserError(f"relative positions: {path}; only position_embedding_type absolute is known")
        if isinstance(values.get("id2label"), dict):
            values["id2label"] = {int(number): label for number, label in values["id2label"].items()}
            values.setdefault("num_labels", len(values["id2label"]))
        try:
            return cls.from_dict({key: value for key, value in values.items() if key not in IGNORED_IN_FILES})
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def replace(self: C, **overrides: Any) -> C:
        """A copy with single fields replaced; raises UserError as `from_dict` does."""
        return self.from_dict({**self.to_dict(), **overrides})

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def save(self, folder: str | os.PathLike, **more) -> Path:
        """Writes FOLDER/config.json, readable by PaddleNLP and Hugging Face; `more` are further entries."""
        path = Path(folder) / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"model_type": self.MODEL_TYPE, **more, **self.to_dict()}
        values |= {
            name: False for name in EXECUTION_FIELDS if name in values
        }  # each program chooses them anew
        temporary = path.with_name(f".config.json.{os.getpid()}")
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
        return path


def nearest_choice(word: str, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(choices))}"
