"""The envelope of a NAM model: its version, architecture, rate, metadata, and the models within it.

What the `config` of an architecture means is read by `nam` and `nam_wavenet`. Source: NeuralAmpModelerCore (nam_file,
get_dsp, container) and the documents of its trainer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import HIGHEST_RATE, LOWEST_RATE, ModelFileError, shown, tensor

ARCHITECTURES = ("Linear", "ConvNet", "LSTM", "WaveNet", "SlimmableContainer", "Sequential")
PARAMETRIC = ("ConcatLSTM", "ConcatWaveNet")  # of the parametric fork
OLDEST, NEWEST = (0, 5, 0), (0, 7, 0)
LEGACY = (0, 4, 0)  # the folder and zip of NAM 0.4
FORK = (1, 0, 0)  # the parametric fork's own count
MOST_WEIGHTS = 2**20
DEEPEST, MOST_MODELS = 4, 16  # models within models, and side by side
REMEDY = "the file is damaged or was edited; export it again"


@dataclass(frozen=True)
class Model:
    """One model of a file, its envelope looked at; `name` is how error messages call it."""

    name: str
    version: tuple[int, int, int]
    architecture: str
    config: dict
    stored: Any  # the weights as they came: a list, or an array that another reader made
    rate: int | None
    metadata: dict
    ours: dict  # what `nam.write` leaves for `nam.read`
    depth: int = 0

    def refuse(self, what: str, remedy: str = REMEDY) -> ModelFileError:
        return ModelFileError(f"{self.name}: {what}; {remedy}")

    def count(self, wanted: int) -> None:
        """Refuse another number of weights."""
        if len(self.stored) != wanted:
            there = f"{len(self.stored)} weights, but its config wants"
            raise self.refuse(f"{self.architecture} of {there} {shown(wanted)}")

    def weights(self, wanted: int | None = None) -> np.ndarray:
        """The flat weights; raises ModelFileError where they are not `wanted` finite numbers."""
        if wanted is not None:
            self.count(wanted)
        flat = tensor(self.stored, self.name, "weights") if isinstance(self.stored, list) else self.stored
        if flat.ndim != 1 or not np.isfinite(flat).all():
            raise self.refuse("weights must be one list of finite numbers")
        return flat.astype(np.float32)

    def cutter(self, wanted: int) -> Callable[..., np.ndarray]:
        """Cuts the next tensor of a shape off the flat weights, of which there are `wanted`."""
        rest = self.weights(wanted)

        def take(*shape: int) -> np.ndarray:
            nonlocal rest
            size = math.prod(shape)
            part, rest = rest[:size], rest[size:]
            return part.reshape(shape)

        return take

    def whole(self, field: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number of the config; required where there is no default."""
        value = self.config.get(field, default)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(f"config.{field} = {shown(value)}, must be a whole number of {low} to {high}")
        return value

    def flag(self, field: str, default: bool | None = None) -> bool:
        value = self.config.get(field, default)
        if not isinstance(value, bool):
            raise self.refuse(f"config.{field} = {shown(value)}, must be true or false")
        return value

    def mono(self) -> None:
        """Refuse what has several channels."""
        for field in ("in_channels", "out_channels"):
            self.whole(field, 1, 1, default=1)

    def inner(self, holder: Any, where: str) -> Model:
        """A model within this one, at this one's rate where it does not say its own."""
        if self.depth == DEEPEST:
            raise self.refuse(f"models are nested more than {DEEPEST} deep")
        model = envelope(f"{self.name}: {where}", holder, depth=self.depth + 1)
        return replace(model, rate=self.rate if model.rate is None else model.rate)


def envelope(name: str, document: Any, *, oldest: tuple[int, int, int] = OLDEST, depth: int = 0) -> Model:
    """A model's own fields, looked at; what they mean for its architecture is not. Raises ModelFileError."""
    kinds = {"version": str, "architecture": str, "config": dict, "weights": (list, np.ndarray)}
    if not isinstance(document, dict):
        raise ModelFileError(f"{name}: a model is {shown(document)}, must be an object; {REMEDY}")
    for field, kind in kinds.items():
        if not isinstance(document.get(field), kind):
            must = "a text" if kind is str else "an object" if kind is dict else "a list of numbers"
            there = shown(document[field]) if field in document else "missing"
            raise ModelFileError(f"{name}: {field} is {there}, must be {must}; {REMEDY}")
    architecture, weights = document["architecture"], document["weights"]
    if architecture not in ARCHITECTURES + PARAMETRIC:
        raise ModelFileError(f"{name}: architecture {shown(architecture)} is not read; {_unread(architecture)}")
    if len(weights) > MOST_WEIGHTS:
        too = f"more than {MOST_WEIGHTS}: no network of that size plays in real time"
        raise ModelFileError(f"{name}: {len(weights)} weights are {too}")
    version = _version(name, document["version"], oldest, FORK if architecture in PARAMETRIC else NEWEST)
    rate = _rate(name, document.get("sample_rate"))
    metadata, ours = (found if isinstance(found := document.get(key), dict) else {} for key in ("metadata", "nafx"))
    return Model(name, version, architecture, document["config"], weights, rate, metadata, ours, depth)


def _unread(architecture: str) -> str:
    if architecture == "HyperWaveNet":
        return "bake it to a WaveNet with the tool of its trainer"
    return f"these are: {', '.join(ARCHITECTURES + PARAMETRIC)}"


def _version(name, text, oldest, newest) -> tuple[int, int, int]:
    """The version of a file; newer patches of the newest minor version are read, they change nothing that is played."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){2}", text):
        raise ModelFileError(f"{name}: version = {shown(text)}, must be like 0.5.4; {REMEDY}")
    major, minor, patch = map(int, text.split("."))
    if (major, minor, patch) < oldest:
        limit = ".".join(map(str, oldest))
        raise ModelFileError(f"{name}: format {text} is older than {limit}; export it again with a newer NAM trainer")
    if (major, minor) > newest[:2]:
        limit = f"is newer than {newest[0]}.{newest[1]}.x, which this version reads"
        raise ModelFileError(f"{name}: format {text} {limit}; re-export it or update nafx-rack")
    return major, minor, patch


def _rate(name, value) -> int | None:
    if value is None or (type(value) in (int, float) and value == -1):  # NAM's own sign for unknown
        return None
    if type(value) not in (int, float) or not LOWEST_RATE <= value <= HIGHEST_RATE:
        must = f"must be {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        raise ModelFileError(f"{name}: sample_rate = {shown(value)}, {must}; {REMEDY}")
    return round(value)


def submodels(model: Model) -> list[tuple[float, Model]]:
    """The sizes of a container, and its models."""
    found = model.config.get("submodels")
    if not isinstance(found, list) or not 0 < len(found) <= MOST_MODELS:
        raise model.refuse(f"config.submodels is {shown(found)}, must be a list of 1 to {MOST_MODELS}")
    sizes, models = [], []
    for i, item in enumerate(found):
        size = item.get("max_value") if isinstance(item, dict) else None
        if not isinstance(size, int | float) or not (sizes[-1] if sizes else -math.inf) < size < math.inf:
            raise model.refuse(f"submodels[{i}].max_value = {shown(size)}, must be a number above the one before")
        sizes.append(float(size))
        models.append(model.inner(item.get("model"), f"submodels[{i}]"))
    if sizes[-1] < 1:
        raise model.refuse(f"the last submodel goes to {sizes[-1]:g}, must be 1 or more")
    return list(zip(sizes, models, strict=True))


def parts(model: Model) -> list[Model]:
    """The models of a Sequential, in order. Raises ModelFileError."""
    found = model.config.get("models")
    if not isinstance(found, list) or not 0 < len(found) <= MOST_MODELS:
        raise model.refuse(f"config.models is {shown(found)}, must be a list of 1 to {MOST_MODELS}")
    return [model.inner(item, f"models[{i}]") for i, item in enumerate(found)]
