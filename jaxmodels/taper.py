"""Tapers: curves by which a network hears its knobs, learned with its weights.

A potentiometer's taper says how its resistance follows the turn; this one, how what the network hears does. An effect
that follows its knob up and down again needs no bent gates then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from .effect import Knob, knob_values

MOST_POINTS = 1000


class Taper(NamedTuple):
    """The curve by which a network hears a knob: lines between N points. Beyond the first and the last it stands."""

    places: Float[Array | np.ndarray, " N"]  # positions of the knob, rising
    heard: Float[Array | np.ndarray, " N"]


def check(counts: Sequence[int], knobs: Sequence[Knob]) -> None:
    """Raise ValueError unless there are numbers of points for every knob (0: a straight line), or none at all."""
    if counts and (len(counts) != len(knobs) or not all(type(n) is int and 0 <= n <= MOST_POINTS for n in counts)):
        what = f"must be numbers of 0 to {MOST_POINTS}, one for each of {len(knobs)} knobs, or none at all"
        raise ValueError(f"a network with taper = {list(counts)}: {what}")


def variables(counts: Sequence[int], knobs: Sequence[Knob], given: Mapping[int, Taper]) -> nnx.Dict:
    """The curves, by the number of their knob; evenly spaced points on straight lines where none are given.

    Raises ValueError where a given one has another number of points.
    """
    found = {}
    for k, points in enumerate(counts):
        if points:
            even = np.linspace(0, 1, points, dtype=np.float32)
            places, heights = given.get(k) or Taper(even, knobs[k].value(even))
            if not np.shape(places) == np.shape(heights) == (points,):
                shapes = list(np.shape(places)), list(np.shape(heights))
                raise ValueError(f"taper of knob {k} has shapes {shapes[0]} and {shapes[1]}, must be {[points]} twice")
            places, heights = jnp.asarray(places, jnp.float32), jnp.asarray(heights, jnp.float32)
            found[str(k)] = nnx.Dict(places=nnx.Variable(places), heard=nnx.Param(heights))
    return nnx.Dict(found)


def heard(network, positions: Float[Array, "... K"]) -> Float[Array, "... K"]:
    """What a network with `knobs` and `tapers` hears of them: their values, or what the tapers make of them."""
    found = knob_values(network.knobs, positions)
    for k, curve in network.tapers.items():
        bent = jnp.interp(positions[..., int(k)], curve["places"][...], curve["heard"][...])
        found = found.at[..., int(k)].set(bent)
    return found
