"""PyTorch's own files (.pt, .pth, .ckpt), zipped or of the older kind, read without PyTorch and without trust.

Their pickles are read as data (see `pickles`). A file may hold a state dict, a trainer's checkpoint with one in it, or
a whole module, whose parameters are then gathered. What network the tensors are, `torch_state` decides.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..effect import Effect
from . import Facts, ModelFileError, Options, Source, pickles, shown, torch_state
from .pickles import Name, PickleError, Record

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an older file
MOST_NUMBERS = 2**24  # in all tensors of a file: 64 MiB as float32
MOST_DEPTH = 32  # of modules in modules
MOST_ENTRIES = 10_000  # of a zip
MOST_UNPACKED = 2**27  # bytes
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "generator")
BESIDE = ("hyper_parameters", "hparams", "config", "args")
REMEDY = "save it again, best as torch.save(model.state_dict(), path)"
BFLOAT16 = "u2"
DTYPES = {
    "Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": BFLOAT16, "Long": "i8", "Int": "i4", "Short": "i2",
    "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip


def sniff(source: Source) -> bool:
    """Whether a file is a zip or a pickle."""
    return source.data.startswith((b"PK\3\4", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"))


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a file. Raises ModelFileError."""
    return torch_state.build(source, *contents(source), options)


def facts(source: Source) -> Facts:
    """What the file says of itself. Raises ModelFileError."""
    return torch_state.tell(source, *contents(source))


def contents(source: Source) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A file's tensors by their names, and what it says beside them. Raises ModelFileError."""
    try:
        opened = _unzipped(source.data) if source.data[:2] == b"PK" else _legacy(source.data)
        tensors, said = _gathered(opened.root)
        arrays = _arrays(tensors, opened)
    except PickleError as error:
        what = f"this is a PyTorch or Neutone file, but not one that is read: {error}"
        raise ModelFileError(f"{source.name}: {what}; {REMEDY}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError, LookupError) as error:
        what = f"this is a PyTorch or Neutone file, but a broken one ({shown(str(error), 200)})"
        raise ModelFileError(f"{source.name}: {what}; is it complete? download it again") from error
    if not arrays:
        raise ModelFileError(f"{source.name}: this is a PyTorch or Neutone file without any tensors; {REMEDY}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            what = f"tensor {shown(name)} holds a number that is not finite"
            raise ModelFileError(f"{source.name}: {what}; go back to an earlier checkpoint")
    return arrays, said


@dataclass(eq=False)
class _Storage:
    """Numbers in a file: their type, how many, and under which key."""

    dtype: str
    count: int
    key: str


@dataclass(eq=False)
class _Tensor:
    """A view of a storage; strides are in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Opened(NamedTuple):
    """A file's object, the bytes of its storages by key, and the order of bytes in a number."""

    root: Any
    raw: Callable[[str], bytes]
    order: str


# --- what the pickles call ---


def _storage(what: Any) -> Any:
    """The value of a persistent id."""
    if isinstance(what, tuple) and what[:1] == ("module",) and len(what) > 1:
        return what[1]  # a class, and its source code, which is of no interest
    if not isinstance(what, tuple) or len(what) < 5 or what[0] != "storage":
        raise PickleError("broken pickle (a reference that is no storage)")
    _, kind, key, _, count, *view = what
    dtype = DTYPES.get(kind.name.removesuffix("Storage")) if isinstance(kind, Name) else None
    good = type(count) is int and 0 <= count < 2**40 and isinstance(key, str | int) and all(v is None for v in view)
    if dtype is None or not good:
        raise PickleError("a storage of a kind that is not read")
    return _Storage(dtype, count, str(key))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> _Tensor:
    """torch._utils._rebuild_tensor_v2"""
    sizes = [*shape, *strides, offset] if isinstance(shape, tuple) and isinstance(strides, tuple) else [None]
    if not isinstance(storage, _Storage) or not all(type(size) is int and 0 <= size < 2**40 for size in sizes):
        raise PickleError("broken pickle (a tensor of impossible sizes)")
    if len(shape) != len(strides) or len(shape) > 8 or math.prod(shape) > MOST_NUMBERS:
        raise PickleError(f"a tensor of {len(shape)} axes and {math.prod(shape[:8])} numbers, which is too large")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.count:
        raise PickleError("broken pickle (a tensor reaches beyond its storage)")
    return _Tensor(storage, offset, shape, strides)


def _itself(tensor: Any, *more: Any) -> Any:
    return tensor


CALLS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _itself,
    "torch._utils._rebuild_parameter_with_state": _itself,
}


# --- the two kinds of files ---


def _unzipped(data: bytes) -> _Opened:
    archive = zipfile.ZipFile(io.BytesIO(data))
    names, left = frozenset(archive.namelist()), MOST_UNPACKED
    if len(names) > MOST_ENTRIES:
        raise PickleError(f"a zip of {len(names)} files, at most {MOST_ENTRIES} are read")
    if any("/code/" in f"/{name}" or name.endswith("constants.pkl") for name in names):
        raise PickleError("Neutone models and other TorchScript files are programs that only PyTorch can run")
    found = [name for name in names if name.split("/")[-1] == "data.pkl"]
    if len(found) != 1:
        raise PickleError(f"a zip of {len(names)} files with {len(found)} data.pkl among them")
    folder = found[0].removesuffix("data.pkl")

    def entry(name: str) -> bytes:
        nonlocal left
        with archive.open(name) as file:
            unpacked = file.read(left + 1)
        left -= len(unpacked)
        if left < 0:
            raise PickleError(f"it unpacks to more than {MOST_UNPACKED // 2**20} MiB, which no model does")
        return unpacked

    big = f"{folder}byteorder" in names and entry(f"{folder}byteorder") == b"big"
    root, _ = pickles.read(entry(found[0]), 0, CALLS, _storage)
    return _Opened(root, lambda key: entry(f"{folder}data/{key}"), ">" if big else "<")


def _legacy(data: bytes) -> _Opened:
    """Magic number, version, machine, the object, the keys of the storages, and these one after another."""
    storages: dict[str, _Storage] = {}

    def storage(what: Any) -> Any:
        made = _storage(what)
        if isinstance(made, _Storage):
            storages[made.key] = made
        return made

    values, at = [], 0
    for _ in range(5):
        value, at = pickles.read(data, at, CALLS, storage)
        values.append(value)
        if values[0] != MAGIC:
            raise PickleError("a pickle that PyTorch did not write")
    _, _, machine, root, keys = values
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise PickleError("broken pickle (its storages have no list)")
    raw: dict[str, bytes] = {}
    for key in map(str, keys):
        count = int.from_bytes(data[at : at + 8], "little")
        kept = storages.get(key)
        if kept is None or count != kept.count:
            raise PickleError("its storages are not those that it lists; is it complete?")
        size = count * np.dtype(kept.dtype).itemsize
        raw[key] = data[at + 8 : at + 8 + size]
        at += 8 + size
    big = isinstance(machine, dict) and machine.get("little_endian") is False
    return _Opened(root, raw.__getitem__, ">" if big else "<")


def _arrays(tensors: dict[str, _Tensor], opened: _Opened) -> dict[str, np.ndarray]:
    """The tensors as float32."""
    if sum(math.prod(tensor.shape) for tensor in tensors.values()) > MOST_NUMBERS:
        raise PickleError(f"tensors of more than {MOST_NUMBERS} numbers, which is too large")
    flat: dict[str, np.ndarray] = {}
    made: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        dtype = np.dtype(storage.dtype).newbyteorder(opened.order)  # type: ignore[arg-type]
        if storage.key not in flat:
            raw = opened.raw(storage.key)
            if len(raw) < storage.count * dtype.itemsize:
                raise PickleError("a storage is cut off; is the file complete?")
            flat[storage.key] = np.frombuffer(raw, dtype, storage.count)
        numbers = flat[storage.key]
        if numbers.dtype != dtype or len(numbers) != storage.count:
            raise PickleError("broken pickle (a storage of two kinds)")
        strides = [stride * numbers.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
        if storage.dtype == BFLOAT16:  # the upper half of a float32
            view = (view.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            made[name] = view.astype(np.float32)
    return made


# --- from objects to tensors by their names ---


def _gathered(root: Any, depth: int = 0) -> tuple[dict[str, _Tensor], dict[str, Any]]:
    """The tensors of a state dict, of a checkpoint or of a module, and what is said beside them.

    What is said are the values under `hyper_parameters` and the like, and `dilations`: each convolution's, by its name.
    """
    if isinstance(root, Record):
        tensors: dict[str, _Tensor] = {}
        dilations: dict[str, int] = {}
        _walk(root, "", tensors, dilations, 0)
        return tensors, {**_said(root.state), "dilations": dilations}
    if not isinstance(root, dict):
        raise PickleError("it holds no tensors by name")
    tensors = {name: value for name, value in root.items() if isinstance(name, str) and isinstance(value, _Tensor)}
    inner = next((root[key] for key in WRAPPERS if isinstance(root.get(key), dict | Record)), None)
    if tensors or inner is None or depth > 3:
        return tensors, {}
    tensors, said = _gathered(inner, depth + 1)
    for key in BESIDE:
        beside = root.get(key)
        said |= (
            _said(beside) | _said(beside.state) | _said(beside.items) if isinstance(beside, Record) else _said(beside)
        )
    return tensors, said


def _said(values: Any) -> dict[str, Any]:
    """The plain values of a dictionary."""
    pairs = values.items() if isinstance(values, dict) else ()
    return {key: value for key, value in pairs if isinstance(key, str) and type(value) in (int, bool, float, str)}


def _walk(module: Record, prefix: str, tensors: dict, dilations: dict, depth: int) -> None:
    """Gather a module's parameters and buffers under the names that its state dict would have."""
    if depth > MOST_DEPTH or len(tensors) > MOST_ENTRIES:
        raise PickleError("modules in modules without end")
    state = module.state if isinstance(module.state, dict) else {}

    def held(key: str, kind: type) -> dict:
        found = state.get(key)
        items = found.items() if isinstance(found, dict) else ()
        return {f"{prefix}{name}": value for name, value in items if isinstance(name, str) and isinstance(value, kind)}

    tensors.update(held("_parameters", _Tensor) | held("_buffers", _Tensor))
    dilation = state.get("dilation")
    if isinstance(dilation, tuple) and len(dilation) == 1 and type(dilation[0]) is int:
        dilations[prefix.removesuffix(".")] = dilation[0]
    for name, child in held("_modules", Record).items():
        _walk(child, f"{name}.", tensors, dilations, depth + 1)
