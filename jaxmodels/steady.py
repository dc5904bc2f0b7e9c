"""A network without what is constant in its output.

A steered network is silent in silence only as far as it has learned to be: at first its output may be little else than
an offset, which a gain behind it would drive to full scale.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from .dsp.filter import high_passed
from .effect import Effect, State, default_positions, hold

CUTOFF_HZ = 10.0


class SteadyState(NamedTuple):
    """The box's own state, and the last sample that came in and went out of the filter, `[2, C]`."""

    inner: State
    last: Float[Array, "2 C"]


class Steady(nnx.Module):
    """A box and behind it a first-order high-pass at 10 Hz, which has settled on what the box says in silence."""

    receptive_field = None

    def __init__(self, effect: Effect, rate: int):
        self.box, self.rate = nnx.data(effect), rate
        self.knobs, self.settings = effect.knobs, effect.settings
        self.channels, self.sample_rate, self.latency = effect.channels, effect.sample_rate, effect.latency

    def initial_state(self, knobs=None):
        knobs = jnp.asarray(default_positions(self.box) if knobs is None else knobs, jnp.float32)
        inner = self.box.initial_state(knobs)
        rest = _step(self.box, inner, jnp.zeros((1, self.channels)), hold(knobs, 1))[0]
        return SteadyState(inner, jnp.concatenate([rest, jnp.zeros_like(rest)]))

    def step(self, state, x, knobs):
        y, inner = self.box.step(state.inner, x, knobs)
        g = math.tan(math.pi * CUTOFF_HZ / self.rate)
        rows = jnp.broadcast_to(jnp.asarray([1 / (1 + g), (1 - g) / (1 + g)], jnp.float32), (len(y), 2))
        y, last = high_passed(state.last, y, rows)
        return y, SteadyState(inner, last)


@jax.jit
def _step(box, state, x, knobs):
    return box.step(state, x, knobs)
