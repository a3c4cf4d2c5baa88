"""Linear, LayerNorm and Dropout: Paddle's layers, with one hook each to the faster versions in cpu/.

`trains_on_cpu` and `on_cpu` decide; the results are the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ernie_from_scratch.models.cpu import layers as cpu
from ernie_from_scratch.models.cpu.layers import on_cpu, trains_on_cpu

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu, "tanh": F.tanh}


class Linear(nn.Linear):
    """y = x W + b, W [I, O]."""

    def forward(self, x: Tensor) -> Tensor:
        if trains_on_cpu(x, self.weight, self.bias):
            return cpu.linear(x, self.weight, self.bias)
        return super().forward(x)


def transposed_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y = x W^T + b for x [..., I], W [O, I]: what a decoder that shares its weight with an embedding needs."""
    if trains_on_cpu(x, weight, bias):
        return cpu.linear(x, weight, bias, transpose_weight=True)
    return paddle.matmul(x, weight, transpose_y=True) + bias


class LayerNorm(nn.LayerNorm):
    """Each vector shifted to mean 0 and scaled to variance 1, times a weight, plus a bias (Ba et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is not None and self.bias is not None and trains_on_cpu(x, self.weight, self.bias):
            return cpu.layer_norm(x, self.weight, self.bias, self._epsilon)
        return super().forward(x)


class Dropout(nn.Layer):
    """In training an element becomes 0 with probability p, else it grows by 1 / (1 - p) (Srivastava et al. 2014)."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        # With or without a gradient: recomputation runs the forward pass both ways, and must draw the same mask.
        return cpu.dropout(x, self.draw_mask(x.shape)) if on_cpu(x) else F.dropout(x, self.p)

    def draw_mask(self, shape: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """A new mask for tensors of this shape, as a function; the identity outside of training."""
        return cpu.DropoutMask(self.p, self.random_bits(shape)) if self.training and self.p else lambda x: x

    def random_bits(self, shape: Sequence[int]) -> np.ndarray:
        """Sixteen bits for each element, uint16; tensor parallel overrides it to draw for its own heads."""
        return cpu.random_bits(shape)
