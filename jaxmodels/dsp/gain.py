"""Gain: the plainest box, and the template of the others."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx

from ..effect import Knob


def amplitude(db):
    """Decibels to a factor; numbers, numpy and JAX arrays alike."""
    return 10.0 ** (db / 20.0)


class Gain(nnx.Module):
    """Louder or softer by -24..+24 dB: the rack's input gain and its output level."""

    @dataclass(frozen=True)
    class Settings:
        """Nothing to set."""

    knobs = (Knob("gain", "dB", -24.0, 24.0, 0.0),)
    sample_rate = None
    latency = 0
    receptive_field = 1

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels = settings, channels

    def initial_state(self, knobs=None):
        return ()

    def step(self, state, x, knobs):
        return x * amplitude(self.knobs[0].value(knobs[:, :1])), state


class Level(nnx.Module):
    """A fader: -60..+12 dB, and silence at the bottom of its range."""

    @dataclass(frozen=True)
    class Settings:
        """Nothing to set."""

    knobs = (Knob("level", "dB", -60.0, 12.0, 0.0),)
    sample_rate = None
    latency = 0
    receptive_field = 1

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels = settings, channels

    def initial_state(self, knobs=None):
        return ()

    def step(self, state, x, knobs):
        return x * jnp.where(knobs[:, :1] > 0, amplitude(self.knobs[0].value(knobs[:, :1])), 0.0), state
