"""Weights in and out, as {name: array}: .pdparams, .safetensors, .bin, and Paddle's file per variable.

Nothing here runs code that a file brings: pickles are read by a reader that knows arrays and nothing else.
"""

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.config import UserError

WEIGHT_FILES = (
    "model_state.pdparams",
    "model.safetensors",
    "pytorch_model.bin",
)  # the first one found is read
# What number types are called in torch's storages, in safetensors, and in Paddle's protobuf.
TORCH_TYPES = {
    "FloatStorage": "f4", "HalfStorage": "f2", "DoubleStorage": "f8", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
SAFETENSORS_TYPES = {
    "F32": "f4", "F16": "f2", "F64": "f8", "BF16": "bf16",
    "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
DAMAGES = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
PADDLE_TYPES = {0: "?", 1: "i2", 2: "i4", 3: "i8", 4: "f2", 5: "f4", 6: "f8", 20: "u1", 21: "i1", 22: "bf16"}


def find_weights(folder: Path) -> Path:
    """The file of weights in a model folder; raises UserError when there is none."""
    for name in WEIGHT_FILES:
        for path in (folder / name, folder / f"{name}.index.json"):
            if path.is_file():
                return path
    others = sorted(folder.glob("*.pdparams"))
    if len(others) == 1:
        return others[0]
    raise UserError(f"no weights: {folder}; it needs one of {', '.join(WEIGHT_FILES)}")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads a file by its ending (index.json: all files it names); raises UserError when it is damaged."""
    readers = {".pdparams": read_pdparams, ".safetensors": read_safetensors, ".bin": read_torch}
    try:
        if path.name.endswith(".index.json"):
            names = sorted(set(json.loads(path.read_text())["weight_map"].values()))
            return {key: value for name in names for key, value in read_weights(path.parent / name).items()}
        return readers[path.suffix](path)
    except OSError as error:
        raise UserError(f"cannot read: {path}; {(error.strerror or str(error)).lower()}") from error
    except UserError:
        raise
    except DAMAGES as error:
        raise UserError(f"damaged or foreign file: {path} ({error}); fetch or write it again") from error


def array(data: bytes, kind: str, shape=None) -> np.ndarray:
    """Bytes as numbers; bf16, which numpy does not have, becomes float32 (it is its upper half)."""
    if kind == "bf16":
        numbers = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        numbers = np.frombuffer(data, np.dtype(kind).newbyteorder("<"))
    return numbers if shape is None else numbers.reshape(shape)


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of dicts, lists and arrays; other names in the file are refused, not looked up."""

    KNOWN = {
        ("numpy.core.multiarray", "_reconstruct"): np.core.multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): np.core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "tuple"): tuple,
    }

    def find_class(self, module, name):
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return self.KNOWN[module, name]


def read_pdparams(path: Path) -> dict[str, np.ndarray]:
    """What paddle.save and paddle.static.save write."""
    with path.open("rb") as file:
        values = ArrayUnpickler(file).load()
    tensors = {}
    for name, value in values.items():
        if isinstance(value, tuple):  # older versions: (name of the parameter, array)
            value = value[1]
        if isinstance(value, np.ndarray):
            tensors[name] = array(value.tobytes(), "bf16", value.shape) if value.dtype == np.uint16 else value
    return tensors


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors

    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: array(e["data"], SAFETENSORS_TYPES[e["dtype"]], e["shape"]) for name, e in entries}


class TorchUnpickler(ArrayUnpickler):
    """data.pkl of a file that torch.save (1.6 or later) wrote; the numbers lie beside it in the same zip."""

    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if module in ("torch", "torch.storage") and name in TORCH_TYPES:
            return TORCH_TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.strided
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, requires_grad, hooks: tensor
        return super().find_class(module, name)

    def persistent_load(self, reference):
        _, kind, key, _, _ = reference  # "storage", number type, file, device, count
        return array(self.archive.read(f"{self.root}/data/{key}"), kind)

    @staticmethod
    def strided(storage, offset, shape, strides, *_):
        """A view of the storage, as the tensor was one."""
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides), default=0) < 0 or (0 not in shape and last >= storage.size):
            raise ValueError("a tensor reaches beyond its storage")
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """A state dict of torch.save."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"torch's old format: {path}; load and save it with torch 1.6 or later")
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        values = TorchUnpickler(archive, pickles[0].removesuffix("/data.pkl")).load()
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def read_variable(data: bytes) -> np.ndarray:
    """A variable of save_persistables: versions, level of detail, a protobuf of type and shape, numbers."""
    version, levels = struct.unpack_from("<IQ", data)
    position = 12
    for _ in range(levels):
        position += 8 + struct.unpack_from("<Q", data, position)[0]
    tensor_version, length = struct.unpack_from("<Ii", data, position)
    if version or tensor_version or not 0 < length < 1000:
        raise ValueError("not a variable of save_persistables")
    description, kind, shape = data[position + 8 : position + 8 + length], None, []
    index = 0
    while index < length:  # fields: 08 type, 10 size of one axis, each followed by a varint
        field, value, shift = description[index], 0, 0
        index += 1
        while True:
            byte = description[index]
            value |= (byte & 127) << shift
            index, shift = index + 1, shift + 7
            if byte < 128:
                break
        if field == 8:
            kind = PADDLE_TYPES[value]
        else:
            shape.append(value)
    return array(data[position + 8 + length :], kind, shape)


def variable_bytes(tensor: np.ndarray) -> bytes:
    """The inverse of `read_variable`, for float32."""

    def varint(number):
        return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])

    description = b"\x08\x05" + b"".join(b"\x10" + varint(size) for size in tensor.shape)
    header = struct.pack("<IQIi", 0, 0, 0, len(description))
    return header + description + np.ascontiguousarray(tensor, "<f4").tobytes()


def read_variables(folder: Path) -> dict[str, np.ndarray]:
    """A folder of save_persistables; raises UserError for a damaged file."""
    try:
        return {
            path.name: read_variable(path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()
        }
    except (*DAMAGES, struct.error) as error:
        raise UserError(f"damaged or foreign file: in {folder} ({error}); fetch or write it again") from error


def write_variables(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        with written(folder / name) as temporary:
            temporary.write_bytes(variable_bytes(tensor))


@contextmanager
def written(path: Path):
    """A temporary path beside `path`: when the block ends well, what was written there becomes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_pdparams(path: Path, tensors: dict[str, np.ndarray]) -> None:
    with written(path) as temporary:
        paddle.save(tensors, str(temporary))


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    from safetensors.numpy import save_file

    with written(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()}, str(temporary), metadata
        )
