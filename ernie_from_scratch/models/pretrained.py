"""What all networks share: a configuration, three parts to compose, and folders to load from and save to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paddle import Tensor, nn

from ernie_from_scratch.config import EncoderConfig, ErnieConfig

if TYPE_CHECKING:
    from typing_extensions import Self

Batch = dict[str, Any]  # the arguments of forward by name: tensors, or None where left out


class PretrainedModel(nn.Layer):
    """A network that can be saved and loaded, and that is the composition of `embed`, `layers` and `head`.

    Pipeline stages, recomputation and packing use these three, so that none of them needs to know the network.
    The network without its heads is the attribute `base_name`, and `backbone`.
    """

    config_class: ClassVar[type[EncoderConfig]] = ErnieConfig
    base_name: ClassVar[str] = "ernie"

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config

    @property
    def backbone(self) -> PretrainedModel:
        """The network without heads: embeddings, encoder, pooler."""
        return getattr(self, self.base_name, self)

    @property
    def layers(self) -> nn.LayerList:
        """The encoder layers, each from states [B, L, H] to states [B, L, H]."""
        return self.backbone.encoder.layers

    def embed(self, batch: Batch) -> Tensor:
        """The first hidden states [B, L, H] of a batch."""
        raise NotImplementedError

    def run_layers(
        self, states: Tensor, batch: Batch, layers: Iterable[nn.Layer] | None = None, **options: bool
    ) -> tuple:
        """States [B, L, H] through all layers, or through those given: see `ErnieEncoder.forward` for the result."""
        raise NotImplementedError

    def head(self, states: Tensor, batch: Batch) -> Any:
        """The outputs of this network from the last hidden states [B, L, H]."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike, **overrides: Any) -> Self:
        """A model with the weights of a folder (PaddleNLP's, Hugging Face's or `save_pretrained`'s), or of a
        published model; see `weights.pretrained.load_pretrained`.
        """
        from ernie_from_scratch.weights.pretrained import load_pretrained

        return load_pretrained(cls, name_or_folder, **overrides)

    def save_pretrained(
        self,
        folder: str | os.PathLike,
        safetensors: bool = False,
        vocab_file: str | os.PathLike | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Path:
        """Writes a folder that `from_pretrained`, here and in PaddleNLP, reads; see `weights.pretrained`."""
        from ernie_from_scratch.weights.pretrained import save_pretrained

        return save_pretrained(self, folder, safetensors, vocab_file, weights)
