"""The noise gate: silence between the notes.

Usually a gate hears what it gates. Behind a drive that is the wrong ear: the drive has brought hiss and note close
together. `Gated` therefore listens in front of other boxes and acts behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from .. import ring
from ..effect import Block, Chain, Effect, Knob, Knobs, when_moving
from ..settings import setting
from .gain import amplitude

BUCKET_S = 0.010  # the detector knows the peak of the last one to two buckets: longer than half a period of any note
SILENT = 1e-6  # a gain below this is silence: -120 dB, and no denormals behind it

Gains = Float[Array, "T 1"]


class NoiseGate(nnx.Module):
    """Fades to silence when the signal has stayed below a threshold; all channels together.

    The level is the peak of the last 10 to 20 ms over all channels. The gate opens at `threshold` and closes once the
    level has been under `threshold - hysteresis` for `hold`. It opens in a straight line within `attack`, and closes in
    a straight line of decibels, 60 dB in every `release`, down to true silence.
    """

    @dataclass(frozen=True)
    class Settings:
        """Where the gate listens: "before" asks who builds the rack to wrap it in `Gated`; alone it listens here."""

        listen: str = setting(
            "here", choices=("here", "before"), help="Listen to what is gated, or to what goes into the boxes before."
        )

    knobs = (
        Knob("threshold", "dB", -100.0, 0.0, -70.0),
        Knob("hysteresis", "dB", 0.0, 24.0, 6.0),
        Knob("hold", "ms", 0.0, 500.0, 20.0),
        Knob("release", "ms", 1.0, 2000.0, 120.0, "log"),
        Knob("attack", "ms", 0.1, 50.0, 1.0, "log"),
    )
    sample_rate = None
    latency = 0
    receptive_field = None

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate
        self.bucket = round(BUCKET_S * sample_rate)

    def initial_state(self, knobs=None):
        """Closed: peak of this bucket and of the one before, samples in the bucket and under the level, open, gain."""
        return jnp.zeros(6, jnp.float32)

    def _rows(self, knobs):
        """Levels to open and to close at, factor down of the gain, samples to hold, step up of the gain."""
        threshold, hysteresis, hold, release, attack = (
            knob.value(knobs[:, i : i + 1]) for i, knob in enumerate(self.knobs)
        )
        per_ms = self.rate / 1000
        factors = amplitude(jnp.concatenate([threshold, threshold - hysteresis, -60 / (release * per_ms)], axis=1))
        return jnp.concatenate([factors, jnp.round(hold * per_ms), 1 / (attack * per_ms)], axis=1)

    def gains(self, state, key: Block, knobs: Knobs) -> tuple[Gains, Float[Array, " 6"]]:
        """What to multiply a block by, from the `key` it listens to, and the state after it."""

        def one(state, sample):
            now, before, age, idle, was_open, gain = state
            peak, (opens, closes, down, hold, up) = sample
            full = age >= self.bucket
            now, before = jnp.where(full, peak, jnp.maximum(now, peak)), jnp.where(full, now, before)
            age = jnp.where(full, 1.0, age + 1.0)
            level = jnp.maximum(now, before)
            # Counts above one second say no more than one second does: hold is shorter.
            idle = jnp.where(level >= closes, 0.0, jnp.minimum(idle + 1.0, float(self.rate)))
            is_open = jnp.where(level >= opens, 1.0, jnp.where(idle > hold, 0.0, was_open))
            faded = jnp.where(gain * down < SILENT, 0.0, gain * down)
            gain = jnp.where(is_open > 0, jnp.minimum(gain + up, 1.0), faded)
            return jnp.stack([now, before, age, idle, is_open, gain]), gain

        rows = when_moving(self._rows, knobs)
        state, gains = lax.scan(one, state, (jnp.abs(key).max(axis=1), rows))
        return gains[:, None], state

    def step(self, state, x, knobs):
        gains, state = self.gains(state, x, knobs)
        return x * gains, state


class Gated(nnx.Module):
    """A gate around other boxes: it hears what goes into them and acts on what comes out of them.

    Itself a box. Its knobs are the gate's, then those of the boxes in order. The gain waits for as long as the boxes
    lag, so that it meets the samples it was made for. For a gate whose setting is `listen = "before"`, who builds a
    rack puts `Gated(gate, boxes)` where these boxes and the gate behind them stood in the row.

    Raises ValueError where gate and boxes differ in their channels or were built for different rates.
    """

    def __init__(self, gate: NoiseGate, boxes: Effect | Sequence[Effect]):
        inner = Chain(boxes) if isinstance(boxes, Sequence) else boxes
        if gate.channels != inner.channels:
            raise ValueError(f"a gate of {gate.channels} channels cannot act on boxes of {inner.channels}")
        if inner.sample_rate not in (None, gate.rate):
            raise ValueError(f"a gate built for {gate.rate} Hz cannot act on boxes at {inner.sample_rate} Hz")
        self.gate, self.inner = nnx.data(gate), nnx.data(inner)
        self.knobs = (*gate.knobs, *inner.knobs)
        self.settings = gate.settings
        self.channels, self.sample_rate = inner.channels, inner.sample_rate
        self.latency, self.receptive_field = inner.latency, None

    def initial_state(self, knobs=None):
        """The gate's state, the gains that still wait for their samples, the state of the boxes."""
        count = len(self.gate.knobs)
        mine, theirs = (None, None) if knobs is None else (knobs[:count], knobs[count:])
        return self.gate.initial_state(mine), ring.silence(1, self.latency), self.inner.initial_state(theirs)

    def step(self, state, x, knobs):
        gate, waiting, inner = state
        count = len(self.gate.knobs)
        gains, gate = self.gate.gains(gate, x, knobs[:, :count])
        window = ring.extend(waiting, gains.T)
        y, inner = self.inner.step(inner, x, knobs[:, count:])
        return y * window.tap(self.latency).T, (gate, window.after, inner)
