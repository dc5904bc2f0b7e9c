"""The delay: echoes, each softer and darker than the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

from .. import ring
from ..effect import Knob, when_moving
from ..settings import setting

# A lag is an integer in units of 1/1024 sample: at two seconds float32 has only 1/128 of a sample left.
UNIT = 1024
FASTEST = UNIT // 2  # of a sample in every sample: while the lag glides, echoes sound at 0.5 to 1.5 times their pitch
SLOWEST = UNIT // 64  # keeps the end of a glide finite
SETTLING_S = 0.010  # a glide slows down when it is this near, at its own speed, to where it goes
LONGEST_CHUNK = 64  # samples read and written at once


class DelayState(NamedTuple):
    """What circulates, the last output of the tone filter, the lag in units of 1/UNIT samples."""

    line: ring.Past
    tone: Float[Array, " C"]
    lag: Int[Array, ""]


class Delay(nnx.Module):
    """Echoes at `time`, each `feedback` times the one before and low-passed (6 dB an octave) at `tone`.

    A change of time is a tape's: the echoes glide there, never faster than half a sample in a sample, and bend in pitch
    on the way. A lag at rest is a whole number of samples, so a repeat loses nothing but what `tone` takes; in between
    it is read by linear interpolation. All that the loop does is averaging, so at a feedback f it never holds more than
    1 / (1 - f) times the loudest it was given.
    """

    @dataclass(frozen=True)
    class Settings:
        """Where the echoes go."""

        ping_pong: bool = setting(False, help="Echoes alternate left and right, left first; needs a stereo rack.")

    knobs = (
        Knob("time", "ms", 1.0, 2000.0, 350.0, "log"),
        Knob("feedback", "", 0.0, 0.95, 0.35),
        Knob("tone", "Hz", 500.0, 18000.0, 6000.0, "log"),
        Knob("mix", "", 0.0, 1.0, 0.3),
    )
    sample_rate = None
    latency = 0
    receptive_field = None

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate
        self.crossed = settings.ping_pong and channels == 2
        # A chunk hears only echoes of the chunks before it, since no lag is shorter than a chunk.
        shortest = round(self.knobs[0].low / 1000 * sample_rate)
        self.chunk = min(LONGEST_CHUNK, 2 ** int(math.log2(shortest)))
        self.longest = round(self.knobs[0].high / 1000 * sample_rate)

    def initial_state(self, knobs=None):
        time = self.knobs[0]
        position = time.position(time.default) if knobs is None else knobs[0]
        samples = self._samples(jnp.asarray(position, jnp.float32))
        line = ring.silence(self.channels, self.longest + 1)
        return DelayState(line, jnp.zeros(self.channels, jnp.float32), samples.astype(jnp.int32) * UNIT)

    def _samples(self, position):
        """The lag that the time knob asks for, whole samples."""
        return jnp.round(self.knobs[0].value(position) * (self.rate / 1000))

    def _rows(self, knobs):
        """Lag in samples, feedback, share of the new in the tone filter, mix; one row a sample."""
        feedback, tone_hz, mix = (knob.value(knobs[:, i : i + 1]) for i, knob in enumerate(self.knobs[1:], 1))
        new = 1 - jnp.exp(-2 * jnp.pi / self.rate * tone_hz)
        return jnp.concatenate([self._samples(knobs[:, :1]), feedback, new, mix], axis=1)

    def _glide(self, lag, targets):
        """Every sample's lag on its way to every sample's target, and the last of them."""

        def one(lag, target):
            left = target - lag
            speed = (jnp.abs(left).astype(jnp.float32) * (1 / (SETTLING_S * self.rate))).astype(jnp.int32)
            speed = jnp.minimum(jnp.clip(speed, SLOWEST, FASTEST), jnp.abs(left))
            lag = lag + jnp.sign(left) * speed
            return lag, lag

        def rest():
            return lag, jnp.broadcast_to(lag, targets.shape)

        return lax.cond(jnp.any(targets != lag), lambda: lax.scan(one, lag, targets), rest)

    def _chunk(self, carry, block):
        """The echoes for up to `self.chunk` samples, and the line after them."""
        line, tone = carry
        x, lags, feedback, new = block
        past = ring.Window(line.buffer, line.head, len(x), line.size, line)
        lag, part = lags // UNIT, (lags % UNIT).astype(jnp.float32)[None] * (1 / UNIT)
        nearer, further = past.read(lag), past.read(lag + 1)
        heard = (nearer + (further - nearer) * part).T

        def one(tone, sample):
            heard, new = sample
            tone = tone + new * (heard - tone)
            return tone, tone

        tone, echoes = lax.scan(one, tone, (heard, new))
        if self.crossed:
            left = x.mean(axis=1) + feedback[:, 0] * echoes[:, 1]
            fed = jnp.stack([left, feedback[:, 0] * echoes[:, 0]])
        else:
            fed = (x + feedback * echoes).T
        return (ring.extend(line, fed).after, tone), echoes

    def step(self, state, x, knobs):
        rows = when_moving(self._rows, knobs)
        lag, lags = self._glide(state.lag, rows[:, 0].astype(jnp.int32) * UNIT)
        plain = isinstance(state.line, ring.History)
        line = ring.pack(state.line, self.chunk) if plain else state.line  # a plain past would be copied every chunk
        carry, signals = (line, state.tone), (x, lags, rows[:, 1:2], rows[:, 2:3])
        whole = len(x) // self.chunk * self.chunk
        echoes = []
        if whole:
            cut = [signal[:whole].reshape(-1, self.chunk, *signal.shape[1:]) for signal in signals]
            carry, heard = lax.scan(self._chunk, carry, cut)
            echoes.append(heard.reshape(whole, self.channels))
        if whole < len(x):
            carry, heard = self._chunk(carry, [signal[whole:] for signal in signals])
            echoes.append(heard)
        line, tone = carry
        mix = rows[:, 3:]
        y = x + mix * (jnp.concatenate(echoes) - x)
        return y, DelayState(ring.unpack(line) if plain else line, tone, lag)
