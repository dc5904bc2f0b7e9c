"""Limiter: the end of every rack. Nothing leaves above the ceiling, not even between the samples."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from ..effect import Knob, when_moving
from .gain import amplitude

LATENCY_S = 0.0015
AHEAD, BEHIND = 24, 40  # samples that the interpolators see after and before the point they estimate
ESTIMATE_ERROR = 0.002  # by how much an estimate can be too low (0.017 dB)
EDGE_WEIGHT = 0.8  # how much of the level near half the sample rate is added to it
EDGE_SPAN = 64  # samples over which that level is held
MARGIN, MARGIN_END = 0.3, 0.035  # a turning gain makes peaks: 0.3 of the first 0.035 above the ceiling goes twice


def _sinc_band(low: float, high: float, lag):
    """Autocorrelation at `lag` samples of noise between two frequencies (cycles per sample)."""
    return 2 * high * np.sinc(2 * high * lag) - 2 * low * np.sinc(2 * low * lag)


def interpolators() -> Float[np.ndarray, "4 taps"]:
    """Least-squares FIRs over samples n-39..n+24: the signal at n + 1/4, 1/2 and 3/4, and its part above 0.46.

    The first three are the four times oversampling of ITU-R BS.1770-4 (annex 2) with more taps: right to -60 dB up to
    0.417 times the rate (20 kHz at 48 kHz). What lies between 0.44 and half the rate no filter this short can place;
    the fourth row says how much of it there is.
    """
    lags = np.arange(1 - BEHIND, AHEAD + 1, dtype=float)
    between = lags[:, None] - lags[None, :]
    ridge = 1e-9 * np.eye(len(lags))
    full = _sinc_band(0, 0.44, between) + 0.0005 * _sinc_band(0.44, 0.5, between) + ridge
    rows = []
    for phase in (0.25, 0.5, 0.75):
        want = _sinc_band(0, 0.44, lags - phase) + 0.0005 * _sinc_band(0.44, 0.5, lags - phase)
        rows.append(np.linalg.solve(full, want))
    split = 30 * _sinc_band(0, 0.42, between) + _sinc_band(0.46, 0.5, between) + ridge
    rows.append(np.linalg.solve(split, _sinc_band(0.46, 0.5, lags)))
    return np.stack(rows).astype(np.float32)


def _crest(before, here, after):
    """The magnitude at the top of the sine through three neighbours, where the middle one is the largest."""
    size, slope = jnp.abs(here), jnp.abs(before - after)
    bend = 2 * size - jnp.sign(here) * (before + after)
    peak = (bend >= slope) & (bend > 0)
    bend = jnp.where(peak, bend, 1.0)
    rise = (slope / bend) * (slope / jnp.maximum(4 * size - bend, 2 * size + (size == 0)))
    return size * jnp.sqrt(1 + jnp.where(peak, rise, 0.0))


@functools.partial(jax.jit, static_argnums=1)
def _running_max(x, length: int):
    """The largest of every `length` neighbours along the last axis, by doubling."""
    size = 1
    while size < length:
        more = min(size, length - size)
        x = jnp.maximum(x[..., more:], x[..., :-more])
        size += more
    return x


def _glide(x, length: int):
    """Every `length` neighbours averaged with the weights of a Hann window."""
    hann = np.hanning(length + 2)[1:-1]
    shares = jnp.asarray(hann / hann.sum(), jnp.float32)
    return lax.conv_general_dilated(x[None, None], shares[None, None], (1,), "VALID")[0, 0]


class LimiterState(NamedTuple):
    """What the limiter remembers, oldest first."""

    past: Float[Array, "C past"]  # the input
    edge: Float[Array, " span"]  # its level near half the sample rate
    need: Float[Array, " window"]  # how far the gain must be below one
    held: Float[Array, " window"]  # the same, held and released


class Limiter(nnx.Module):
    """A true-peak limiter with look-ahead, the channels linked; the look-ahead of 1.5 ms is its whole latency.

    Below the ceiling it is a delay: samples come out bit for bit. Above it, the peak between each two samples is
    estimated by interpolation, and the gain glides down along a Hann window just in time, holds, and recovers
    exponentially. Where a signal is loud in the last tenth below half the rate (white noise), its peaks cannot be
    told exactly with so short a look-ahead; there the limiter starts a little early, up to 2 dB.
    """

    @dataclass(frozen=True)
    class Settings:
        """Nothing to set."""

    knobs = (Knob("ceiling", "dBTP", -24.0, -1.0, -1.0), Knob("release", "ms", 10.0, 1000.0, 80.0, "log"))
    sample_rate = None
    receptive_field = None

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate
        self.latency = max(int(LATENCY_S * sample_rate), AHEAD + 8)
        self.past = max(self.latency, AHEAD + BEHIND)
        self.window = self.latency - AHEAD + 1
        self.filters = nnx.Variable(jnp.asarray(interpolators()))

    def initial_state(self, knobs=None):
        return LimiterState(
            jnp.zeros((self.channels, self.past)),
            jnp.zeros(EDGE_SPAN - 1),
            jnp.zeros(self.window),
            jnp.zeros(self.window - 1),
        )

    def step(self, state, x, knobs):
        length = x.shape[0]
        signal = jnp.concatenate([state.past, x.T], axis=1)
        peak, edge = self._peaks(signal, length)
        edges = jnp.concatenate([state.edge, edge])
        peak = (1 + ESTIMATE_ERROR) * peak + EDGE_WEIGHT * _running_max(edges, EDGE_SPAN)

        ceiling, keep = when_moving(self._units, knobs).T
        over = jnp.maximum(peak / ceiling, 1.0)
        need = 1.0 - (1.0 - MARGIN * jnp.minimum(over - 1.0, MARGIN_END)) / over
        needs = jnp.concatenate([state.need, need])

        def release(held, now):
            need, keep = now
            held = jnp.maximum(need, held * keep)
            held = jnp.where(held < 1e-8, 0.0, held)  # below the last bit of the gain
            return held, held

        _, held = lax.scan(release, state.held[-1], (_running_max(needs, self.window + 1), keep))
        held = jnp.concatenate([state.held, held])
        gain = 1.0 - _glide(held, self.window)
        after = LimiterState(signal[:, length:], edges[length:], needs[length:], held[length:])
        delayed = signal[:, self.past - self.latency :][:, :length].T
        return delayed * gain[:, None], after

    def _units(self, knobs):
        """The ceiling as a factor, and what of the reduction is left after a sample."""
        ceiling = amplitude(self.knobs[0].value(knobs[:, :1]))
        release_samples = self.knobs[1].value(knobs[:, 1:2]) * (self.rate / 1000.0)
        return jnp.concatenate([ceiling, jnp.exp(-1.0 / release_samples)], axis=1)

    def _peaks(self, signal, length):
        """For the T newest samples whose surroundings are known: the peak up to the next one, and the edge's level."""
        first = signal.shape[1] - length - AHEAD  # the oldest of them
        seen = signal[:, None, first - BEHIND :]
        found = lax.conv_general_dilated(seen, self.filters[:, None, :], (1,), "VALID")
        at = jnp.concatenate([signal[:, None, first : first + length], found[:, :3, 1:]], axis=1)  # [C, 4, T]
        before = jnp.concatenate([found[:, 2:3, :-1], at[:, :-1]], axis=1)
        after = jnp.concatenate([at[:, 1:], signal[:, None, first + 1 : first + 1 + length]], axis=1)
        return _crest(before, at, after).max((0, 1)), jnp.abs(found[:, 3, 1:]).max(0)
