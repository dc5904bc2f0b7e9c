"""Filters: DC block, low-pass and three-band equaliser.

The second-order ones are state variable filters with trapezoidal integrators (A. Simper, "Solving the continuous SVF
equations using trapezoidal integration and equivalent currents", 2013). Their frequency response is that of the
bilinear transform, hence of the usual biquads (R. Bristow-Johnson, "Audio EQ Cookbook"); but no turn of a knob, however
fast, makes energy in their state: it can neither click nor blow up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from ..effect import Block, Knob, when_moving
from .gain import amplitude

HIGHEST = 0.49  # of the sample rate: cutoffs above are held there, short of Nyquist, where tan has its pole
BUTTERWORTH = math.sqrt(0.5)  # Q of the flattest second-order filter
COEFFICIENTS = 6  # of a second-order section


def section(g, damping, input_gain, band_gain, low_gain) -> list:
    """The columns of one second-order section, each `[T, 1]`.

    g is tan(pi f / rate), damping is 1 / Q; the output is the input, the band-pass and the low-pass of the section,
    each times its gain.
    """
    a1 = 1 / (1 + g * (g + damping))
    return [a1, a1 * g, a1 * g * g, input_gain, band_gain, low_gain]


def cascade(
    state: Float[Array, "S 2 C"], x: Block, columns: Float[Array, "T 6*S"]
) -> tuple[Block, Float[Array, "S 2 C"]]:
    """S second-order sections in series, their coefficients (see `section`) given for every sample."""

    def one(carry, sample):
        y, row = sample
        after = []
        for i, (band, low) in enumerate(carry):
            a1, a2, a3, input_gain, band_gain, low_gain = row[COEFFICIENTS * i : COEFFICIENTS * (i + 1)]
            rest = y - low
            v1 = a1 * band + a2 * rest
            v2 = low + a2 * band + a3 * rest
            y = input_gain * y + band_gain * v1 + low_gain * v2
            after.append((2 * v1 - band, 2 * v2 - low))
        return after, y

    carry = [(pair[0], pair[1]) for pair in state]
    carry, y = lax.scan(one, carry, (x, columns))
    return y, jnp.stack([jnp.stack(pair) for pair in carry])


def _tan(cutoff_hz, rate: int):
    """tan(pi f / rate) of a knob's cutoff, held below Nyquist."""
    return jnp.tan(jnp.pi * jnp.minimum(cutoff_hz / rate, HIGHEST))


@dataclass(frozen=True)
class NoSettings:
    """Nothing to set."""


class DCBlock(nnx.Module):
    """A first-order high-pass that takes away what is constant.

    It works on differences of the input and remembers its own output, so an offset, however large, costs no precision.
    """

    Settings = NoSettings
    knobs = (Knob("cutoff", "Hz", 5.0, 100.0, 35.0, "log"),)
    sample_rate = None
    latency = 0
    receptive_field = None

    def __init__(self, settings: NoSettings = NoSettings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate

    def initial_state(self, knobs=None):
        """The last sample of the input and of the output."""
        return jnp.zeros((2, self.channels), jnp.float32)

    def _rows(self, knobs):
        g = _tan(self.knobs[0].value(knobs[:, :1]), self.rate)
        return jnp.concatenate([1 / (1 + g), (1 - g) / (1 + g)], axis=1)

    def step(self, state, x, knobs):
        rows = when_moving(self._rows, knobs)
        change = jnp.concatenate([x[:1] - state[:1], x[1:] - x[:-1]])

        def one(y, sample):
            y = sample[0] + sample[1] * y
            return y, y

        last, y = lax.scan(one, state[1], (change * rows[:, :1], rows[:, 1:]))
        return y, jnp.stack([x[-1], last])


class LowPass(nnx.Module):
    """A second-order low-pass: 12 dB an octave above the cutoff."""

    Settings = NoSettings
    knobs = (Knob("cutoff", "Hz", 50.0, 20000.0, 8000.0, "log"), Knob("q", "", 0.1, 1.0, 0.707))
    sample_rate = None
    latency = 0
    receptive_field = None

    def __init__(self, settings: NoSettings = NoSettings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate

    def initial_state(self, knobs=None):
        return jnp.zeros((1, 2, self.channels), jnp.float32)

    def _rows(self, knobs):
        g, damping = _tan(self.knobs[0].value(knobs[:, :1]), self.rate), 1 / self.knobs[1].value(knobs[:, 1:])
        none = jnp.zeros_like(g)
        return jnp.concatenate(section(g, damping, none, none, none + 1), axis=1)

    def step(self, state, x, knobs):
        return cascade(state, x, when_moving(self._rows, knobs))


class EQ(nnx.Module):
    """Bass, mid and treble: low shelf at 150 Hz, peak at 425 Hz, high shelf at 1.8 kHz; with all at 0 dB a plain wire.

    Frequencies, ranges and Qs are those of the tone stack of the Neural Amp Modeler plugin: the mid is narrow where it
    cuts and wide where it boosts.
    """

    Settings = NoSettings
    knobs = (
        Knob("bass", "dB", -20.0, 20.0, 0.0),
        Knob("mid", "dB", -15.0, 15.0, 0.0),
        Knob("treble", "dB", -10.0, 10.0, 0.0),
    )
    bass_hz, mid_hz, treble_hz = 150.0, 425.0, 1800.0
    shelf_q, mid_cut_q, mid_boost_q = 0.707, 1.5, 0.7
    sample_rate = None
    latency = 0
    receptive_field = None

    def __init__(self, settings: NoSettings = NoSettings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate

    def initial_state(self, knobs=None):
        return jnp.zeros((3, 2, self.channels), jnp.float32)

    def _rows(self, knobs):
        values = [knob.value(knobs[:, i : i + 1]) for i, knob in enumerate(self.knobs)]
        bass, mid, treble = (amplitude(db / 2) for db in values)  # square roots of the gains, the cookbook's A
        bass_g, mid_g, treble_g = (math.tan(math.pi * f / self.rate) for f in (self.bass_hz, self.mid_hz, self.treble_hz))
        shelf = jnp.full_like(bass, 1 / self.shelf_q)
        bell = 1 / (jnp.where(mid < 1, self.mid_cut_q, self.mid_boost_q) * mid)
        one = jnp.ones_like(bass)
        low = section(bass_g / jnp.sqrt(bass), shelf, one, shelf * (bass - 1), bass**2 - 1)
        peak = section(mid_g * one, bell, one, bell * (mid**2 - 1), 0 * one)
        high = section(
            treble_g * jnp.sqrt(treble), shelf, treble**2, shelf * (1 - treble) * treble, 1 - treble**2
        )
        return jnp.concatenate([*low, *peak, *high], axis=1)

    def step(self, state, x, knobs):
        return cascade(state, x, when_moving(self._rows, knobs))
