"""NAM 0.4: a folder, or a zip of one, with `config.json` (version, architecture, config) and `weights.npy`."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..effect import Effect
from . import LARGEST_JSON, Facts, ModelFileError, Options, Source, nam, parse_json, shown
from .nam_envelope import LEGACY, MOST_WEIGHTS, Model, envelope

CONFIG, WEIGHTS = "config.json", "weights.npy"
LARGEST = {CONFIG: LARGEST_JSON, WEIGHTS: 8 * MOST_WEIGHTS + 2**16}  # bytes
MOST_ENTRIES = 1000
REMEDY = "copy the model again"


def sniff(source: Source) -> bool:
    """Whether a folder or file is of this family."""
    if source.data:
        return source.data.startswith(b"PK") and all(name.encode() in source.data for name in LARGEST)
    return all((source.path / name).is_file() for name in LARGEST)


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a folder or a zip; raises ModelFileError."""
    return nam.build(_model(source), options)


def facts(source: Source) -> Facts:
    """What it says of itself; raises ModelFileError."""
    return nam.tell(_model(source))


def _model(source: Source) -> Model:
    files = _unzipped(source) if source.data else _in_folder(source)
    document = parse_json(files[CONFIG], f"{source.name}: {CONFIG}")
    if not isinstance(document, dict):
        raise ModelFileError(f"{source.name}: {CONFIG} is {shown(document)}, must be an object; {REMEDY}")
    return envelope(source.name, document | {"weights": _array(source.name, files[WEIGHTS])}, oldest=LEGACY)


def _in_folder(source: Source) -> dict[str, bytes]:
    found = {}
    for name, largest in LARGEST.items():
        try:
            with open(source.path / name, "rb") as file:
                found[name] = file.read(largest + 1)
        except OSError as error:
            raise ModelFileError(f"{source.name}: {name} cannot be read: {error.strerror or error}") from error
        if len(found[name]) > largest:
            raise ModelFileError(f"{source.name}: {name} is larger than {largest // 2**20} MiB, which no model is")
    return found


def _unzipped(source: Source) -> dict[str, bytes]:
    """The two files of a zip, which may be in a folder of it."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            entries = archive.infolist()[:MOST_ENTRIES]
            for name, largest in LARGEST.items():
                fits = [entry for entry in entries if PurePosixPath(entry.filename).name == name]
                if len(fits) != 1:
                    what = f"this is a NAM 0.4 zip with {len(fits)} files {name}, must be one"
                    raise ModelFileError(f"{source.name}: {what}; {REMEDY}")
                with archive.open(fits[0]) as file:
                    found[name] = file.read(largest + 1)
                if len(found[name]) > largest:
                    raise ModelFileError(f"{source.name}: {name} is larger than {largest // 2**20} MiB; no model is")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        why = shown(str(error), 200)
        raise ModelFileError(f"{source.name}: this is a NAM 0.4 zip that is broken ({why}); {REMEDY}") from error
    return found


def _array(name: str, data: bytes) -> np.ndarray:
    """The one-dimensional array of a `.npy` file; its header is believed only where the file is as long as it says."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    except (ValueError, SyntaxError, EOFError, TypeError, RecursionError, MemoryError) as error:
        raise ModelFileError(f"{name}: {WEIGHTS} is no numpy file ({shown(str(error), 200)}); {REMEDY}") from error
    rest = data[file.tell() :]
    if len(shape) != 1 or dtype.kind != "f" or len(rest) != shape[0] * dtype.itemsize:
        what = f"{WEIGHTS} is said to be {dtype} {shown(list(shape))} in {len(rest)} bytes, must be floats in a row"
        raise ModelFileError(f"{name}: {what}; {REMEDY}")
    with np.errstate(over="ignore"):
        return np.frombuffer(rest, dtype).astype(np.float32)
