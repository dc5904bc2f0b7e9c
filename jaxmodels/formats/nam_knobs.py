"""Knobs of NAM's parametric fork: what a file says of them, and how a network is told where they stand.

A continuous knob is one input, -1 at its minimum and 1 at its maximum; a switch is one input for each position, 1 at
the chosen one and 0 elsewhere. Source: phillipmself/neural-amp-modeler-parametric.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ..effect import Effect, Knob, Knobs, default_positions
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
    if not low < high or not low <= default <= high:
        said = f"min {low:g}, default {default:g}, max {high:g}"
        raise ModelFileError(f"{name}: {where} has {said}, which must rise; {REMEDY}")
    return Knob(title, "", float(low), float(high), float(default), labels=tuple(label[:40] for label in labels))


def encoded_knobs(knobs: tuple[Knob, ...]) -> tuple[Knob, ...]:
    """One knob for each input that `encode` makes; its value is what the network hears."""
    inputs = []
    for knob in knobs:
        at = knob.position(knob.default)
        if knob.labels:
            chosen = round(at * (len(knob.labels) - 1))
            names = enumerate(knob.labels)
            inputs += [Knob(f"{knob.name} {label}", "", 0.0, 1.0, float(i == chosen)) for i, label in names]
        else:
            inputs.append(Knob(knob.name, "", -1.0, 1.0, 2 * at - 1))
    return tuple(inputs)


def encode(knobs: tuple[Knob, ...], positions: Knobs) -> Float[Array, "T E"]:
    """Positions of the inputs that positions of the knobs mean; a switch on its way is both its neighbours in part."""
    columns = []
    for k, knob in enumerate(knobs):
        at = positions[:, k : k + 1]
        if knob.labels:
            places = jnp.arange(len(knob.labels), dtype=jnp.float32)[None, :]
            at = jnp.maximum(0.0, 1.0 - jnp.abs(at * (len(knob.labels) - 1) - places))
        columns.append(at)
    return jnp.concatenate(columns, axis=1)


class Encoded(nnx.Module):
    """A box that is turned by the knobs of the file, while its own knobs are the inputs of the network."""

    def __init__(self, box: Effect, knobs: tuple[Knob, ...]):
        self.box, self.knobs = nnx.data(box), knobs
        self.settings, self.channels, self.sample_rate = box.settings, box.channels, box.sample_rate
        self.latency, self.receptive_field = box.latency, box.receptive_field
        self.unroll = getattr(box, "unroll", False)

    def initial_state(self, knobs=None):
        at = default_positions(self) if knobs is None else knobs
        return self.box.initial_state(encode(self.knobs, jnp.asarray(at)[None, :])[0])

    def step(self, state, x, knobs):
        return self.box.step(state, x, encode(self.knobs, knobs))
