"""Peak FLOP/s of a device, measured: the denominator of model FLOPs utilization (MFU, Chowdhery et al. 2022, B)."""

import time
from typing import Literal

import paddle

MATRIX_SIZES = {"cpu": 1024, "gpu": 8192}  # rows and columns of the matrices, large enough for full speed
REPEATS = 5


def measure_peak_flops(dtype: Literal["float32", "float16", "bfloat16"] = "float32") -> float:
    """FLOP/s of the fastest of several square matrix products on this process's device."""
    size = MATRIX_SIZES[paddle.get_device().partition(":")[0]]
    a = paddle.rand([size, size]).astype(dtype)  # [size, size]
    _ = a @ a  # warm-up
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        float((a @ a)[0, 0])  # waits until a GPU has finished
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best
