"""Linear, LayerNorm and Dropout: Paddle's, with the same results, but trained faster on a CPU.

Three things are slow in Paddle's CPU kernels: sums over rows or columns (a bias gradient, a mean) take
about ten times as long as the matrix product with ones that gives the same sums; adding a row or a column
to a matrix takes four times as long as adding a matrix; dropout draws a float where two bytes are enough.
So on a CPU these layers' backward passes are written out here. On a GPU, in other number types, in a static
graph, and when no gradient is asked for, Paddle's own run.

T rows (all leading axes together), I features in, O features out, H features.
"""

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer
from paddle.utils.dlpack import from_dlpack


def on_cpu(x) -> bool:
    return paddle.in_dynamic_mode() and x.dtype == paddle.float32 and paddle.get_device() == "cpu"


def backward_by_hand(*inputs) -> bool:
    """Whether the backward passes of this file serve: on a CPU, and with a gradient for each input."""
    return (
        on_cpu(inputs[0]) and paddle.is_grad_enabled() and not any(tensor.stop_gradient for tensor in inputs)
    )


def column_of_ones(rows):
    return paddle.ones([rows, 1])


class Linear(nn.Linear):
    """y = x W + b, W [I, O]."""

    def forward(self, x):
        if not backward_by_hand(x, self.weight, self.bias):
            return super().forward(x)
        return linear(x, self.weight, self.bias)


def linear(x, weight, bias, transpose_weight=False):
    """x W + b for x [..., I]; W is [I, O], or [O, I] with `transpose_weight`."""
    if not backward_by_hand(x, weight, bias):
        return paddle.matmul(x, weight, transpose_y=transpose_weight) + bias
    rows = x.reshape([-1, x.shape[-1]])  # [T, I]
    return _Linear.apply(rows, weight, bias, transpose_weight).reshape([*x.shape[:-1], bias.shape[0]])


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx, x, weight, bias, transpose_weight):
        ctx.save_for_backward(x, weight)
        ctx.transpose_weight = transpose_weight
        y = paddle.matmul(x, weight, transpose_y=transpose_weight)  # [T, O]
        return y.add_(paddle.matmul(column_of_ones(x.shape[0]), bias.unsqueeze(0)))  # bias in every row

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensor()
        grad_x = paddle.matmul(grad, weight, transpose_y=not ctx.transpose_weight)  # [T, I]
        left, right = (grad, x) if ctx.transpose_weight else (x, grad)
        grad_weight = paddle.matmul(left, right, transpose_x=True)  # as W
        grad_bias = paddle.matmul(column_of_ones(x.shape[0]), grad, transpose_x=True).squeeze(0)  # [O]
        return grad_x, grad_weight, grad_bias


class LayerNorm(nn.LayerNorm):
    """Each vector shifted to mean 0, scaled to variance 1; times a weight, plus a bias (Ba, 2016)."""

    def forward(self, x):
        if not backward_by_hand(x, self.weight, self.bias):
            return super().forward(x)
        return _LayerNorm.apply(x, self.weight, self.bias, self._epsilon)


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
            column_of_ones(x.shape[0]),
            paddle.ones([1, hidden]),
            paddle.full([hidden, 1], 1 / hidden),
        )

        def mean(values):  # [T, H] -> [T, H], the mean of each row in all its places
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


class Dropout(nn.Layer):
    """In training a number becomes 0 with probability p, else grows by 1 / (1 - p) (Srivastava, 2014)."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        # With or without a gradient: recomputation runs the forward pass both ways, and must draw the same marks.
        return _Dropout.apply(x, self.marks(x.shape)) if on_cpu(x) else F.dropout(x, self.p, training=True)

    def marks(self, shape):
        """Drawn anew: which numbers of a tensor of this shape stay; outside of training all do."""
        return Marks(self.p, self.random_bits(shape)) if self.training and self.p else lambda x: x

    def random_bits(self, shape):
        """Sixteen bits for each number, as uint16 of this shape."""
        seed = paddle.randint(
            0, 2**31 - 1, [2]
        ).tolist()  # from Paddle's state, so that paddle.seed governs it
        size = math.prod(shape)
        return np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.uint16)[:size].reshape(shape)


class Marks:
    """Sixteen random bits decide about a number: p is rounded to 2^-16, and the scale follows it."""

    def __init__(self, p, bits):
        threshold = round(p * 2**16)
        self.keep = bits >= threshold  # one byte for each number, as in Paddle
        self.scale = 2**16 / (2**16 - threshold)

    def __call__(self, x):
        keep = from_dlpack(self.keep.astype(np.float32))  # the same memory as a tensor
        return (x * keep).scale_(self.scale)


class _Dropout(PyLayer):
    @staticmethod
    def forward(ctx, x, marks):
        ctx.marks = marks
        return marks(x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.marks(grad)


ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu, "tanh": F.tanh}
