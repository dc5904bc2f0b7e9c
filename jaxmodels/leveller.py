"""Keeps a processed signal as loud as the signal it was made from, free of DC, and below full scale.

What makes it possible to turn on a box that nobody has heard before. Loudness is followed with a K-weighting made of
one-pole filters (the shape of ITU-R BS.1770 within 1 dB above 50 Hz), over the same window on both sides: the gain
between the two is right as soon as there is a signal, and stands still when there is none. Every recursion here is a
one-pole low-pass, run a sample at a time.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .effect import Block

FOLLOW_S = 0.3  # time constant of the loudness followers
GLIDE_S = 0.03  # time constant of the gain
DC_CUTOFF_HZ = 10.0  # twice: before the gain is found, and after the ceiling
RUMBLE_HZ = 50.0  # K-weighting: nothing below counts
SHELF_HZ = 2000.0  # K-weighting: what is above counts 4 dB more
SHELF_GAIN = 10 ** (4 / 20) - 1
QUIET = 1e-10  # power below which nothing is matched
LARGEST_BOOST_DB = 36.0
LARGEST_CUT_DB = 80.0
KNEE, CEILING = 0.6, 0.95  # amplitudes up to which the signal is untouched, and which it never reaches

State = dict[str, Array]


def one_pole(
    before: Float[Array, " N"], x: Float[Array, "T N"], coefficient: float
) -> tuple[Float[Array, "T N"], Float[Array, " N"]]:
    """A first-order low-pass of N signals, `y += coefficient * (x - y)`: all outputs, and the state after them."""

    def one(y, x):
        y = y + coefficient * (x - y)
        return y, y

    after, y = lax.scan(one, before, x)
    return y, after


def soft_ceiling(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """The signal itself up to KNEE; from there it bends smoothly towards CEILING, which it never reaches."""
    inside = jnp.clip(x, -KNEE, KNEE)
    room = CEILING - KNEE
    return inside + room * jnp.tanh((x - inside) / room)


def start(channels: int) -> State:
    """The state after endless silence."""
    one, two = jnp.zeros(channels), jnp.zeros(2 * channels)
    return {"dc": one, "rumble": two, "shelf": two, "power": two, "log_gain": one, "dc_after": one}


def match(state: State, dry: Block, wet: Block, leak: float, volume, rate: int, follow_s: float = FOLLOW_S):
    """`wet` as loud as `dry`, times `volume`: `(block, state)`.

    leak      how much of `dry` is always mixed in: what is heard where the box itself gives nothing
    volume    a factor of the matched signal, `[T, 1]`
    follow_s  seconds of past that are compared; must not be shorter than what the box smears the signal over
    """
    state = dict(state)
    channels = dry.shape[1]

    def lowpass(name, x, coefficient):
        y, state[name] = one_pole(state[name], x, coefficient)
        return y

    wet = wet - lowpass("dc", wet, _per_hz(DC_CUTOFF_HZ, rate)) + leak * dry
    both = jnp.concatenate([dry, wet], axis=1)
    both = both - lowpass("rumble", both, _per_hz(RUMBLE_HZ, rate))
    both = both + SHELF_GAIN * (both - lowpass("shelf", both, _per_hz(SHELF_HZ, rate)))
    power = lowpass("power", both * both, _per_s(follow_s, rate)) + QUIET
    log_gain = 0.5 * jnp.log(power[:, :channels] / power[:, channels:])
    log_gain = jnp.clip(log_gain, -_log(LARGEST_CUT_DB), _log(LARGEST_BOOST_DB))
    y = soft_ceiling(volume * wet * jnp.exp(lowpass("log_gain", log_gain, _per_s(GLIDE_S, rate))))
    y = y - lowpass("dc_after", y, _per_hz(DC_CUTOFF_HZ, rate))
    return jnp.clip(y, -1.0, 1.0), state


def weighting(frequency_hz):
    """The followers' gain on power at these frequencies: the same filters, ideal."""
    f2 = frequency_hz**2
    return f2 / (f2 + RUMBLE_HZ**2) * (f2 * (1 + SHELF_GAIN) ** 2 + SHELF_HZ**2) / (f2 + SHELF_HZ**2)


def _per_hz(cutoff_hz: float, rate: int) -> float:
    return 1 - math.exp(-2 * math.pi * cutoff_hz / rate)


def _per_s(seconds: float, rate: int) -> float:
    return 1 - math.exp(-1 / (seconds * rate))


def _log(db: float) -> float:
    return db / 20 * math.log(10)
