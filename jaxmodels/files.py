"""Model files: `load` whatever holds a model, `save` in our own format.

Formats are told apart by content, in the order of the table FORMATS, never by the file's extension.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .effect import Effect
from .formats import (
    HIGHEST_RATE,
    LARGEST_FILE,
    LARGEST_UNPACKED,
    LOWEST_RATE,
    Facts,
    ModelFileError,
    Options,
    Source,
    aidax,
    guitarml,
    guitarml_wavenet,
    keras,
    nam,
    nam_legacy,
    namb,
    own,
    parse_json,
    torch_file,
    torch_state,
)

__all__ = ["FORMATS", "Facts", "Format", "ModelFileError", "inspect", "load", "save"]


def load(
    path: str | os.PathLike, *, sample_rate: int | None = None, submodel: int | None = None, fast_tanh: bool = False
) -> Effect:
    """The model in a file, or in a folder of a format that is one.

    sample_rate  Hz, the rate the model was trained at, for files that do not say it or say it wrongly
    submodel     which network of a container, from 0; the largest where None
    fast_tanh    NAM only: with the approximate tanh that NAM's plug-in plays, instead of the file's exact maths

    Raises ModelFileError for everything that is no model file we read, ValueError for an impossible `sample_rate`.
    """
    if sample_rate is not None and not (type(sample_rate) is int and LOWEST_RATE <= sample_rate <= HIGHEST_RATE):
        raise ValueError(f"sample_rate = {sample_rate!r}: must be a whole number of {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    row, source = _recognised(Path(path))
    if row.read is None:
        raise ModelFileError(f"{source.name}: this is {row.name}, which is not read; {_readable()}")
    return row.read(source, Options(sample_rate, submodel, fast_tanh))


def inspect(path: str | os.PathLike) -> tuple[str, Facts]:
    """The family of a model file, as people call it, and what the file says of itself; builds no network.

    Raises ModelFileError for everything that is no model file we read.
    """
    row, source = _recognised(Path(path))
    if row.facts is None:
        raise ModelFileError(f"{source.name}: this is {row.name}, which is not read; {_readable()}")
    return row.name, row.facts(source)


def _recognised(path: Path) -> tuple[Format, Source]:
    source = _open(path)
    for row in FORMATS:
        if row.sniff(source):
            return row, source
    raise ModelFileError(f"{source.name}: not a model file of any known kind; {_readable()}")


def save(path: str | os.PathLike, effect: Effect, info: dict[str, Any] | None = None) -> None:
    """Write a network in our own format: whole or not at all, and the same bytes for the same network.

    `info` is whatever its maker wants to say of it, in JSON's terms; `inspect` answers with it, `load` does not look.
    Raises ModelFileError where the box is no network, its weights are not finite, or the file cannot be written.
    """
    path = Path(path)
    write_whole(path, own.pack(effect, path.name, info))


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: who reads it meanwhile, or after a crash, has the old one or the new one."""
    temporary = path.with_name(f".nafx-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _open(path: Path) -> Source:
    """Read a file, unpack it as often as it is gzipped, and parse it where it is JSON."""
    name = Source(path).name
    try:
        if path.is_dir():
            return Source(path)
        if not path.is_file() and path.exists():  # opening a pipe would wait for its other end
            raise ModelFileError(f"{name}: not a file but a device or a pipe")
        with open(path, "rb") as file:
            data = file.read(min(os.fstat(file.fileno()).st_size, LARGEST_FILE) + 1)
        left = LARGEST_UNPACKED
        while data[:2] == b"\x1f\x8b" and len(data) <= LARGEST_FILE:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(left + 1)
            left -= len(data)
            if left < 0:
                most = LARGEST_UNPACKED // 2**20
                raise ModelFileError(f"{name}: unpacks to more than {most} MiB, which no model does")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ModelFileError(f"{name}: broken gzip ({error}); is the file complete? download it again") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise error if isinstance(error, ModelFileError) else ModelFileError(f"{name!r}: {error}") from error
    if len(data) > LARGEST_FILE:
        raise ModelFileError(f"{name}: larger than {LARGEST_FILE // 2**20} MiB, which no model is")
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return Source(path, data, parse_json(data, name) if text in (b"{", b"[") else None)


@dataclass(frozen=True)
class Format:
    """A family of model files: what people call it, how to tell it, and its reader, None where there is none yet."""

    name: str
    sniff: Callable[[Source], bool]
    read: Callable[[Source, Options], Effect] | None = None
    facts: Callable[[Source], Facts] | None = None


def _readable() -> str:
    return f"these can be read: {'; '.join(row.name for row in FORMATS if row.read)}"


def _starts(*magics: bytes) -> Callable[[Source], bool]:
    return lambda source: source.data.startswith(magics)


def _has(*keys: str) -> Callable[[Source], bool]:
    return lambda source: source.keys.issuperset(keys)


FORMATS: tuple[Format, ...] = (
    # The first row that fits is taken. Safetensors come first: their first bytes are a length, and may be any magic.
    Format("nafx-rack's own (.safetensors)", own.sniff, own.read, own.facts),
    Format("a safetensors file without a nafx-rack spec", lambda source: own.header_of(source) is not None),
    Format("a binary NAM capture (.namb)", namb.sniff, namb.read, namb.facts),
    Format("a NAM 0.4 folder (config.json, weights.npy)", nam_legacy.sniff, nam_legacy.read, nam_legacy.facts),
    Format("a PyTorch or Neutone file (.pt, .pth, .nm)", torch_file.sniff, torch_file.read, torch_file.facts),
    Format("a NAM capture (.nam)", nam.sniff, nam.read, nam.facts),
    Format(
        "CoreAudioML and GuitarML JSON (Proteus, NeuralPi, Chameleon and others)",
        guitarml.sniff,
        guitarml.read,
        guitarml.facts,
    ),
    Format("an AIDA-X capture (.aidax, .json)", aidax.sniff, aidax.read, aidax.facts),
    Format("RTNeural Keras JSON", _has("layers", "in_shape"), keras.read, keras.facts),
    Format(
        "GuitarML WaveNet JSON (SmartGuitarAmp, SmartGuitarPedal)",
        guitarml_wavenet.sniff,
        guitarml_wavenet.read,
        guitarml_wavenet.facts,
    ),
    Format("SmartAmpPro JSON", _has("conv1d", "conv1d_1", "lstm", "dense")),
    Format("a PyTorch state_dict as JSON", torch_state.sniff, torch_state.read, torch_state.facts),
)
