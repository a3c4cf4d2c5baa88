"""Weight files of torch, safetensors and Paddle: read without torch; damaged or malicious files are errors."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from models_helpers import build, largest_difference, outputs

import ernie_from_scratch as efs
from ernie_from_scratch.config import UserError
from ernie_from_scratch.weights.files import read_torch, read_variable, read_weights, variable_bytes
from ernie_from_scratch.weights.names import to_huggingface
from ernie_from_scratch.weights.pretrained import numpy_weights

# Files as torch.save writes them, made without torch: the reader must not need it, nor execute anything.


class Named:
    """Is pickled as a reference to module.name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class TorchPickler(pickle._Pickler):
    """Pickles as torch.save does: storages in separate members, tensors as calls of torch's functions."""

    def __init__(self, file, storages):
        super().__init__(file, 2)
        self.storages = storages

    def persistent_id(self, obj):
        if isinstance(obj, np.ndarray) and obj.ndim == 1:
            kind = {"f4": "FloatStorage", "f2": "HalfStorage", "u2": "BFloat16Storage"}[obj.dtype.str[1:]]
            self.storages.append(obj)
            return ("storage", Named("torch", kind), str(len(self.storages) - 1), "cpu", obj.size)
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Named):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


def torch_tensor(storage, shape, strides, offset=0):
    hooks = Call(Named("collections", "OrderedDict"))
    return Call(Named("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, False, hooks)


def write_torch(path, values):
    storages, stream = [], io.BytesIO()
    TorchPickler(stream, storages).dump(values)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for number, storage in enumerate(storages):
            archive.writestr(f"archive/data/{number}", storage.tobytes())
    return path


def test_torch_file_with_views_and_data_types(tmp_path):
    numbers = np.arange(12, dtype="float32")
    half = (numbers.view("uint32") >> 16).astype("uint16")
    path = write_torch(
        tmp_path / "pytorch_model.bin",
        {
            "plain": torch_tensor(numbers, (3, 4), (4, 1)),
            "transposed": torch_tensor(numbers, (4, 3), (1, 4)),
            "slice": torch_tensor(numbers, (2, 2), (4, 1), 5),
            "half": torch_tensor(numbers.astype("float16"), (12,), (1,)),
            "bfloat": torch_tensor(half, (12,), (1,)),
            "parameter": Call(
                Named("torch._utils", "_rebuild_parameter"), torch_tensor(numbers, (12,), (1,)), True, ()
            ),
            "note": "not a tensor",
        },
    )
    found = read_torch(path)
    table = numbers.reshape(3, 4)
    expected = {
        "plain": table, "transposed": table.T, "slice": table[1:, 1:3], "half": numbers,
        "bfloat": numbers, "parameter": numbers,
    }  # fmt: skip
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert (found[name] == value).all(), name


@pytest.mark.parametrize("kind", ["pytorch_model.bin", "model_state.pdparams"])
def test_files_that_call_functions_are_errors(kind, tmp_path):
    build(efs.ErnieModel).save_pretrained(tmp_path)
    (tmp_path / "model_state.pdparams").unlink()
    marker = tmp_path / "ran"
    for attack in (
        Call(Named("os", "system"), f"touch {marker}"),
        Call(Named("builtins", "eval"), f"open({str(marker)!r}, 'w')"),
        Call(Named("builtins", "getattr"), "a", "b"),
        Call(Named("torch", "load"), str(marker)),
    ):
        if kind.endswith(".bin"):
            write_torch(tmp_path / kind, {"weight": attack})
        else:
            stream = io.BytesIO()
            TorchPickler(stream, []).dump({"weight": attack})
            (tmp_path / kind).write_bytes(stream.getvalue())
        with pytest.raises(UserError, match="wants to run") as error:
            efs.ErnieModel.from_pretrained(tmp_path)
        assert f"{attack.function.module}.{attack.function.name}" in str(error.value)
    assert not marker.exists()


def test_tensors_beyond_their_storage_are_errors(tmp_path):
    numbers = np.arange(12, dtype="float32")
    for shape, strides, offset in (((13,), (1,), 0), ((3, 4), (5, 1), 0), ((12,), (1,), 1), ((2,), (-1,), 3)):
        path = write_torch(tmp_path / "x.bin", {"weight": torch_tensor(numbers, shape, strides, offset)})
        with pytest.raises(UserError, match="beyond its storage"):
            read_weights(path)


@pytest.mark.parametrize("name", ["model_state.pdparams", "model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    "content", [b"", b"half a file", pickle.dumps([1, 2]), struct.pack("<Q", 1 << 40) + b"{}"]
)
def test_damaged_files(name, content, tmp_path):
    efs.ErnieConfig.preset("tiny").save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        efs.ErnieModel.from_pretrained(tmp_path)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_sharded_safetensors(tmp_path):
    from safetensors.numpy import save_file

    model = build(efs.ErnieModel)
    tensors = to_huggingface(numpy_weights(model.state_dict()), "ernie")
    model.config.save(tmp_path)
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[:7], "model-2.safetensors": names[7:]}
    for file, part in shards.items():
        save_file({name: np.ascontiguousarray(tensors[name]) for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert largest_difference(outputs(efs.ErnieModel.from_pretrained(tmp_path)), outputs(model)) == 0


@pytest.mark.parametrize("shape", [(), (3,), (130, 2), (2, 3, 4), (0, 5)])
def test_variable_files(shape):
    numbers = np.random.default_rng(0).normal(0, 1, shape).astype("float32")
    found = read_variable(variable_bytes(numbers))
    assert found.shape == shape and (found == numbers).all()


def test_variable_file_that_paddle_wrote():
    """linear_0.b_0 = [0, 1.5, -2] as save_persistables of Paddle 3.3 lays it out."""
    head = bytes.fromhex("000000000000000000000000000000000400000008051003")
    numbers = np.array([0, 1.5, -2], "<f4")
    assert (read_variable(head + numbers.tobytes()) == numbers).all()
    assert variable_bytes(numbers) == head + numbers.tobytes()
