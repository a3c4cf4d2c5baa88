"""What `ernie plan --explain` prints: the formulas with their sources, the constants, the known GPUs."""

import dataclasses

from ernie_from_scratch.planner import step_time
from ernie_from_scratch.planner.hardware import GPUS
from ernie_from_scratch.planner.memory import GIB, GRADIENT, OPTIMIZER, RESERVED, WEIGHT

MATMUL, HALF, BANDWIDTH = step_time.MATMUL_EFFICIENCY, step_time.HALF_SPEED, step_time.BANDWIDTH_EFFICIENCY
PASSES = f"{step_time.FORWARD_PASSES} + {step_time.BACKWARD_PASSES} passes"
LATENCY = f"{step_time.LATENCY * 1e6:g} us"

FORMULAS = f"""\
b rows of a micro batch, s tokens of a row, h hidden_size, i intermediate_size, a num_attention_heads,
l num_hidden_layers, v vocab_size, t mp_degree, p pp_degree, m micro batches of a step, n GPUs of a group

Parameters    of a layer 4 (h^2 + h) + 2 h i + i + h + 4 h; the total is that of the network itself

Memory        bytes a parameter: {WEIGHT} weight, {GRADIENT} gradient, {OPTIMIZER} float32 weight and AdamW's moments;
              layers divided by t and p; by the sharding degree optimizer (stage 1), gradients (2), layers (3)
                [ZeRO: Rajbhandari et al. 2020, section 3.1 and 5]
              activations of a layer: s b h (10 + 24/t + 5 a s / (h t)), without dropout less
              with recompute: 2 s b h for each layer, and one layer in full
                [Korthikanti et al. 2022, sections 4.2 and 5]
              micro batches in flight on stage k, counted from 0: min(p - k, m)
                [1F1B: Narayanan et al. 2021, section 2.2]
              gradients in one layer: 2 s b (2 i/t + 2 h); logits at masked positions: 6 bytes each, divided by t
              reserved: {RESERVED / GIB:g} GiB for CUDA, cuBLAS, NCCL, and fragmentation

FLOPs         of a token and layer, forward: 8 h^2 + 4 h i + 4 s h; backward twice that; recompute once more
              of a masked position, forward: 2 h (h + v)
                [Narayanan et al. 2021, eq. 3]

Seconds of    matrix products: FLOPs / ({MATMUL} peak x rows / (rows + {HALF:g} peak / memory bandwidth))
                [1.3 times as fast with 16 rows of 2,048 tokens as with one: Narayanan et al. 2021, section 3.4]
              layer norm, softmax, gelu, dropout: activations x ({PASSES}) / ({BANDWIDTH} memory bandwidth)
              communication: bytes / ({BANDWIDTH} bandwidth) + {LATENCY} for each step of a ring; nothing overlaps
                all-reduce 2 (n-1)/n of the bytes, reduce-scatter and all-gather (n-1)/n [Patarasuk, Yuan 2009]
                mp: 4 all-reduces of 2 s b h a layer and micro batch, 6 with recompute [Shoeybi et al. 2019]
                pp: 2 s b h / t to the next stage and back, a micro batch [Narayanan et al. 2021, section 4.1]
                sharding: gradients and weights once a step; dp: gradients once a step
                ranks as in Paddle's Fleet: mp varies fastest, then sharding, pp, dp; groups that span machines
                share the network of each machine
              bubble: (p - 1) / m of computation, mp and pp [Narayanan et al. 2021, section 2.2]
              optimizer: {step_time.ADAMW_TRAFFIC} bytes a parameter / ({BANDWIDTH} memory bandwidth);
                offloaded, {2 * OPTIMIZER} more over the link to host memory

MFU           3 x forward FLOPs / (seconds x GPUs x peak) [PaLM: Chowdhery et al. 2022, appendix B]

Accuracy      parameters are exact. Activations on GPUs follow the paper and are not measured here. Speeds are compared
              with Megatron-LM's published ones (1.7 to 1008 billion parameters on up to 3072 A100: Narayanan et al.
              2021, table 1): predicted 0 to 17 % too slow. Plans closer to each other than that are equally good.

GPUs          memory in GiB; TFLOP/s; GB/s in one direction: memory, NVLink by size of the group, network of a whole
              machine, link to host memory. A FILE gives the same names in YAML or JSON; nvlink_gb_s may be
              one number, bf16_tflops 0."""


def explanation() -> str:
    """The formulas, then the GPUs."""
    lines = [FORMULAS]
    for gpu in GPUS.values():
        values = {
            key: value for key, value in dataclasses.asdict(gpu).items() if key not in ("name", "source")
        }
        lines += ["", f"  {gpu.name}: " + ", ".join(f"{key} {value}" for key, value in values.items())]
        lines += [f"    [{gpu.source}]"]
    return "\n".join(lines)
