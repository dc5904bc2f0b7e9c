"""The SuperKnob's network: one knob or two drive any set of knobs, by an MLP of 16 tanh units.

It runs at control rate and is fitted to a handful of examples, so all that matters is that it passes through them and
stays between them. The idea is the MetaController's of yeeking/ai-enhanced-audio-book; that net has as many hidden
units as outputs and no bound on what comes out.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

INPUTS = 2  # one knob is two of which the second rests at 0
HIDDEN = 16
MARGIN = 0.05  # of the sigmoid's range beyond 0 and 1 at either end: both are reached with finite weights
WIDTH = 3.5  # a unit's slope times the distance between the two examples that it lies between

Numbers = Array | np.ndarray


class Weights(NamedTuple):
    """A mapping as a value; a pytree for JAX, and just arrays for numpy."""

    into: Float[Numbers, "16 2"]
    bias: Float[Numbers, " 16"]
    out: Float[Numbers, "K 16"]
    offset: Float[Numbers, " K"]


def drive(weights: Weights, positions: Float[Numbers, "N 2"]) -> Float[Array, "N K"]:
    """Where the driven knobs stand, 0..1, with the SuperKnob at these positions.

    Beyond the ends by up to the margin: who plays it clips it to what the examples hold, who fits it does not.
    """
    hidden = jnp.tanh(positions @ weights.into.T + weights.bias[None])
    squashed = jax.nn.sigmoid(hidden @ weights.out.T + weights.offset[None])
    return squashed * (1 + 2 * MARGIN) - MARGIN


def initial_weights(positions: Float[np.ndarray, "N D"], targets: int, seed: int = 0) -> Weights:
    """Untrained weights whose hidden units are steps between neighbouring examples; the output layer is zero.

    Neighbours are the ends of the edges of the shortest tree through the examples; with one knob these are the gaps
    between them. A step is as wide as its edge is long, so a mapping made of them neither wiggles between two examples
    nor jumps. Units that are left over are wide steps at random places.
    """
    positions = np.asarray(positions, np.float64)
    rng = np.random.default_rng(seed)
    dimensions = positions.shape[1]
    angles = rng.normal(size=(HIDDEN, dimensions))
    into = np.zeros((HIDDEN, INPUTS))
    into[:, :dimensions] = 3.0 * angles / np.linalg.norm(angles, axis=1, keepdims=True)
    centres = np.zeros((HIDDEN, INPUTS))
    centres[:, :dimensions] = rng.permuted(np.tile((np.arange(HIDDEN)[:, None] + 0.5) / HIDDEN, dimensions), axis=0)
    bias = -(into * centres).sum(axis=1)
    for unit, (a, b) in enumerate(edges(positions)[:HIDDEN]):
        into[unit], bias[unit] = _step(positions[a], positions[b])
    arrays = into, bias, np.zeros((targets, HIDDEN)), np.zeros(targets)
    return Weights(*(np.asarray(array, np.float32) for array in arrays))


def aimed(weights: Weights, positions: Float[np.ndarray, "N D"], missed: Float[np.ndarray, " N"]) -> Weights:
    """The same mapping, nearly, with its idlest units made steps to the neighbours of the examples it misses.

    `missed` is a mask. The outputs of those units are zero again.
    """
    wide = np.pad(np.asarray(positions, np.float64), ((0, 0), (0, INPUTS - positions.shape[1])))
    into, bias, out = (np.array(array, np.float32) for array in weights[:3])
    swing = np.ptp(np.tanh(wide @ into.T + bias), axis=0) * np.abs(out).max(axis=0)
    wanted = [(a, b) for a, b in edges(positions) if missed[a] or missed[b]]
    for unit, (a, b) in zip(np.argsort(swing), wanted, strict=False):
        into[unit], bias[unit] = _step(np.asarray(positions[a]), np.asarray(positions[b]))
        out[:, unit] = 0
    return weights._replace(into=into, bias=bias, out=out)


def _step(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Input weights and bias of a unit that rises from one place to another."""
    way = b - a
    slope = WIDTH * way / max(float(np.linalg.norm(way)), 1e-3) ** 2
    return np.pad(slope, (0, INPUTS - len(way))), float(-slope @ (a + b) / 2)


def edges(positions: Float[np.ndarray, "N D"]) -> list[tuple[int, int]]:
    """The shortest tree through the points (Prim 1957), longest edge first."""
    found: list[tuple[float, int, int]] = []
    if len(positions) > 1:
        distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        nearest, origin = distance[0].copy(), np.zeros(len(positions), int)
        outside = np.ones(len(positions), bool)
        outside[0] = False
        while outside.any():
            new = int(np.flatnonzero(outside)[np.argmin(nearest[outside])])
            found.append((float(nearest[new]), int(origin[new]), new))
            outside[new] = False
            closer = distance[new] < nearest
            nearest, origin = np.where(closer, distance[new], nearest), np.where(closer, new, origin)
    return [(a, b) for _, a, b in sorted(found, key=lambda edge: -edge[0])]
