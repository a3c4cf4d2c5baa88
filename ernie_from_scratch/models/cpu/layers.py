"""Backward passes of linear layers, layer normalization and dropout, written out for CPU training.

Three things are slow in Paddle's CPU kernels: sums over rows or columns (a bias gradient, a mean) take about ten
times as long as the matrix product with ones that gives the same sums; adding a row or a column to a matrix takes
four times as long as adding a matrix; dropout draws a float where two bytes are enough. On a GPU, in other number
types, in a static graph, and when no gradient is needed, Paddle's own kernels run.

T rows (all leading axes flattened), I input features, O output features, H features.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer
from paddle.utils.dlpack import from_dlpack


def on_cpu(x: Tensor) -> bool:
    """Whether `x` is a float32 tensor of the dynamic graph on a CPU."""
    return paddle.in_dynamic_mode() and x.dtype == paddle.float32 and paddle.get_device() == "cpu"


def trains_on_cpu(*inputs: Tensor) -> bool:
    """Whether the backward passes of this package apply: on a CPU, with a gradient for every input."""
    return (
        on_cpu(inputs[0]) and paddle.is_grad_enabled() and not any(tensor.stop_gradient for tensor in inputs)
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor, transpose_weight: bool = False) -> Tensor:
    """x W + b for x [..., I]; W is [I, O], or [O, I] with `transpose_weight`. Gives [..., O]."""
    rows = x.reshape([-1, x.shape[-1]])  # [T, I]
    return _Linear.apply(rows, weight, bias, transpose_weight).reshape([*x.shape[:-1], bias.shape[0]])


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Layer normalization of x [..., H] over its last axis, weight and bias [H]."""
    return _LayerNorm.apply(x, weight, bias, epsilon)


def dropout(x: Tensor, mask: Callable[[Tensor], Tensor]) -> Tensor:
    """x of any shape with the mask applied, in forward and backward."""
    return _Dropout.apply(x, mask)


def _column_of_ones(rows: int) -> Tensor:
    return paddle.ones([rows, 1])


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx, x, weight, bias, transpose_weight):
        ctx.save_for_backward(x, weight)
        ctx.transpose_weight = transpose_weight
        y = paddle.matmul(x, weight, transpose_y=transpose_weight)  # [T, O]
        return y.add_(paddle.matmul(_column_of_ones(x.shape[0]), bias.unsqueeze(0)))  # bias in every row

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensor()
        grad_x = paddle.matmul(grad, weight, transpose_y=not ctx.transpose_weight)  # [T, I]
        left, right = (grad, x) if ctx.transpose_weight else (x, grad)
        grad_weight = paddle.matmul(left, right, transpose_x=True)  # as W
        grad_bias = paddle.matmul(_column_of_ones(x.shape[0]), grad, transpose_x=True).squeeze(0)  # [O]
        return grad_x, grad_weight, grad_bias


class _LayerNorm(PyLayer):
    @staticmethod
    def forward(ctx, x, weight, bias, epsilon):
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return F.layer_norm(x, weight.shape, weight, bias, epsilon)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensor()
        hidden, shape = weight.shape[0], x.shape
        x, grad = x.reshape([-1, hidden]), grad.reshape([-1, hidden])  # [T, H]
        column, row, average = (
            _column_of_ones(x.shape[0]),
            paddle.ones([1, hidden]),
            paddle.full([hidden, 1], 1 / hidden),
        )

        def mean(values):  # [T, H] -> [T, H], the mean of each row in all its columns
            return paddle.matmul(paddle.matmul(values, average), row)

        centered = x - mean(x)
        scale = paddle.rsqrt(paddle.matmul(centered.square(), average) + ctx.epsilon)  # [T, 1]
        scale = paddle.matmul(scale, row)  # [T, H]
        normal = centered.multiply_(scale)
        grad_normal = grad * paddle.matmul(column, weight.unsqueeze(0))  # [T, H]
        grad_x = grad_normal - mean(grad_normal)
        grad_x = grad_x.subtract_(normal * mean(grad_normal.multiply_(normal))).multiply_(scale)  # [T, H]
        grad_weight = paddle.matmul(column, normal.multiply_(grad), transpose_x=True).squeeze(0)  # [H]
        grad_bias = paddle.matmul(column, grad, transpose_x=True).squeeze(0)  # [H]
        return grad_x.reshape(shape), grad_weight, grad_bias


def random_bits(shape: Sequence[int]) -> np.ndarray:
    """Sixteen random bits for each element, as uint16 of this shape; paddle.seed governs them."""
    seed: Any = paddle.randint(0, 2**31 - 1, [2]).tolist()  # drawn from Paddle's generator
    size = math.prod(shape)
    return np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.uint16)[:size].reshape(shape)


class DropoutMask:
    """Sixteen random bits decide about an element: p is rounded to a multiple of 2^-16, and so is the scale."""

    def __init__(self, p: float, bits: np.ndarray):
        threshold = round(p * 2**16)
        self.keep = bits >= threshold  # one byte for each element
        self.scale = 2**16 / (2**16 - threshold)

    def __call__(self, x: Tensor) -> Tensor:
        keep: Any = self.keep.astype(np.float32)  # [...], one float for each element
        keep = from_dlpack(keep)  # the same memory as a tensor
        return (x * keep).scale_(self.scale)


class _Dropout(PyLayer):
    @staticmethod
    def forward(ctx, x, mask):
        ctx.mask = mask
        return mask(x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.mask(grad)
