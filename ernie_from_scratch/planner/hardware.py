"""GPUs and the links between them, from the vendors' data sheets or from a file that the user gives."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.config.base import nearest_choice

PRECISIONS = ("fp16", "bf16")


@dataclass(frozen=True)
class Gpu:
    """One GPU and its links. Bandwidths are in one direction, in GB/s (1e9 bytes)."""

    name: str
    memory_gib: float
    fp16_tflops: float  # dense matrix products accumulated in float32, 1e12 FLOP/s
    bf16_tflops: float  # 0: not supported
    memory_gb_s: float
    nvlink_gb_s: dict[int, float]  # size of a group in one machine -> bandwidth of each GPU to the others
    network_gb_s: float  # of one machine, all its network cards together
    host_gb_s: float  # between a GPU and host memory
    source: str

    def peak_flops(self, precision: str) -> float:
        """Peak FLOP/s of the data sheet; UserError when the GPU does not support `precision`."""
        if precision not in PRECISIONS:
            raise UserError(f"unknown precision: {precision}; known: {', '.join(PRECISIONS)}")
        tflops = self.fp16_tflops if precision == "fp16" else self.bf16_tflops
        if not tflops:
            raise UserError(f"no {precision}: {self.name} does not support it; give --precision fp16")
        return tflops * 1e12

    def nvlink(self, group: int) -> float:
        """GB/s of each GPU of a group of this size in one machine; of an unknown size: that of the next larger one."""
        fitting = [size for size in sorted(self.nvlink_gb_s) if size >= group]
        return self.nvlink_gb_s[fitting[0] if fitting else max(self.nvlink_gb_s)]


GPUS = {
    "v100-32g": Gpu(
        "v100-32g", 32, 125, 0, 900, {2: 50, 4: 100, 8: 150}, 50, 16,
        "NVIDIA V100 data sheet (SXM2: 125 TFLOPS, 32 GB at 900 GB/s, PCIe 3.0 x16); DGX-1 with Tesla V100 white "
        "paper (hybrid cube mesh: 6 links of 25 GB/s a GPU, at most 2 between a pair, 4 inside a quad; 4 x EDR "
        "InfiniBand of 100 Gb/s)",
    ),
    "a100-80g": Gpu(
        "a100-80g", 80, 312, 312, 2039, {8: 300}, 200, 32,
        "NVIDIA A100 80GB SXM data sheet (312 TFLOPS, 2,039 GB/s, NVLink 600 GB/s both ways, PCIe 4.0 x16); DGX A100 "
        "data sheet (8 x 200 Gb/s InfiniBand for computing)",
    ),
    "h100-80g": Gpu(
        "h100-80g", 80, 989, 989, 3350, {8: 450}, 400, 64,
        "NVIDIA H100 SXM data sheet (1,979 TFLOPS with sparsity, so 989 dense; 3.35 TB/s, NVLink 900 GB/s both ways, "
        "PCIe 5.0 x16 128 GB/s both ways); DGX H100 data sheet (8 x 400 Gb/s InfiniBand for computing)",
    ),
    "h200": Gpu(
        "h200", 141, 989, 989, 4800, {8: 450}, 400, 64,
        "NVIDIA H200 SXM data sheet (1,979 TFLOPS with sparsity, so 989 dense; 141 GB at 4.8 TB/s, NVLink 900 GB/s "
        "both ways, PCIe 5.0 x16 128 GB/s both ways); DGX H200 data sheet (8 x 400 Gb/s InfiniBand for computing)",
    ),
}  # fmt: skip


def find_gpu(name: str) -> Gpu:
    """The GPU called `name`, or the one that the YAML or JSON file `name` describes.

    Raises:
        UserError: neither a known name nor a file; a file with a missing, unknown or invalid entry.
    """
    if name in GPUS:
        return GPUS[name]
    path = Path(name)
    if not path.is_file():
        known = ", ".join(GPUS)
        raise UserError(
            f"unknown GPU: {name}; give one of {known}, or a YAML or JSON file that describes one"
        )
    return read_gpu(path)


def read_gpu(path: Path) -> Gpu:
    """A `Gpu` from a YAML or JSON file of its fields. Optional: `name`, `source`; `nvlink_gb_s` may be one number."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML too
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"not YAML or JSON: {path}; {' '.join(str(error).split())}") from None
    known = [field.name for field in dataclasses.fields(Gpu)]
    if not isinstance(values, dict):
        raise UserError(
            f"not a description of a GPU: {path}; give {', '.join(known)}, one `name: value` a line"
        )
    values: dict[str, Any] = {"name": path.stem, "source": str(path), **values}
    for key in values:
        if key not in known:
            raise UserError(f"unknown key: {key} in {path}; {nearest_choice(str(key), known)}")
    for key in known:
        if key not in values:
            raise UserError(f"{key} is missing in {path}; see the GPUs of `ernie plan --explain` for units")
        if key not in ("name", "source", "nvlink_gb_s"):
            values[key] = _positive(values[key], key, path, zero=key == "bf16_tflops")
    links = values["nvlink_gb_s"]
    if not isinstance(links, dict):
        links = {8: links}
    # keys are strings in JSON
    links = {int(size) if str(size).isdigit() else size: speed for size, speed in links.items()}
    if not links or not all(type(size) is int and size > 1 for size in links):
        raise UserError(
            f"wrong value: nvlink_gb_s in {path}; give a number, or `2: 50` for each size of a group"
        )
    values["nvlink_gb_s"] = {size: _positive(speed, "nvlink_gb_s", path) for size, speed in links.items()}
    values |= {"name": str(values["name"]), "source": str(values["source"])}
    return Gpu(**values)


def _positive(value: Any, key: str, path: Path, zero: bool = False) -> float:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not valid or value < 0 or (value == 0 and not zero):
        raise UserError(f"wrong value: {key} is {value!r} in {path}; give a number above 0")
    return float(value)


@dataclass(frozen=True)
class Cluster:
    """`gpus` equal GPUs, `gpus_per_node` in each machine. UserError if one of several machines is partly filled."""

    gpu: Gpu
    gpus: int
    gpus_per_node: int = 8

    def __post_init__(self) -> None:
        for name in ("gpus", "gpus_per_node"):
            if getattr(self, name) < 1:
                raise UserError(f"too small: --{name} is {getattr(self, name)}; give 1 or more")
        if self.gpus > self.gpus_per_node and self.gpus % self.gpus_per_node:
            raise UserError(
                f"partly filled machine: --gpus {self.gpus} is not a multiple of --gpus_per_node "
                f"{self.gpus_per_node}; give a multiple"
            )

    def link(self, stride: int, size: int) -> tuple[str, float]:
        """("nvlink" or "network", bytes per second of each GPU) for a ring through a group of `size` GPUs.

        The ranks of the group are `stride` apart, and ranks fill one machine after the other. Groups that span machines
        share the network of each machine.
        """
        nvlink = self.gpu.nvlink(size) * 1e9
        span = stride * size
        if self.gpus <= self.gpus_per_node or self.gpus_per_node % span == 0:
            return "nvlink", nvlink
        inside = max(1, min(size, self.gpus_per_node // stride))  # members in one machine
        sharing = self.gpus_per_node // inside
        return "network", min(nvlink, self.gpu.network_gb_s * 1e9 / sharing)
