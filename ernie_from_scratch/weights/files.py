"""Reading and writing weights as {name: array}: .pdparams, .safetensors, .bin, and Paddle's file per variable.

No code in a file is executed: pickles are read by an unpickler that accepts arrays and nothing else.
"""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.files import atomic_write

# The first one that a model folder has is read.
WEIGHT_FILES = ("model_state.pdparams", "model.safetensors", "pytorch_model.bin")
# numpy's names of the data types of torch's storages, of safetensors, and of Paddle's protobuf; bf16 is not numpy's.
TORCH_TYPES = {
    "FloatStorage": "f4", "HalfStorage": "f2", "DoubleStorage": "f8", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
SAFETENSORS_TYPES = {
    "F32": "f4", "F16": "f2", "F64": "f8", "BF16": "bf16",
    "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
PADDLE_TYPES = {0: "?", 1: "i2", 2: "i4", 3: "i8", 4: "f2", 5: "f4", 6: "f8", 20: "u1", 21: "i1", 22: "bf16"}
# What readers raise for a file that is damaged or of another format.
FORMAT_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
)


def find_weights(folder: Path) -> Path:
    """The weight file of a model folder; UserError when there is none."""
    for name in WEIGHT_FILES:
        for path in (folder / name, folder / f"{name}.index.json"):
            if path.is_file():
                return path
    others = sorted(folder.glob("*.pdparams"))
    if len(others) == 1:
        return others[0]
    raise UserError(f"no weights: {folder}; it needs one of {', '.join(WEIGHT_FILES)}")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads a file by its suffix (index.json: all shards that it names); UserError when it is damaged."""
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
    except FORMAT_ERRORS as error:
        raise UserError(
            f"damaged file or unknown format: {path} ({error}); download or write it again"
        ) from error


def to_array(data: bytes, dtype: str, shape: Sequence[int] | None = None) -> np.ndarray:
    """Little-endian bytes as an array; bf16, which numpy lacks, becomes float32 (bf16 is its upper half)."""
    if dtype == "bf16":
        values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        values = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
    return values if shape is None else values.reshape(shape)


RECONSTRUCT = np.zeros(0).__reduce__()[0]  # what numpy's pickles call; its module differs between versions


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of dicts, lists and arrays; any other class or function in the file is an error."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "tuple"): tuple,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return self.ALLOWED[module, name]


def read_pdparams(path: Path) -> dict[str, np.ndarray]:
    """A file of paddle.save or paddle.static.save."""
    with path.open("rb") as file:
        values = ArrayUnpickler(file).load()
    tensors = {}
    for name, value in values.items():
        if isinstance(value, tuple):  # older versions: (name of the parameter, array)
            value = value[1]
        if isinstance(value, np.ndarray):
            is_bf16 = value.dtype == np.uint16  # how Paddle stores it
            tensors[name] = to_array(value.tobytes(), "bf16", value.shape) if is_bf16 else value
    return tensors


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """A file in the safetensors format."""
    import safetensors

    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: to_array(e["data"], SAFETENSORS_TYPES[e["dtype"]], e["shape"]) for name, e in entries}


class TorchUnpickler(ArrayUnpickler):
    """Reads data.pkl of a file of torch.save (1.6 or later); the storages are other members of the same zip."""

    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in TORCH_TYPES:
            return TORCH_TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.strided_view
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, requires_grad, hooks: tensor
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, _ = pid  # "storage", data type, member of the archive, device, number of elements
        return to_array(self.archive.read(f"{self.root}/data/{key}"), dtype)

    @staticmethod
    def strided_view(
        storage: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
    ) -> np.ndarray:
        """The elements of the storage that the tensor is a view of; strides count elements."""
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides), default=0) < 0 or (0 not in shape and last >= storage.size):
            raise ValueError("a tensor reaches beyond its storage")
        in_bytes = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, in_bytes).copy()


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """A state dict of torch.save; other values in the file are ignored."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"torch's old file format: {path}; load and save it with torch 1.6 or later")
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        values = TorchUnpickler(archive, pickles[0].removesuffix("/data.pkl")).load()
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def read_variable(data: bytes) -> np.ndarray:
    """A variable of save_persistables: version, LoD offsets, version of the tensor, a protobuf TensorDesc, elements."""
    version, lod_levels = struct.unpack_from("<IQ", data)
    position = 12
    for _ in range(lod_levels):
        position += 8 + struct.unpack_from("<Q", data, position)[0]
    tensor_version, length = struct.unpack_from("<Ii", data, position)
    if version or tensor_version or not 0 < length < 1000:
        raise ValueError("not a variable of save_persistables")
    start = position + 8
    dtype, shape = _read_tensor_desc(data[start : start + length])
    return to_array(data[start + length :], dtype, shape)


def _read_tensor_desc(data: bytes) -> tuple[str, list[int]]:
    """Data type and shape in the protobuf: fields 08 (data type) and 10 (size of an axis), each with a varint."""
    dtype, shape, index = None, [], 0
    while index < len(data):
        field, value, shift = data[index], 0, 0
        index += 1
        while True:
            byte = data[index]
            value |= (byte & 127) << shift
            index, shift = index + 1, shift + 7
            if byte < 128:
                break
        if field == 8:
            dtype = PADDLE_TYPES[value]
        else:
            shape.append(value)
    if dtype is None:
        raise ValueError("a variable without a data type")
    return dtype, shape


def variable_bytes(tensor: np.ndarray) -> bytes:
    """The inverse of `read_variable`, for float32."""

    def varint(number: int) -> bytes:
        return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])

    description = b"\x08\x05" + b"".join(b"\x10" + varint(size) for size in tensor.shape)
    header = struct.pack("<IQIi", 0, 0, 0, len(description))
    return header + description + np.ascontiguousarray(tensor, "<f4").tobytes()


def read_variables(folder: Path) -> dict[str, np.ndarray]:
    """A folder of save_persistables; UserError for a damaged file."""
    try:
        return {
            path.name: read_variable(path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()
        }
    except FORMAT_ERRORS as error:
        raise UserError(
            f"damaged file or unknown format: in {folder} ({error}); download or write it again"
        ) from error


def write_variables(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """One file per variable, as save_persistables writes them."""
    for name, tensor in tensors.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(variable_bytes(tensor))


def write_pdparams(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """A file of paddle.save."""
    values: Any = tensors  # paddle.save takes arrays too
    with atomic_write(path) as temporary:
        paddle.save(values, str(temporary))


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """A file in the safetensors format; `metadata` goes into its header."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(arrays, str(temporary), metadata)
