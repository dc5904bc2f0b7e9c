"""Model files: `load` whatever holds a model, `save` in our own format.

Formats are told apart by content, in the order of the table FORMATS, never by the file's extension. Our own format is
a safetensors file: the tensors under the paths that the network has them at, and, as the one entry `nafx` of the
metadata, a JSON spec of `format`, `kind`, `settings`, `knobs` and `sample_rate`.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from safetensors import SafetensorError

from .convnet import ConvNet
from .convstack import ConvStack
from .effect import Effect, Knob
from .formats import (
    LARGEST_FILE,
    LARGEST_UNPACKED,
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
    parse_json,
    shown,
    torch_file,
    torch_state,
)
from .recurrent import GRU, LSTM
from .tcn import MicroTCN, SteerableTCN
from .wavenet import WaveNet

__all__ = ["FORMATS", "KINDS", "Facts", "Format", "ModelFileError", "inspect", "load", "save"]

FORMAT_VERSION = 1
LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000  # Hz
METADATA_KEY = "nafx"

KINDS: dict[str, type] = {
    # Networks that our own format holds. Such a class is made by `cls(settings, *, knobs, sample_rate)`, `settings`
    # being its frozen dataclass `Settings` (fields made by `settings.setting`), and keeps its arrays in nnx.Variables.
    "conv_stack": ConvStack,
    "gru": GRU,
    "lstm": LSTM,
    "micro_tcn": MicroTCN,
    "nam_convnet": ConvNet,
    "steerable_tcn": SteerableTCN,
    "wavenet": WaveNet,
}


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
    kind = next((kind for kind, cls in KINDS.items() if type(effect) is cls), None)
    if kind is None:
        can = ", ".join(cls.__name__ for cls in KINDS.values())
        raise ModelFileError(f"{path.name}: a {type(effect).__name__} cannot be saved; these can: {can}")
    _, state = nnx.split(effect)
    tensors = {name: np.ascontiguousarray(leaf[...]) for name, leaf in _named(state).items()}
    skeleton = _skeleton(type(effect), effect.settings, effect.knobs, effect.sample_rate)
    _check(tensors, _named(nnx.state(skeleton)), f"{path.name}: not saved", "go back to an earlier checkpoint")
    spec = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "settings": dataclasses.asdict(effect.settings),
        "knobs": [_knob_spec(knob) for knob in effect.knobs],
        "sample_rate": effect.sample_rate,
    } | ({} if info is None else {"info": info})
    # One entry of metadata: safetensors writes several in no particular order.
    write_whole(path, safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(spec, sort_keys=True)}))


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


# --- our own format ---

REMEDY = "the file is damaged or was edited; save the model again"


def _header(source: Source) -> bytes | None:
    """The header of a safetensors file, unparsed; None for any other file."""
    size = int.from_bytes(source.data[:8], "little")
    header = source.data[8 : 8 + size] if 2 <= size <= len(source.data) - 8 else b""
    return header if header[:1] == b"{" else None


def _is_ours(source: Source) -> bool:
    return f'"{METADATA_KEY}"'.encode() in (_header(source) or b"")


def _restore(source: Source, options: Options) -> Effect:
    """The network that the spec describes, built without weights, then filled with the file's tensors."""
    name = source.name
    cls, settings, knobs, rate = _read_spec(_spec(source), name)
    try:
        box = _skeleton(cls, settings, knobs, options.sample_rate or rate)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: no {cls.__name__} has these settings and knobs: {error}; {REMEDY}") from error
    try:
        tensors = safetensors.numpy.load(source.data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: broken safetensors ({error}); is the file complete? copy it again") from error
    graph, state = nnx.split(box)
    _check(tensors, _named(state), name, REMEDY)
    filled = [(path, leaf.replace(jnp.asarray(tensors[_dotted(path)]))) for path, leaf in nnx.to_flat_state(state)]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def _spec(source: Source) -> Any:
    """The spec of a file of ours, as it is in its metadata."""
    header = parse_json(_header(source) or b"", source.name)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(f"{source.name}: its metadata holds no {METADATA_KEY} spec; {REMEDY}")
    return parse_json(text.encode("utf-8", "replace"), source.name)


def _own_facts(source: Source) -> Facts:
    """What a file of ours says of itself; its tensors are counted, not read."""
    spec = _spec(source)
    cls, settings, knobs, rate = _read_spec(spec, source.name)
    said = dataclasses.asdict(settings)
    layers, width = said.get("layers", said.get("blocks")), said.get("hidden", said.get("width"))
    size = f" {layers}x{width}" if type(layers) is int and type(width) is int else ""
    shapes = [
        entry.get("shape")
        for entry in parse_json(_header(source) or b"", source.name).values()
        if isinstance(entry, dict)
    ]
    good = [s for s in shapes if isinstance(s, list) and all(type(n) is int and 0 <= n < 2**40 for n in s)]
    names = tuple(knob.name for knob in knobs)
    info = spec.get("info")
    info = info if isinstance(info, dict) else {}
    words = {key: info[key] for key in ("name", "licence", "date") if isinstance(info.get(key), str)}
    esr = info.get("esr")
    return Facts(
        f"{cls.__name__}{size}",
        rate,
        names,
        parameters=sum(map(math.prod, good)),
        esr=float(esr) if isinstance(esr, int | float) and not isinstance(esr, bool) else None,
        info=info or None,
        **words,
    )


def _skeleton(cls: type, settings, knobs, rate):
    """A network of these settings to be filled: with shapes for weights, so that nothing is drawn or allocated.

    A constructor that needs to see numbers is run for real instead; the limits of its settings bound what it allocates.
    """

    def make():
        return cls(settings, knobs=knobs, sample_rate=rate)

    try:
        return nnx.eval_shape(make)
    except jax.errors.JAXTypeError:
        return make()


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path))


def _named(state) -> dict[str, Any]:
    """The leaves of an nnx state under their dotted paths."""
    return {_dotted(path): leaf for path, leaf in nnx.to_flat_state(state)}


def _check(tensors: dict[str, np.ndarray], leaves: dict[str, Any], what: str, remedy: str) -> None:
    """Raise ModelFileError unless there is one finite tensor for each leaf, of its shape and type."""
    if leaves.keys() != tensors.keys():
        wrong = min(leaves.keys() ^ tensors.keys())
        verdict = "missing" if wrong in leaves else "not wanted"
        raise ModelFileError(f"{what}: tensor {shown(wrong)} is {verdict}; {remedy}")
    for name, leaf in leaves.items():
        array = tensors[name]
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            got, want = (f"{a.dtype} {list(a.shape)}" for a in (array, leaf))
            raise ModelFileError(f"{what}: tensor {name} is {got}, must be {want}; {remedy}")
        if not np.isfinite(array).all():
            raise ModelFileError(f"{what}: tensor {name} holds a number that is not finite; {remedy}")


def _read_spec(spec: Any, name: str) -> tuple[type, Any, tuple[Knob, ...], int | None]:
    """The class, settings, knobs and rate of a spec, every value looked at."""
    from .boxes import SettingError, checked  # there, boxes are made from the files that this module reads

    if not isinstance(spec, dict):
        raise ModelFileError(f"{name}: its spec is {shown(spec)}, must be an object; {REMEDY}")
    version = spec.get("format")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{name}: format = {shown(version)}, must be a whole number; {REMEDY}")
    if version > FORMAT_VERSION:
        newer = f"is newer than {FORMAT_VERSION}, which this version reads; update nafx-rack"
        raise ModelFileError(f"{name}: format {shown(version)} {newer}")
    kind, settings, rate, knobs = (spec.get(key) for key in ("kind", "settings", "sample_rate", "knobs"))
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelFileError(f"{name}: kind = {shown(kind)}, must be one of {', '.join(KINDS)}; update nafx-rack")
    if rate is not None and not (type(rate) is int and LOWEST_RATE <= rate <= HIGHEST_RATE):
        allowed = f"must be {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        raise ModelFileError(f"{name}: sample_rate = {shown(rate)}, {allowed}; {REMEDY}")
    if not isinstance(settings, dict):
        raise ModelFileError(f"{name}: settings = {shown(settings)}, must be an object; {REMEDY}")
    if not isinstance(knobs, list):
        raise ModelFileError(f"{name}: knobs = {shown(knobs)}, must be a list; {REMEDY}")
    cls = KINDS[kind]
    try:
        made = checked(kind, cls.Settings, {key: _hashable(value) for key, value in settings.items()})
    except (SettingError, OverflowError) as error:
        raise ModelFileError(f"{name}: {error}; {REMEDY}") from error
    return cls, made, tuple(_knob(knob, name) for knob in knobs), rate


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _knob_spec(knob: Knob) -> dict[str, Any]:
    return {key: float(value) if type(value) is int else value for key, value in dataclasses.asdict(knob).items()}


def _knob(spec: Any, name: str) -> Knob:
    """A knob from its JSON object: exactly the fields of Knob, each of its type."""
    fields = {field.name: type(field.default) for field in dataclasses.fields(Knob)[1:]} | {"name": str}
    if not isinstance(spec, dict) or spec.keys() != fields.keys():
        raise ModelFileError(f"{name}: a knob is {shown(spec)}, must be an object of {', '.join(fields)}; {REMEDY}")
    values = {key: _hashable(value) for key, value in spec.items()}
    for key, value in values.items():
        good = type(value) is fields[key]
        if isinstance(value, float):
            good = good and math.isfinite(value)
        if isinstance(value, tuple):
            good = good and all(isinstance(label, str) for label in value)
        if not good:
            what = f"knob {shown(spec['name'])}: {key} = {shown(spec[key])}, must be {fields[key].__name__}"
            raise ModelFileError(f"{name}: {what}; {REMEDY}")
    try:
        return Knob(**values)
    except ValueError as error:
        raise ModelFileError(f"{name}: {error}; {REMEDY}") from error


# --- the table ---


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
    Format("nafx-rack's own (.safetensors)", _is_ours, _restore, _own_facts),
    Format("a safetensors file without a nafx-rack spec", lambda source: _header(source) is not None),
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
