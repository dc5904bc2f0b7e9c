"""Filters: DC block, low-pass and three-band equaliser.

The second-order ones are state variable filters with trapezoidal integrators (A. Simper, "Solving the continuous SVF
equations using trapezoidal integration and equivalent currents", 2013). Their frequency response is that of the
bilinear transform, hence of the usual biquads (R. Bristow-Johnson, "Audio EQ Cookbook"); but no turn of a knob, however
fast, makes energy in their state: it can neither click nor blow up.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from ..effect import Block, Knob, when_moving
from .gain import amplitude

HIGHEST = 0.49  # of the sample rate: cutoffs above are held there, short of Nyquist, where tan has its pole


def sections(g, damping, input_gain, band_gain, low_gain) -> Float[Array, "T 6*S"]:
    """The coefficients of S second-order sections for every sample; each argument is `[T, S]` or `[1, S]`.

    g is tan(pi f / rate), damping is 1 / Q; a section's output is its input, its band-pass and its low-pass, each times
    its gain.
    """
    a1 = 1 / (1 + g * (g + damping))
    columns = (a1, a1 * g, a1 * g * g, input_gain, band_gain, low_gain)
    return jnp.concatenate([jnp.broadcast_to(column, a1.shape) for column in columns], axis=1)


def cascade(state: Float[Array, "S 2 C"], x: Block, rows: Float[Array, "T 6*S"]) -> tuple[Block, Float[Array, "S 2 C"]]:
    """Second-order sections in series, their coefficients as `sections` gives them."""

    def one(carry, sample):
        y, row = sample
        after = []
        for i, (band, low) in enumerate(carry):
            a1, a2, a3, input_gain, band_gain, low_gain = row[i :: len(carry)]
            rest = y - low
            v1 = a1 * band + a2 * rest
            v2 = low + a2 * band + a3 * rest
            y = input_gain * y + band_gain * v1 + low_gain * v2
            after.append((2 * v1 - band, 2 * v2 - low))
        return after, y

    carry, y = lax.scan(one, [(pair[0], pair[1]) for pair in state], (x, rows))
    return y, jnp.stack([jnp.stack(pair) for pair in carry])


def high_passed(state: Float[Array, "2 C"], x: Block, rows: Float[Array, "T 2"]) -> tuple[Block, Float[Array, "2 C"]]:
    """A first-order high-pass: of each change of the input a share, and of the last output a share, both in `rows`."""
    change = jnp.concatenate([x[:1] - state[:1], x[1:] - x[:-1]])

    def one(y, sample):
        y = sample[0] + sample[1] * y
        return y, y

    last, y = lax.scan(one, state[1], (change * rows[:, :1], rows[:, 1:]))
    return y, jnp.stack([x[-1], last])


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
        return high_passed(state, x, when_moving(self._rows, knobs))


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
        none = jnp.zeros((1, 1))
        return sections(g, damping, none, none, none + 1)

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
    centres_hz = (150.0, 425.0, 1800.0)
    shelf_q, mid_cut_q, mid_boost_q = 0.707, 1.5, 0.7
    sample_rate = None
    latency = 0
    receptive_field = None

    def __init__(self, settings: NoSettings = NoSettings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate

    def initial_state(self, knobs=None):
        return jnp.zeros((3, 2, self.channels), jnp.float32)

    def _fourth_roots(self, knobs):
        """The bands' gains, to the power of 1/4."""
        gain_db = [knob.value(knobs[:, i : i + 1]) for i, knob in enumerate(self.knobs)]
        return amplitude(jnp.concatenate(gain_db, axis=1) / 4)

    def _rows(self, knobs):
        """All bands side by side, `[T, 3]`: what differs between them is picked by column."""
        bass, treble = np.array([[True, False, False]]), np.array([[False, False, True]])
        tan = np.tan(np.pi * np.array([self.centres_hz]) / self.rate).astype(np.float32)
        fourth = when_moving(self._fourth_roots, knobs)  # of the gain; the square root is the cookbook's A
        root = fourth * fourth
        gain = root * root
        # A shelf's centre is where it does half of its decibels, not the corner of the filter inside it.
        g = tan * jnp.where(bass, 1 / fourth, jnp.where(treble, fourth, 1.0))
        bell = 1 / (root * jnp.where(gain < 1, self.mid_cut_q, self.mid_boost_q))
        damping = jnp.where(bass | treble, 1 / self.shelf_q, bell)
        return sections(
            g,
            damping,
            jnp.where(treble, gain, 1.0),
            damping * jnp.where(bass, root - 1, jnp.where(treble, root - gain, gain - 1)),
            jnp.where(bass, gain - 1, jnp.where(treble, 1 - gain, 0.0)),
        )

    def step(self, state, x, knobs):
        return cascade(state, x, self._rows(knobs))
