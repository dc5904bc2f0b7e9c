"""Steered networks that are as loud anywhere on the plane of their controls as in its middle, and free of DC.

Steering trains a network with its controls at 0 and leaves to chance what they do elsewhere (Steinmetz and Reiss,
"Steerable discovery of neural audio effects", 2021): a published compressor is fifty times louder in one corner than
in the middle, with DC to match. Here its loudness is measured on a grid of the controls, and what it has too much or
too little there is made up for. The sound of the middle is not touched.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from .convolution import num_parameters
from .dsp.filter import DCBlock
from .effect import Effect, Knobs, State, default_positions, hold, one_step, when_moving
from .levels import TEST_RATE, guitar_signal, loudest, power_db, weighted_power
from .tcn import SteerableTCN, control_knobs

FINE = tuple(map(float, range(-5, 6)))  # a control's values that are measured
COARSE = (-5.0, -3.0, -1.0, 0.0, 1.0, 3.0, 5.0)  # the same for a network that is LARGE
AXES = {len(axis): axis for axis in (FINE, COARSE)}
LARGE = 10_000  # parameters
MOST_CONTROLS = 2  # of a network that is measured: with more, the grid would take too long
HEARD_S = 0.4  # of a guitar, going round
LARGEST_CUT_DB, LARGEST_BOOST_DB = -80.0, 24.0
RISE_S = 0.05  # time constant of a gain that rises; one that falls is there with the knobs, before it gets louder
DC_CUTOFF_HZ = 10.0  # of two filters: a loud corner rectifies, so that its DC follows the playing


def steered(effect: Effect) -> TypeGuard[SteerableTCN]:
    """Whether a network has controls that nobody has calibrated, and not too many of them."""
    is_tcn = isinstance(effect, SteerableTCN) and effect.knobs == control_knobs(len(effect.knobs))
    return is_tcn and len(effect.knobs) <= MOST_CONTROLS


def makeup_db(net: SteerableTCN) -> Float[np.ndarray, "*N"]:
    """What a network's loudness lacks, over an axis of AXES for each control, of what it is in the middle: 0 there."""
    rate, axis = net.sample_rate or TEST_RATE, COARSE if num_parameters(net) > LARGE else FINE
    x, places = _phrase(rate), [net.knobs[0].position(value) for value in axis]
    shape = (len(axis),) * len(net.knobs)
    rows = np.array([[places[i] for i in cell] for cell in np.ndindex(shape)], np.float32)
    heard = [np.asarray(_once_round(net, x, row)) for row in rows]  # no loop of JAX's: the workshop's are not quick
    loud = np.array([power_db(weighted_power(np.nan_to_num(y), rate)) for y in heard]).reshape(shape)
    middle = loud[(len(axis) // 2,) * len(shape)]
    return np.clip(middle - loud, LARGEST_CUT_DB, LARGEST_BOOST_DB)


def _phrase(rate: int) -> Float[np.ndarray, " T"]:
    """The loudest stretch of a guitar."""
    guitar, size = guitar_signal(rate), int(HEARD_S * rate)
    first = loudest(guitar, size)
    return guitar[first : first + size]


@jax.jit
def _once_round(net, x, row):
    return net.once_round(x, row)


class EvenedState(NamedTuple):
    """The network's own state, that of both DC blocks, and the gain as it stands, in nepers."""

    inner: State
    dc: tuple[Float[Array, "2 1"], Float[Array, "2 1"]]
    gain: Float[Array, " 1"]


class Evened(nnx.Module):
    """A steered network, two DC blocks behind it, and a gain that its controls look up. Mono.

    `makeup` is `makeup_db` of the network. It is numbers among the weights, as many for every network of the same
    settings: the checkpoints of a training share a program.
    """

    channels, latency, receptive_field = 1, 0, None

    def __init__(self, net: SteerableTCN, makeup: Float[np.ndarray, "*N"]):
        self.net = nnx.data(net)
        self.knobs, self.settings, self.sample_rate = net.knobs, net.settings, net.sample_rate
        self.rate = net.sample_rate or TEST_RATE
        self.block = nnx.data(DCBlock(sample_rate=self.rate))
        self.makeup = nnx.Variable(jnp.asarray(makeup / 20 * math.log(10), jnp.float32))

    def _gain(self, knobs: Knobs) -> Float[Array, "T 1"]:
        """The gain, in nepers, linear between the points of the grid."""
        found = self.makeup[...][None]
        for i, knob in enumerate(self.knobs):
            shares = _shares(knob.value(knobs[:, i : i + 1]), AXES[len(self.makeup[...])])
            found = jnp.sum(shares.reshape(*shares.shape, *[1] * (found.ndim - 2)) * found, axis=1)
        return found[:, None]

    def initial_state(self, knobs=None):
        row = jnp.asarray(default_positions(self) if knobs is None else knobs, jnp.float32)
        inner = self.net.initial_state(row)
        said, _ = one_step(self.net, inner, jnp.zeros((1, 1)), hold(row, 1))
        dc = jnp.concatenate([said, jnp.zeros((1, 1))]), jnp.zeros((2, 1))
        return EvenedState(inner, dc, self._gain(row[None])[0])

    def step(self, state, x, knobs):
        y, inner = self.net.step(state.inner, x, knobs)
        cutoff = self.block.knobs[0].position(DC_CUTOFF_HZ)
        cutoff = jnp.full((len(x), 1), cutoff, jnp.float32)
        y, first = self.block.step(state.dc[0], y, cutoff)
        y, second = self.block.step(state.dc[1], y, cutoff)
        wanted = jnp.broadcast_to(when_moving(self._gain, knobs), (len(x), 1))
        rise = 1 - math.exp(-1 / (RISE_S * self.rate))

        def one(gain, wanted):
            gain = jnp.minimum(wanted, gain + rise * (wanted - gain))
            return gain, gain

        last, gain = lax.scan(one, state.gain, wanted)
        return y * jnp.exp(gain), EvenedState(inner, (first, second), last)


def _shares(value: Float[Array, "T 1"], axis: tuple[float, ...]) -> Float[Array, "T N"]:
    """How much of each point of an axis there is in a value between two of them: 1 in all, and of one alone on it."""
    points = np.asarray(axis, np.float32)[None]
    through = jnp.clip((value - points[:, :-1]) / np.diff(points), 0.0, 1.0)
    edges = jnp.ones_like(value), jnp.zeros_like(value)
    return jnp.concatenate([edges[0], through], axis=1) - jnp.concatenate([through, edges[1]], axis=1)
