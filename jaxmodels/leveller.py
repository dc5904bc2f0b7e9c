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
FAST = 1 / 15  # how much faster the short comparison is
GLIDE_S = 0.005  # time constant of the gains
SPREAD_DB = 10.0  # how far the gain may be from what the short comparison asks for
DC_CUTOFF_HZ, LAST_DC_CUTOFF_HZ = 10.0, 20.0  # before the gain is found, and after the ceiling
RUMBLE_HZ = 50.0  # K-weighting: nothing below counts
SHELF_HZ = 2000.0  # K-weighting: what is above counts 4 dB more
SHELF_GAIN = 10 ** (4 / 20) - 1
QUIET = 1e-10  # power below which nothing is matched
LARGEST_CUT_DB, LARGEST_BOOST_DB = -80.0, 24.0
LARGEST_TRIM_DB = 12.0  # of the second comparison
CREST_DB = 14.0  # how far a peak may stand out above the dry signal, the louder of its power and its present value
CEILING, KNEE = 0.95, 0.6  # the amplitude never reached; the part of it up to which the signal is untouched

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


def bend(x: Float[Array, "*S"], top) -> Float[Array, "*S"]:
    """The signal itself up to KNEE of `top`; from there it bends smoothly towards `top`, which it never reaches."""
    knee = KNEE * top
    inside = jnp.clip(x, -knee, knee)
    return inside + (top - knee) * jnp.tanh((x - inside) / (top - knee))


def start(channels: int) -> State:
    """The state after endless silence."""
    names = {"dc": 1, "rumble": 2, "shelf": 2, "power": 2, "fast_power": 2, "gain": 1}
    again = {"rumble_again": 1, "shelf_again": 1, "power_again": 1, "trim": 1, "dc_after": 1}
    return {name: jnp.zeros(signals * channels) for name, signals in (names | again).items()}


def match(state: State, dry: Block, wet: Block, leak: float, volume, rate: int, follow_s: float = FOLLOW_S):
    """`wet` as loud as `dry`, times `volume`: `(block, state)`.

    leak      how much of `dry` is always mixed in: what is heard where the box itself gives nothing
    volume    a factor of the matched signal, `[T, 1]`
    follow_s  seconds of past that are compared; must not be shorter than what the box smears the signal over

    The gain follows the long comparison, but strays no further than SPREAD_DB from a short one: a box that only wakes
    up on the loudest notes would else burst out of the gain that its silence had called for. Spikes that the ceiling
    bends still cost loudness, so the result is compared again.
    """
    state = dict(state)
    channels = dry.shape[1]

    def lowpass(name, x, coefficient):
        y, state[name] = one_pole(state[name], x, coefficient)
        return y

    def weighted(x, again=""):
        x = x - lowpass("rumble" + again, x, _per_hz(RUMBLE_HZ, rate))
        return x + SHELF_GAIN * (x - lowpass("shelf" + again, x, _per_hz(SHELF_HZ, rate)))

    def log_ratio(powers):
        return 0.5 * jnp.log((powers[:, :channels] + QUIET) / (powers[:, channels:] + QUIET))

    def glide(name, log_gain):
        return jnp.exp(lowpass(name, log_gain, _per_s(GLIDE_S, rate)))

    wet = wet - lowpass("dc", wet, _per_hz(DC_CUTOFF_HZ, rate)) + leak * dry
    squared = jnp.square(weighted(jnp.concatenate([dry, wet], axis=1)))
    powers = lowpass("power", squared, _per_s(follow_s, rate))
    fast_powers = lowpass("fast_power", squared, _per_s(follow_s * FAST, rate))
    fast = log_ratio(fast_powers + 1e-3 * powers)  # in silence, what the long comparison says
    log_gain = jnp.clip(log_ratio(powers), fast - _log(SPREAD_DB), fast + _log(SPREAD_DB))
    wet = wet * glide("gain", jnp.clip(log_gain, _log(LARGEST_CUT_DB), _log(LARGEST_BOOST_DB)))
    loudest = jnp.maximum(jnp.maximum(powers, fast_powers), squared)[:, :channels] + QUIET
    wet = bend(wet, math.exp(_log(CREST_DB)) * jnp.sqrt(loudest))

    again = lowpass("power_again", jnp.square(weighted(bend(wet, CEILING), "_again")), _per_s(follow_s, rate))
    log_trim = log_ratio(jnp.concatenate([powers[:, :channels], again], axis=1))
    trim = glide("trim", jnp.clip(log_trim, -_log(LARGEST_TRIM_DB), _log(LARGEST_TRIM_DB)))
    y = bend(volume * wet * trim, CEILING)
    y = y - lowpass("dc_after", y, _per_hz(LAST_DC_CUTOFF_HZ, rate))
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
