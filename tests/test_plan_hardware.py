"""GPUs by name and from files, and errors about invalid files."""

import json

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.planner.hardware import GPUS, Cluster, find_gpu

MINE = {
    "memory_gib": 24, "fp16_tflops": 165, "bf16_tflops": 165, "memory_gb_s": 1008, "nvlink_gb_s": 25,
    "network_gb_s": 12.5, "host_gb_s": 25,
}  # fmt: skip


def write(path, values):
    path.write_text(json.dumps(values) if path.suffix == ".json" else values, encoding="utf-8")
    return str(path)


def test_every_gpu_has_a_source_and_plausible_numbers():
    for name, gpu in GPUS.items():
        assert gpu.name == name and "data sheet" in gpu.source
        assert 100 < 1e3 * gpu.fp16_tflops / gpu.memory_gb_s < 400, "FLOPs for each byte of memory traffic"
        assert gpu.nvlink(2) <= gpu.nvlink(8) and gpu.nvlink(8) > gpu.network_gb_s / 8


def test_a_file_in_json_and_in_yaml(tmp_path):
    gpu = find_gpu(write(tmp_path / "mine.json", MINE | {"nvlink_gb_s": {"2": 25, "8": 50}}))
    assert gpu.name == "mine" and gpu.nvlink(2) == 25 and gpu.nvlink(3) == 50 and gpu.nvlink(16) == 50
    lines = "\n".join(f"{key}: {value}" for key, value in MINE.items())
    gpu = find_gpu(write(tmp_path / "yours.yaml", lines))
    assert gpu.nvlink(4) == 25 and gpu.peak_flops("bf16") == 165e12 and gpu.memory_gib == 24.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory_gb": 24}, "unknown key: memory_gb in .*mine.json; did you mean memory_gib"),
        ({"memory_gib": -1}, "wrong value: memory_gib is -1 in .*; give a number above 0"),
        ({"memory_gib": "24 GB"}, "wrong value: memory_gib is '24 GB'"),
        ({"fp16_tflops": True}, "wrong value: fp16_tflops is True"),
        ({"nvlink_gb_s": {"two": 3}}, "wrong value: nvlink_gb_s in"),
        ({"nvlink_gb_s": {}}, "wrong value: nvlink_gb_s in"),
        ({"network_gb_s": 0}, "wrong value: network_gb_s is 0"),
        ({"network_gb_s": None}, "wrong value: network_gb_s is None"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as caught:
        find_gpu(write(tmp_path / "mine.json", MINE | change))
    assert "\n" not in str(caught.value)


def test_unknown_gpus_and_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="unknown GPU: a100; give one of v100-32g"):
        find_gpu("a100")
    with pytest.raises(UserError, match="not a description of a GPU"):
        find_gpu(write(tmp_path / "list.yaml", "- 1"))
    with pytest.raises(UserError, match="not YAML or JSON"):
        find_gpu(write(tmp_path / "bad.yaml", "a: ["))
    with pytest.raises(UserError, match="host_gb_s is missing"):
        find_gpu(write(tmp_path / "less.json", {key: MINE[key] for key in MINE if key != "host_gb_s"}))


def test_v100_has_no_bf16():
    with pytest.raises(UserError, match="no bf16: v100-32g"):
        GPUS["v100-32g"].peak_flops("bf16")
    with pytest.raises(UserError, match="unknown precision: fp8"):
        GPUS["h200"].peak_flops("fp8")


def test_clusters():
    with pytest.raises(UserError, match="--gpus 12 is not a multiple of --gpus_per_node 8"):
        Cluster(GPUS["h200"], 12)
    with pytest.raises(UserError, match="--gpus is 0"):
        Cluster(GPUS["h200"], 0)
    assert Cluster(GPUS["h200"], 4).link(1, 4) == ("nvlink", 450e9)
