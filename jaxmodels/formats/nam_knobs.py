"""Knobs of NAM's parametric fork: what a file says of them, and how a network is told where they stand.

A continuous knob is one input, -1 at its minimum and 1 at its maximum; a switch is one input for each position, 1 at
the chosen one and 0 elsewhere. Source: phillipmself/neural-amp-modeler-parametric.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from ..effect import Effect, Knob
from ..wavenet import encode
from . import ModelFileError, shown

MOST_KNOBS, MOST_POSITIONS = 16, 16
REMEDY = "export it again with its parameters described"


def read_knobs(name: str, params: Any) -> tuple[Knob, ...]:
    """The knobs that `config.params` describes; raises ModelFileError."""
    if not isinstance(params, list) or not 0 < len(params) <= MOST_KNOBS:
        must = f"must be a list of 1 to {MOST_KNOBS} objects"
        raise ModelFileError(f"{name}: config.params is {shown(params)}, {must}; {REMEDY}")
    knobs = tuple(_knob(name, f"config.params[{i}]", item) for i, item in enumerate(params))
    if len({knob.name for knob in knobs}) < len(knobs):
        raise ModelFileError(f"{name}: config.params names a knob twice; give each its own name")
    return knobs


def _knob(name: str, where: str, item: Any) -> Knob:
    item = item if isinstance(item, dict) else {}
    title, labels = item.get("name"), item.get("enum_names")
    if not isinstance(title, str) or not title.strip():
        raise ModelFileError(f"{name}: {where}.name = {shown(title)}, must be a text; {REMEDY}")
    title = title.strip()[:40]
    kind = item.get("type") or "continuous"
    if kind == "switch":
        good = isinstance(labels, list) and 2 <= len(labels) <= MOST_POSITIONS
        if not good or not all(isinstance(label, str) for label in labels):
            must = f"must be 2 to {MOST_POSITIONS} texts"
            raise ModelFileError(f"{name}: {where}.enum_names is {shown(labels)}, {must}; {REMEDY}")
        low, high, default = 0.0, len(labels) - 1.0, item.get("default", 0)
        default = labels.index(default) if default in labels else default
    elif kind == "continuous":
        labels, (low, high) = (), (item.get(key) for key in ("min", "max"))
        default = item.get("default", low)
    else:
        raise ModelFileError(f"{name}: {where}.type = {shown(kind)}, must be continuous or switch; {REMEDY}")
    for field, value in {"min": low, "max": high, "default": default}.items():
        if type(value) not in (int, float) or not abs(value) < 1e9:
            raise ModelFileError(f"{name}: {where}.{field} = {shown(value)}, must be a number; {REMEDY}")
    encoding = (item.get("normalized_min", -1), item.get("normalized_max", 1))
    if kind == "continuous" and encoding != (-1, 1):
        what = f"{where} is encoded from {shown(encoding[0])} to {shown(encoding[1])}"
        raise ModelFileError(f"{name}: {what}; only -1 to 1 is read")
    if not low < high or not low <= default <= high:
        said = f"min {low:g}, default {default:g}, max {high:g}"
        raise ModelFileError(f"{name}: {where} has {said}, which must rise; {REMEDY}")
    return Knob(title, "", float(low), float(high), float(default), labels=tuple(label[:40] for label in labels))


def inputs_of(knobs: tuple[Knob, ...]) -> tuple[Knob, ...]:
    """A knob for each input that the knobs are encoded as, -1 to 1, where the file's own defaults put it."""
    names = [f"{knob.name} {label}".strip() for knob in knobs for label in knob.labels or ("",)]
    at = encode(knobs, jnp.array([[knob.position(knob.default) for knob in knobs]], jnp.float32))
    return tuple(Knob(name, "", -1.0, 1.0, float(value)) for name, value in zip(names, at[0], strict=True))


class Encoded(nnx.Module):
    """A network whose own knobs are inputs, turned by the knobs of its file."""

    def __init__(self, box: Effect, knobs: tuple[Knob, ...]):
        self.box, self.knobs = nnx.data(box), knobs
        self.settings, self.channels, self.sample_rate = box.settings, box.channels, box.sample_rate
        self.latency, self.receptive_field = box.latency, box.receptive_field
        self.unroll = getattr(box, "unroll", False)

    def initial_state(self, knobs=None):
        return self.box.initial_state(None if knobs is None else self._inputs(jnp.asarray(knobs)[None, :])[0])

    def step(self, state, x, knobs):
        return self.box.step(state, x, self._inputs(knobs))

    def _inputs(self, knobs):
        return 0.5 * encode(self.knobs, knobs) + 0.5
