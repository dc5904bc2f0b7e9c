"""CoreAudioML and GuitarML JSON: Proteus, NeuralPi, Chameleon, TS-M1N3, PrincePedal, NeuralSeed.

`model_data` describes a SimpleRNN, `state_dict` holds its tensors under PyTorch's names. The tensors decide; what the
description says against them is refused. Neither names the knobs nor the sample rate.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..effect import Knob
from ..recurrent import GRU, LSTM, default_knobs, from_torch
from . import Facts, ModelFileError, Options, Source, shown, tensor

USUAL_RATE = 44100  # of every GuitarML plugin that is not told otherwise below
RATES = {"44.1": 44100, "48": 48000, "88.2": 88200, "96": 96000, "176.4": 176400, "192": 192000}
LARGEST = 1e30  # of a weight
REMEDY = "the file is damaged or was edited; export it again"


def sniff(source: Source) -> bool:
    """Whether a file is of this family."""
    return {"model_data", "state_dict"} <= source.keys


def read(source: Source, options: Options = Options()) -> LSTM | GRU:
    """The network of a file, at the rate asked for or the one that its name tells (see `rate_of`).

    Knobs come from a list of names, or of objects with `name`, `min`, `max`, `default`, under `knobs` or `params` where
    the file has one; otherwise they are drive, tone, level. Raises ModelFileError.
    """
    described, tensors = _parts(source)
    name, rec, head = source.name, tensors["rec"], tensors["lin"]
    skip = _flag(name, described, "skip", default=1)
    knobs = _knobs(source)
    try:
        rate = options.sample_rate or rate_of(source.path)
        network = from_torch(rec, head["weight"], head.get("bias"), skip=skip, knobs=knobs, sample_rate=rate)
    except ValueError as error:
        raise ModelFileError(f"{name}: state_dict: {error}; {REMEDY}") from error
    _agree(name, described, network)
    return network


def write(effect: LSTM | GRU) -> dict[str, Any]:
    """The JSON object of a network; `read` gives back the same weights and knobs, exactly."""
    settings = effect.settings
    tensors: dict[str, np.ndarray] = {}
    for n, layer in enumerate(effect.layers):
        arrays = {key: np.asarray(leaf[...]) for key, leaf in layer.items() if leaf is not None}
        second = np.zeros_like(arrays["bias"])
        if "bias_hn" in arrays:
            second[-settings.hidden :] = arrays["bias_hn"]
        tensors |= {f"rec.weight_{part}_l{n}": arrays[f"weight_{part}"].T for part in ("ih", "hh")}
        tensors |= {f"rec.bias_ih_l{n}": arrays["bias"], f"rec.bias_hh_l{n}": second}
    tensors["lin.weight"] = np.asarray(effect.head).T
    if effect.head_bias is not None:
        tensors["lin.bias"] = np.asarray(effect.head_bias[...])
    described = {
        "model": "SimpleRNN",
        "input_size": settings.inputs,
        "skip": int(settings.skip),
        "output_size": 1,
        "unit_type": type(effect).__name__,
        "num_layers": settings.layers,
        "hidden_size": settings.hidden,
        "bias_fl": settings.bias,
    }
    document: dict[str, Any] = {"model_data": described, "state_dict": {k: v.tolist() for k, v in tensors.items()}}
    if effect.knobs:
        named = [{"name": k.name, "min": k.low, "max": k.high, "default": k.default} for k in effect.knobs]
        document["params"] = named
    return document


def facts(source: Source) -> Facts:
    """What the file says of itself; its description is not compared with its tensors. Raises ModelFileError."""
    described, tensors = _parts(source)
    rec, rate = tensors["rec"], said_rate(source.path)
    nothing, layers = np.zeros((0, 0)), sum(key.startswith("weight_hh_l") for key in rec)
    inner, outer = (rec.get(f"weight_{part}_l0", nothing) for part in ("hh", "ih"))
    cell = {4: "LSTM", 3: "GRU"}.get(len(inner) / inner.shape[1]) if inner.ndim == 2 and inner.size else None
    inputs = outer.shape[1] if outer.ndim == 2 else 0
    if cell is None or not inputs:
        raise ModelFileError(f"{source.name}: state_dict holds no LSTM or GRU; {REMEDY}")
    notes = [] if rate else [f"its sample rate is not in the file: {USUAL_RATE} Hz, as GuitarML's plug-ins have it"]
    notes += [] if _flag(source.name, described, "skip", default=1) else ["the dry signal is not added"]
    return Facts(
        f"{cell} {layers}x{inner.shape[1]}",
        rate,
        tuple(knob.name for knob in _knobs(source) or default_knobs(inputs)),
        parameters=sum(array.size for part in tensors.values() for array in part.values()),
        notes=tuple(notes),
    )


def _parts(source: Source) -> tuple[dict, dict[str, dict[str, np.ndarray]]]:
    """The description, and the tensors of `rec` and of `lin`."""
    name = source.name
    described, tensors = (source.document[key] for key in ("model_data", "state_dict"))
    for field, value in (("model_data", described), ("state_dict", tensors)):
        if not isinstance(value, dict):
            raise ModelFileError(f"{name}: {field} is {shown(value)}, must be an object; {REMEDY}")
    _kind(name, described)
    arrays = {key: tensor(value, name, f"state_dict.{key}") for key, value in tensors.items()}
    strange = [key for key in arrays if not key.startswith("rec.") and key not in ("lin.weight", "lin.bias")]
    if strange:
        raise ModelFileError(f"{name}: state_dict has {shown(strange[0])}, which no SimpleRNN has; {REMEDY}")
    if "lin.weight" not in arrays:
        raise ModelFileError(f"{name}: state_dict has no lin.weight; {REMEDY}")
    parts: dict[str, dict[str, np.ndarray]] = {"rec": {}, "lin": {}}
    for key, array in arrays.items():
        if array.size and np.abs(array).max() > LARGEST:  # two biases are added
            raise ModelFileError(f"{name}: state_dict.{key} holds a number above {LARGEST:g}; {REMEDY}")
        part, _, tensor_name = key.partition(".")
        parts[part][tensor_name] = array
    return described, parts


def rate_of(path: Path, usual: int = USUAL_RATE) -> int:
    """The rate of a capture that does not say it: `usual` Hz, unless its name says another."""
    return said_rate(path) or usual


def said_rate(path: Path) -> int | None:
    """The rate in Hz that a file's name tells, or None.

    `..._48k_...`, `...44.1 kHz...` and `...96000...` are understood; NeuralSeed (48000 Hz) also as the folder's name.
    """
    name = path.stem.lower()
    said = re.search(r"(?<![\d.])(44[._]1|48|88[._]2|96|176[._]4|192)[ _-]?k(?:hz)?(?![a-z0-9])", name)
    if said:
        return RATES[said[1].replace("_", ".")]
    said = re.search(r"(?<!\d)(44100|48000|88200|96000|176400|192000)(?!\d)", name)
    if said:
        return int(said[1])
    return 48000 if re.search(r"neural[ _-]?seed", f"{path.parent.name.lower()}/{name}") else None


def _kind(name, described):
    """Refuse by name what is no SimpleRNN of LSTM or GRU cells."""
    model = described.get("model", "SimpleRNN")
    if model != "SimpleRNN":
        raise ModelFileError(f"{name}: model_data.model is {shown(model)}; only SimpleRNN networks are read")
    unit = described.get("unit_type")
    if "unit_type" in described and unit not in ("LSTM", "GRU"):
        raise ModelFileError(f"{name}: model_data.unit_type is {shown(unit)}; only cells LSTM and GRU are read")


def _flag(name, described, field, default):
    value = described.get(field, default)
    if type(value) not in (bool, int) or value not in (0, 1):
        raise ModelFileError(f"{name}: model_data.{field} is {shown(value)}, must be 0 or 1; {REMEDY}")
    return bool(value)


def _agree(name, described, network):
    """Refuse a description that says something else than the tensors."""
    settings = network.settings
    said = {
        "unit_type": type(network).__name__,
        "input_size": settings.inputs,
        "output_size": 1,
        "num_layers": settings.layers,
        "hidden_size": settings.hidden,
    }
    for field, true in said.items():
        value = described.get(field, true)
        if type(value) is not type(true) or value != true:
            what = f"model_data.{field} is {shown(value)}, but the tensors say {true!r}"
            raise ModelFileError(f"{name}: {what}; {REMEDY}")
    if _flag(name, described, "bias_fl", default=settings.bias) != settings.bias:
        there = "there is" if settings.bias else "there is no"
        raise ModelFileError(f"{name}: model_data.bias_fl is {not settings.bias}, but {there} lin.bias; {REMEDY}")


def _knobs(source):
    """The knobs that the file names, or None where it names none."""
    name, described = source.name, source.document["model_data"]
    for where, holder in (("", source.document), ("model_data.", described)):
        for key in ("knobs", "params"):
            found = holder.get(key)
            if isinstance(found, list) and found and all(_named(item) for item in found):
                knobs = tuple(_knob(item, name, f"{where}{key}") for item in found)
                if len({knob.name for knob in knobs}) < len(knobs):
                    raise ModelFileError(f"{name}: {where}{key} names a knob twice; give each its own name")
                return knobs
    return None


def _named(item):
    return isinstance(item.get("name") if isinstance(item, dict) else item, str)


def _knob(item, name, field):
    item = item if isinstance(item, dict) else {"name": item}
    low, high = item.get("min", 0.0), item.get("max", 1.0)
    try:
        default = item.get("default", (low + high) / 2)
        if not item["name"].strip() or not all(type(v) in (int, float) and abs(v) < 1e9 for v in (low, high, default)):
            raise TypeError
        return Knob(item["name"].strip()[:40], "", float(low), float(high), float(default))
    except (TypeError, ValueError) as error:
        what = f"{field}: knob {shown(item['name'])} has no sound name, min, max and default"
        raise ModelFileError(f"{name}: {what}; {REMEDY}") from error
