"""Rates: a box that knows one sample rate in a rack at another, and whole signals from one rate to another."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

from .. import ring
from ..effect import Effect, State, default_positions, hold, one_step, widen

LOWEST_RATE = 16000  # Hz; below it the filters would need more than 1.5 ms
LARGEST_TERM = 4096  # of the reduced ratio of two rates: as many rows of filter taps are kept
STOPBAND_DB = 94.0


def convert(x, from_rate: int, to_rate: int) -> np.ndarray:
    """A whole signal at another rate, float32 `[T]` or `[T, C]`, by libsoxr's best filter; no delay, offline only."""
    import soxr

    x = np.ascontiguousarray(x, np.float32)
    if x.ndim not in (1, 2):
        raise ValueError(f"signal of shape {x.shape}: must be [T] or [T, C]")
    return x.copy() if from_rate == to_rate else soxr.resample(x, from_rate, to_rate, quality="VHQ")


def at_rate(effect: Effect, sample_rate: int, channels: int = 1) -> Effect:
    """The box for C channels of a rack at `sample_rate`: itself where it can, else inside a `Resampled`."""
    if effect.sample_rate in (None, sample_rate):
        return widen(effect, channels)
    return Resampled(effect, sample_rate, channels=channels)


class Band(NamedTuple):
    """The low-pass filter between two rates, a Kaiser-windowed sinc."""

    cutoff_hz: float  # 6 dB down
    half_s: float  # half its length

    def taps(self, seconds):
        """Its impulse response, not scaled."""
        beta = 0.1102 * (STOPBAND_DB - 8.7)
        inside = np.sqrt(np.maximum(0.0, 1.0 - (seconds / self.half_s) ** 2))
        window = np.where(np.abs(seconds) < self.half_s, np.i0(beta * inside), 0.0)
        return np.sinc(2 * self.cutoff_hz * seconds) * window


def band_between(rate: int, other: int) -> Band:
    """The filter both ways between two rates.

    Flat to 0.408 times the lower rate (18 kHz at 44.1 kHz, 19.6 at 48) and 94 dB down where what folds over or is
    mirrored would land below 20 kHz (for lower rates than 44.1 kHz: below 0.4535 of them). The length follows Kaiser's
    estimate for that slope, and keeps to 1.46 ms.
    """
    low = min(rate, other)
    stop = min(max(low - 20000.0, 0.5465 * low), 0.5833 * low)
    flat = min(0.408 * low, stop - 4100.0)
    half_s = (STOPBAND_DB - 7.95) / (14.36 * (stop - flat)) / 2
    return Band((flat + stop) / 2, half_s)


def polyphase(band: Band, rate: int, ahead, delay: float) -> Float[np.ndarray, "P taps"]:
    """One row of taps, oldest sample first, for each point `ahead[p]` samples after the newest sample, less `delay`.

    Each row sums to one, so that a constant stays exactly that.
    """
    ahead = np.asarray(ahead, float)[:, None]
    taps = math.floor(band.half_s * rate + delay - ahead.min()) + 1
    rows = band.taps((np.arange(taps)[::-1] + ahead - delay) / rate)
    return (rows / rows.sum(1, keepdims=True)).astype(np.float32)


def _dot(signal, starts, rows):
    """`[N, C]`: for each start a window of the signal `[C, L]`, weighted with its row of taps `[N, taps]`."""
    shape = (signal.shape[0], rows.shape[1])
    windows = jax.vmap(lambda start: lax.dynamic_slice(signal, (0, start), shape))(starts)
    return (windows * rows[:, None, :]).sum(-1)


class ResampledState(NamedTuple):
    """The clock, and the pasts of both filters around the box's own state; oldest sample first."""

    clock: Int[Array, ""]  # rack samples so far, modulo the rack's term of the ratio
    heard: Float[Array, "C H"]  # input of the rack
    inner: State
    said: Float[Array, "C S"]  # output of the box at its own rate


class Resampled(nnx.Module):
    """A box at its own rate inside a rack at another: a polyphase resampler in, the box, a polyphase resampler out.

    After m samples of the rack the box has had floor(m * up / down), where up / down is the reduced ratio of its rate
    to the rack's. So a block of T runs the box for a fixed number of samples or for one more: a `lax.cond` between two
    whole steps, since a step of its own for that one sample would cost nearly as much as the rest.
    Knobs reach the box as they stood at the newest sample of the rack that it hears. Raises ValueError for rates below
    16 kHz, and for pairs of rates with no simple ratio.

    Rings packed for blocks of T samples serve the box in pieces of at most T; where its rate is the higher one, a state
    packed for `ceil(T * up / down)` spares it that.
    """

    def __init__(self, effect: Effect, sample_rate: int, *, channels: int = 1):
        own = effect.sample_rate
        if own is None:
            raise ValueError("this box works at any rate: build it for the rack's rate instead of resampling it")
        if min(own, sample_rate) < LOWEST_RATE:
            raise ValueError(f"resampling between {sample_rate} and {own} Hz: both must be at least {LOWEST_RATE} Hz")
        common = math.gcd(own, sample_rate)
        self.up, self.down = up, down = own // common, sample_rate // common
        if max(up, down) > LARGEST_TERM:
            raise ValueError(
                f"resampling between {sample_rate} and {own} Hz: their ratio {up}/{down} has terms above "
                f"{LARGEST_TERM}; use a common rate such as 44100, 48000 or 96000"
            )
        inner = widen(effect, channels)
        self.box = nnx.data(inner)
        self.knobs, self.settings, self.channels = inner.knobs, inner.settings, channels
        self.sample_rate: int | None = sample_rate

        # Model sample k stands at (k + 1) * down / up - 1 in samples of the rack, and is due with the next one there.
        band = band_between(sample_rate, own)
        behind = (-down * np.arange(1, up + 1)) % up / up  # the newest sample of the rack, after model sample k
        ahead = up * np.arange(down) % down / down  # the sample of the rack, after the newest of the model
        delay_out = band.half_s * own - 1 + ahead.max()
        later = (delay_out + inner.latency) * down / up
        self.latency = math.ceil(band.half_s * sample_rate - 1 + later)
        table_in = polyphase(band, sample_rate, -behind, self.latency - later)
        table_out = polyphase(band, own, ahead, delay_out)
        self.table_in, self.table_out = nnx.Variable(jnp.asarray(table_in)), nnx.Variable(jnp.asarray(table_out))
        field, width = inner.receptive_field, table_out.shape[1]
        span = None if field is None else table_in.shape[1] + math.ceil((width + field - 1) * down / up)
        self.receptive_field = span

    def initial_state(self, knobs=None):
        knobs = jnp.asarray(default_positions(self) if knobs is None else knobs, jnp.float32)
        inner = self.box.initial_state(knobs)
        said = one_step(self.box, inner, jnp.zeros((1, self.channels)), hold(knobs, 1))[0]
        return ResampledState(
            jnp.zeros((), jnp.int32),
            jnp.zeros((self.channels, self.table_in.shape[1] - 1)),
            inner,
            jnp.broadcast_to(said.T, (self.channels, self.table_out.shape[1])),
        )

    def step(self, state, x, knobs):
        up, down, length, clock = self.up, self.down, x.shape[0], state.clock
        fixed, maybe = length * up // down, length * up % down > 0
        before = clock * up // down
        count = (clock + length) * up // down - before

        heard = jnp.concatenate([state.heard, x.T], axis=1)
        sample = before + jnp.arange(fixed + maybe)
        newest = ((sample + 1) * down + up - 1) // up - clock - 1  # where in the block
        inward = _dot(heard, newest, self.table_in[sample % up])
        knobs = knobs[jnp.minimum(newest, length - 1)]

        said, inner = [state.said], state.inner
        *pieces, last = _pieces(fixed + maybe, inner)
        for piece in pieces:
            y, inner = one_step(self.box, inner, inward[piece], knobs[piece])
            said.append(y.T)
        if maybe:
            y, inner = self._one_more_or_less(count > fixed, inner, inward[last], knobs[last])
        else:
            y, inner = one_step(self.box, inner, inward[last], knobs[last])
        said = jnp.concatenate([*said, y.T], axis=1)

        tick = clock + 1 + jnp.arange(length)
        outward = _dot(said, tick * up // down - before, self.table_out[tick % down])
        kept = lax.dynamic_slice_in_dim(said, count, state.said.shape[1], axis=1)
        return outward, ResampledState((clock + length) % down, heard[:, length:], inner, kept)

    def _one_more_or_less(self, all_of_it, state, x, knobs):
        """A step over x, or over x without its last sample."""

        def whole(state):
            return one_step(self.box, state, x, knobs)

        def less(state):
            if len(x) == 1:
                return jnp.zeros_like(x), state
            y, state = one_step(self.box, state, x[:-1], knobs[:-1])
            return jnp.pad(y, ((0, 1), (0, 0))), state

        return lax.cond(all_of_it, whole, less, state)


def _pieces(length: int, state: State) -> list[slice]:
    """Equal cuts of `length` samples, none too long for a ring in the state."""
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, ring.Ring))
    longest = min((leaf.longest for leaf in leaves if isinstance(leaf, ring.Ring)), default=length)
    edges = np.linspace(0, length, -(-length // longest) + 1).astype(int).tolist()
    return [slice(*edge) for edge in zip(edges[:-1], edges[1:], strict=True)]
