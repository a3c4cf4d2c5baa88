"""The fields that all encoder networks of this package share."""

from __future__ import annotations

from dataclasses import dataclass

from ernie_from_scratch.config.base import ACTIVATIONS, ModelConfig, UserError, nearest_choice


@dataclass
class EncoderConfig(ModelConfig):
    """A Transformer encoder, in PaddleNLP's names; sizes count elements. A family adds fields and other defaults.

    Raises UserError for a wrong type or for values that do not make a network.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 16  # 0 = no token type embeddings
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    pool_act: str = "tanh"
    num_labels: int = 2
    id2label: dict | None = None
    num_choices: int | None = None
    classifier_dropout: float | None = None  # None = hidden_dropout_prob
    problem_type: str | None = None
    # Two switches that change speed and memory, not results.
    enable_recompute: bool = False  # free activations, and compute them again in backward
    pack_rows: bool = False  # pack short rows together instead of computing their padding

    def __post_init__(self):
        super().__post_init__()
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                     "intermediate_size", "max_position_embeddings", "num_labels"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"too small: {name} is {getattr(self, name)}; give 1 or more")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise UserError(
                    f"not a probability: {name} is {getattr(self, name)}; give 0 or more, below 1"
                )
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"uneven heads: hidden_size {self.hidden_size} is no multiple of "
                f"num_attention_heads {self.num_attention_heads}; change one of them"
            )
        for name in ("hidden_act", "pool_act"):
            if getattr(self, name) not in ACTIVATIONS:
                raise UserError(
                    f"unknown activation: {name} is {getattr(self, name)}; {nearest_choice('', ACTIVATIONS)}"
                )
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise UserError(
                f"not in the vocabulary: pad_token_id {self.pad_token_id}; vocab_size is {self.vocab_size}"
            )
