"""PyTorch's files written byte by byte, without PyTorch: zips, older files, and pickles that try to run code."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np

KINDS = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "bool": "Bool"}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def name(module: str, function: str) -> bytes:
    return b"c" + f"{module}\n{function}\n".encode()


def integers(values) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def tensor(array: np.ndarray, key: str) -> bytes:
    """A call of _rebuild_tensor_v2 on a storage of its own."""
    strides = [stride // array.itemsize for stride in array.strides]
    kind = name("torch", f"{KINDS[str(array.dtype)]}Storage")
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + number(array.size) + b"tQ"
    arguments = storage + number(0) + integers(array.shape) + integers(strides) + b"\x89" + ORDERED_DICT
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def state_dict(arrays: dict[str, np.ndarray]) -> bytes:
    """The opcodes of an OrderedDict of tensors."""
    items = b"".join(text(key) + tensor(array, str(n)) for n, (key, array) in enumerate(arrays.items()))
    return ORDERED_DICT + b"(" + items + b"u"


def zipped(program: bytes, arrays: dict[str, np.ndarray], folder: str = "archive", **more: bytes) -> bytes:
    """A .pt of today: data.pkl and the storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", b"\x80\2" + program + b".")
        for n, array in enumerate(arrays.values()):
            archive.writestr(f"{folder}/data/{n}", array.tobytes())
        for entry, data in more.items():
            archive.writestr(f"{folder}/{entry}", data)
    return file.getvalue()


def legacy(program: bytes, arrays: dict[str, np.ndarray]) -> bytes:
    """A .pt of before 2020: five pickles, then the storages."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    heads = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, machine)]
    keys = [str(n) for n in range(len(arrays))]
    storages = [struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()]
    return b"".join([*heads, b"\x80\2" + program + b".", pickle.dumps(keys, 2), *storages])


def module(kind: str, state: bytes) -> bytes:
    """An object of some class, made by NEWOBJ and BUILD, its `__dict__` being what `state` makes."""
    return name(*kind.rsplit(".", 1)) + b")\x81" + state + b"b"


def attacks(canary: str) -> dict[str, bytes]:
    """Programs that would make the file `canary` if anything ran them; each leaves one value on the stack."""
    command, code = text(f"touch {canary}"), text(f"open({canary!r}, 'w')")
    return {
        "os.system": name("os", "system") + b"(" + command + b"tR",
        "posix.system": name("posix", "system") + b"(" + command + b"tR",
        "stack global": text("os") + text("system") + b"\x93(" + command + b"tR",
        "instance": b"(" + command + b"ios\nsystem\n",
        "object": b"(" + name("os", "system") + command + b"o",
        "eval": name("builtins", "eval") + b"(" + code + b"tR",
        "exec, as Python 2": name("__builtin__", "exec") + b"(" + code + b"tR",
        "open": name("io", "open") + b"(" + text(canary) + text("w") + b"tR",
        "by attribute": name("torch.nn", "os.system") + b"(" + command + b"tR",
        "a way to a class": name("builtins", "getattr") + b"(" + name("os", "path") + text("os") + b"tR",
        "subprocess": name("subprocess", "check_output") + b"((" + command + b"ltR",
        "new object": name("subprocess", "Popen") + b"(" + command + b"t\x81",
        "inside an argument": name("torch", "Size") + b"((" + name("os", "system") + b"(" + command + b"tRltR",
        "reduce of a name": name("torch.nn.modules.conv", "Conv1d") + b"(" + command + b"tR",
        "extension": b"\x82\x01",
        "loads": name("pickle", "loads") + b"(" + text("x") + b"tR",
        "torch's own": name("torch.hub", "load") + b"(" + text("a/b") + text("c") + b"tR",
        "numpy's": name("numpy", "load") + b"(" + text(canary) + b"tR",
        "codecs": name("_codecs", "lookup") + b"(" + text("x") + b"tR",
        "encoder": name("_codecs", "encode") + b"(" + text("x") + text("../x") + b"tR",
    }
