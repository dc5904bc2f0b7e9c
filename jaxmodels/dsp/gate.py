"""The noise gate: silence between the notes.

Usually a gate hears what it gates. Behind a drive that is the wrong ear: the drive has brought hiss and note close
together. With the setting `listen = "input"` it hears what goes into the rack, and acts where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from ..effect import Block, Knob, Knobs, when_moving
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
        """Where the gate listens: to what it gates, or to the input of the whole rack, which `step` gets as `key`."""

        listen: str = setting("here", choices=("here", "input"), help="Listen here, or to what goes into the rack.")

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
    keyed = True  # `step` takes another signal to listen to

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

    def step(self, state, x, knobs, key: Block | None = None):
        listens = x if key is None or self.settings.listen == "here" else key
        gains, state = self.gains(state, listens, knobs)
        return x * gains, state
