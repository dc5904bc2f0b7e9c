"""Our own format: a safetensors file.

It holds the tensors under the paths that the network has them at, and, as the one entry `nafx` of the metadata, a JSON
spec of `format`, `kind`, `settings`, `knobs` and `sample_rate`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from safetensors import SafetensorError

from ..convnet import ConvNet
from ..convstack import ConvStack
from ..effect import Effect, Knob
from ..recurrent import GRU, LSTM
from ..settings import SettingError, checked
from ..tcn import MicroTCN, SteerableTCN
from ..wavenet import WaveNet
from . import HIGHEST_RATE, LOWEST_RATE, Facts, ModelFileError, Options, Source, parse_json, shown

VERSION = 1
METADATA_KEY = "nafx"
REMEDY = "the file is damaged or was edited; save the model again"

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


def pack(effect: Effect, name: str, info: dict[str, Any] | None = None) -> bytes:
    """The bytes of a file that `read` makes the same network of; the same bytes for the same network.

    `name` is what error messages call the file, `info` whatever its maker wants to say of it, in JSON's terms.
    Raises ModelFileError where the box is no network or its weights are not finite.
    """
    kind = next((kind for kind, cls in KINDS.items() if type(effect) is cls), None)
    if kind is None:
        can = ", ".join(cls.__name__ for cls in KINDS.values())
        raise ModelFileError(f"{name}: a {type(effect).__name__} cannot be saved; these can: {can}")
    _, state = nnx.split(effect)
    tensors = {path: np.ascontiguousarray(leaf[...]) for path, leaf in _named(state).items()}
    skeleton = _skeleton(type(effect), effect.settings, effect.knobs, effect.sample_rate)
    _check(tensors, _named(nnx.state(skeleton)), f"{name}: not saved", "go back to an earlier checkpoint")
    spec = {
        "format": VERSION,
        "kind": kind,
        "settings": dataclasses.asdict(effect.settings),
        "knobs": [_knob_spec(knob) for knob in effect.knobs],
        "sample_rate": effect.sample_rate,
    } | ({} if info is None else {"info": info})
    # One entry of metadata: safetensors writes several in no particular order.
    return safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(spec, sort_keys=True)})


def header_of(source: Source) -> bytes | None:
    """The header of a safetensors file, unparsed; None for any other file."""
    size = int.from_bytes(source.data[:8], "little")
    header = source.data[8 : 8 + size] if 2 <= size <= len(source.data) - 8 else b""
    return header if header[:1] == b"{" else None


def sniff(source: Source) -> bool:
    """Whether a safetensors file holds a spec of ours."""
    return f'"{METADATA_KEY}"'.encode() in (header_of(source) or b"")


def read(source: Source, options: Options) -> Effect:
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
    header = parse_json(header_of(source) or b"", source.name)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(f"{source.name}: its metadata holds no {METADATA_KEY} spec; {REMEDY}")
    return parse_json(text.encode("utf-8", "replace"), source.name)


def facts(source: Source) -> Facts:
    """What a file of ours says of itself; its tensors are counted, not read."""
    spec = _spec(source)
    cls, settings, knobs, rate = _read_spec(spec, source.name)
    said = dataclasses.asdict(settings)
    layers, width = said.get("layers", said.get("blocks")), said.get("hidden", said.get("width"))
    size = f" {layers}x{width}" if type(layers) is int and type(width) is int else ""
    shapes = [
        entry.get("shape")
        for entry in parse_json(header_of(source) or b"", source.name).values()
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
    if not isinstance(spec, dict):
        raise ModelFileError(f"{name}: its spec is {shown(spec)}, must be an object; {REMEDY}")
    version = spec.get("format")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{name}: format = {shown(version)}, must be a whole number; {REMEDY}")
    if version > VERSION:
        newer = f"is newer than {VERSION}, which this version reads; update nafx-rack"
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
