"""The configuration of an ERNIE 1.0, 2.0 or 3.0 network, and the published models as presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ernie_from_scratch.config.encoder import EncoderConfig


@dataclass
class ErnieConfig(EncoderConfig):
    """An ERNIE 1.0, 2.0 or 3.0 network."""

    task_type_vocab_size: int = 3
    use_task_id: bool = False
    task_id: int = 0

    MODEL_TYPE: ClassVar[str] = "ernie"


def _sizes(layers: int, hidden: int, heads: int, **more) -> dict[str, Any]:
    return {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
            "intermediate_size": 4 * hidden, **more}  # fmt: skip


_V1 = {"vocab_size": 18000, "hidden_act": "relu", "max_position_embeddings": 513, "type_vocab_size": 2}
_V2_EN = {"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 4}
_V3 = {"vocab_size": 40000, "max_position_embeddings": 2048, "type_vocab_size": 4, "task_type_vocab_size": 16,
       "use_task_id": True}  # fmt: skip
_TINY_V2 = {**_V3, "use_task_id": False}

ErnieConfig.PRESETS = {
    "tiny": _sizes(2, 128, 2, vocab_size=18000, max_position_embeddings=512, type_vocab_size=2),
    "ernie-1.0-base-zh": _sizes(12, 768, 12, **_V1),
    "ernie-1.0-base-zh-cw": _sizes(
        12, 768, 12, **{**_V3, "max_position_embeddings": 512, "task_type_vocab_size": 3}
    ),
    "ernie-1.0-large-zh-cw": _sizes(24, 1024, 16, **_V1)
    | {"intermediate_size": 3072, "max_position_embeddings": 512},
    "ernie-2.0-base-zh": _sizes(12, 768, 12, **_V1) | {"type_vocab_size": 4},
    "ernie-2.0-large-zh": _sizes(24, 1024, 16, **_V1)
    | {"vocab_size": 12800, "max_position_embeddings": 512, "type_vocab_size": 4},
    "ernie-2.0-base-en": _sizes(12, 768, 12, **_V2_EN),
    "ernie-2.0-large-en": _sizes(24, 1024, 16, **_V2_EN),
    "ernie-3.0-xbase-zh": _sizes(20, 1024, 16, **_V3),
    "ernie-3.0-base-zh": _sizes(12, 768, 12, **_V3) | {"task_type_vocab_size": 3},
    "ernie-3.0-medium-zh": _sizes(6, 768, 12, **_V3),
    "ernie-3.0-mini-zh": _sizes(6, 384, 12, **_V3),
    "ernie-3.0-micro-zh": _sizes(4, 384, 12, **_V3),
    "ernie-3.0-nano-zh": _sizes(4, 312, 12, **_V3),
    "ernie-3.0-tiny-base-v2-zh": _sizes(12, 768, 12, **_TINY_V2) | {"task_type_vocab_size": 3},
    "ernie-3.0-tiny-medium-v2-zh": _sizes(6, 768, 12, **_TINY_V2),
    "ernie-3.0-tiny-mini-v2-zh": _sizes(6, 384, 12, **_TINY_V2),
    "ernie-3.0-tiny-mini-v2-en": _sizes(
        6, 384, 12, vocab_size=50265, max_position_embeddings=514, type_vocab_size=1
    ),
    "ernie-3.0-tiny-micro-v2-zh": _sizes(4, 384, 12, **_TINY_V2),
    "ernie-3.0-tiny-nano-v2-zh": _sizes(4, 312, 12, **_TINY_V2),
    "ernie-3.0-tiny-pico-v2-zh": _sizes(3, 128, 2, **_TINY_V2),  # "3L128H"
}
