"""CoreAudioML and GuitarML JSON: Proteus, NeuralPi, Chameleon, TS-M1N3, PrincePedal, NeuralSeed.

`model_data` describes a SimpleRNN, `state_dict` holds its tensors under PyTorch's names. The tensors decide; what the
description says against them is refused. Neither names the knobs nor the sample rate.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..effect import Knob
from ..recurrent import GRU, LSTM, from_torch
from . import ModelFileError, Options, Source, shown, tensor

USUAL_RATE = 44100  # of every GuitarML plugin that is not told otherwise below
RATES = {"44.1": 44100, "48": 48000, "88.2": 88200, "96": 96000, "176.4": 176400, "192": 192000}
REMEDY = "the file is damaged or was edited; export it again"


def sniff(source: Source) -> bool:
    """Whether a file is of this family."""
    return {"model_data", "state_dict"} <= source.keys


def read(source: Source, options: Options = Options()) -> LSTM | GRU:
    """The network of a file, at the rate asked for or the one that its name tells (see `rate_of`).

    Knobs come from a list of names, or of objects with `name`, `min`, `max`, `default`, under `knobs` or `params` where
    the file has one; otherwise they are drive, tone, level. Raises ModelFileError.
    """
    name = source.name
    described, tensors = (source.document[key] for key in ("model_data", "state_dict"))
    for field, value in (("model_data", described), ("state_dict", tensors)):
        if not isinstance(value, dict):
            raise ModelFileError(f"{name}: {field} is {shown(value)}, must be an object; {REMEDY}")
    _kind(name, described)
    arrays = {key: tensor(value, name, f"state_dict.{key}") for key, value in tensors.items()}
    rec = {key.removeprefix("rec."): array for key, array in arrays.items() if key.startswith("rec.")}
    strange = [key for key in arrays if not key.startswith("rec.") and key not in ("lin.weight", "lin.bias")]
    if strange:
        raise ModelFileError(f"{name}: state_dict has {shown(strange[0])}, which no SimpleRNN has; {REMEDY}")
    if "lin.weight" not in arrays:
        raise ModelFileError(f"{name}: state_dict has no lin.weight; {REMEDY}")
    head, head_bias = arrays["lin.weight"], arrays.get("lin.bias")
    skip = _flag(name, described, "skip", default=1)
    knobs = _knobs(source)
    try:
        rate = options.sample_rate or rate_of(source.path)
        network = from_torch(rec, head, head_bias, skip=skip, knobs=knobs, sample_rate=rate)
    except ValueError as error:
        raise ModelFileError(f"{name}: state_dict: {error}; {REMEDY}") from error
    _agree(name, described, network)
    return network


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
