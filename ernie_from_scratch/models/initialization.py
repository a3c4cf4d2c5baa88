"""How every weight matrix is initialized."""

import paddle
from paddle.nn.initializer import TruncatedNormal

from ernie_from_scratch.config import EncoderConfig


def normal_weights(config: EncoderConfig) -> paddle.ParamAttr:
    """Normal, of standard deviation `initializer_range`, drawn again beyond two of them (BERT's code).

    Cutting the tails leaves a standard deviation of 0.88 initializer_range.
    """
    std = config.initializer_range
    return paddle.ParamAttr(initializer=TruncatedNormal(mean=0.0, std=std, a=-2 * std, b=2 * std))
