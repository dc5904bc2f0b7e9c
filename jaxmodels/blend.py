"""Two captures side by side: aligned, in the same polarity, and mixed so that the sound keeps its strength."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import leveller, ring
from .effect import Effect, Knob, State, default_positions, hold, one_step
from .levels import LEVELS, LONGEST_DELAY, RATES, Play, power_db, response, weighted_power
from .settings import setting

FARTHEST_S = 0.01  # how far apart two captures may lie; a low E lasts 12 ms, after which everything looks alike
RELATED = 0.1  # correlation below which nothing is lined up
WHITENED = 0.5  # how much of the spectrum's shape the search for the delay leaves out: a guitar repeats itself
LARGEST_RATIO = 1000.0  # between the strengths of two captures


@dataclass(frozen=True)
class BlendSettings:
    """What can be set on a slot that blends two model files, a and b."""

    model_a: str = setting("", help="The first model file; empty: the dry signal.")
    model_b: str = setting("", help="The second model file; empty: the dry signal.")
    level_a: str = setting("raw", choices=LEVELS, help="The output level of a, as in a slot of its own.")
    level_b: str = setting("raw", choices=LEVELS, help="The output level of b.")
    polarity: str = setting(
        "auto", choices=("auto", "as they are", "b inverted"), help="auto: b is turned over where it would cancel a."
    )
    align: str = setting("auto", choices=("auto", "off"), help="auto: the earlier one waits for the later one.")
    delay_a: int = setting(0, low=0, high=LONGEST_DELAY, help="Samples that a is made later by hand.")
    delay_b: int = setting(0, low=0, high=LONGEST_DELAY, help="Samples that b is made later by hand.")
    sample_rate_a: int = setting(0, choices=RATES, help="Hz that a was trained at; 0: as its file says.")
    sample_rate_b: int = setting(0, choices=RATES, help="Hz that b was trained at; 0: as its file says.")
    submodel_a: int = setting(-1, low=-1, high=63, help="Which network of a container a plays; -1: the largest.")
    submodel_b: int = setting(-1, low=-1, high=63, help="Which network of a container b plays; -1: the largest.")
    fast_tanh: bool = setting(False, help="NAM: the rough tanh that its plug-in plays, not the exact one.")
    auto_gain: bool = setting(
        True, help="Steered models: as loud wherever their controls stand as in their middle, and free of DC."
    )


class Alignment(NamedTuple):
    """How the outputs of two captures a and b lie to each other."""

    lag: int  # samples by which b is later than a, the declared latencies included
    sign: int  # -1 where b is a's opposite
    correlation: float  # 0..1, once they are lined up
    ratio: float  # the strength of b, in parts of a's


class Through(nnx.Module):
    """The dry signal, as a box."""

    knobs = ()
    settings = None
    sample_rate = None
    latency = 0
    receptive_field = 1

    def __init__(self, channels: int = 1):
        self.channels = channels

    def initial_state(self, knobs=None):
        return ()

    def step(self, state, x, knobs):
        return x, state


def align(a: Effect, b: Effect, rate: int, play: Play = response) -> Alignment:
    """Find out how two boxes of a rack at `rate` lie to each other, from what they make of a guitar.

    The lag is the one at which they correlate best, positive or negative, within FARTHEST_S of what their latencies
    say. Boxes that have little to do with each other are taken to lie as their latencies say.
    """
    expected = b.latency - a.latency
    ya, yb = (play(box, rate).astype(np.float64) for box in (a, b))
    powers = [weighted_power(y, rate) if np.isfinite(y).all() else 0.0 for y in (ya, yb)]
    if min(powers) < 1e-12:
        return Alignment(expected, 1, 0.0, 1.0)
    ratio = float(np.clip(np.sqrt(powers[1] / powers[0]), 1 / LARGEST_RATIO, LARGEST_RATIO))
    length = 2 * len(ya)  # so that the correlation does not wrap
    cross = np.conj(np.fft.rfft(ya, length)) * np.fft.rfft(yb, length)
    cross *= leveller.weighting(np.fft.rfftfreq(length, 1 / rate))
    floor = 1e-6 * np.abs(cross).max()
    sharp = np.fft.irfft(cross / np.maximum(np.abs(cross), floor) ** WHITENED, length)
    plain = np.fft.irfft(cross, length) / (len(ya) * np.sqrt(powers[0] * powers[1]))
    reach = round(FARTHEST_S * rate)
    lags = expected + np.arange(-reach, reach + 1)
    lag = int(lags[np.argmax(np.abs(sharp[lags]))])
    correlation = float(plain[lag])
    if abs(correlation) < RELATED:
        return Alignment(expected, 1, 0.0, ratio)
    return Alignment(lag, 1 if correlation > 0 else -1, min(abs(correlation), 1.0), ratio)


class BlendState(NamedTuple):
    """The states of both boxes, and what each has said, as far back as it is delayed; () where it is not."""

    a: State
    b: State
    said_a: Any
    said_b: Any


class Blend(nnx.Module):
    """Two boxes on the same input, mixed.

    alignment         from `align`; where it is None, their declared latencies are evened out and that is all
    delay_a, delay_b  samples more, by hand; not declared as latency, since they are meant to be heard

    The declared latency is that of the box which is later, so both arrive with it. Knobs: `mix`, 0 for a alone and 1
    for b alone, then those of a and b, their names beginning with `a_` and `b_`.

    Signals that are alike add up in amplitude, strangers in power. So the mix is linear for what correlates fully
    (equal gain), of equal power for what does not correlate, and in between by the correlation that was measured:
    with strengths A = 1 - mix of a and B = mix of b it is divided by the root of A^2 + B^2 + 2 r A B, over A + B.
    """

    settings = None  # none that a box could be compared by: everything set is in its boxes and its numbers

    def __init__(
        self,
        a: Effect,
        b: Effect,
        alignment: Alignment | None = None,
        *,
        delay_a: int = 0,
        delay_b: int = 0,
    ):
        if a.channels != b.channels:
            raise ValueError(f"boxes of {a.channels} and {b.channels} channels cannot be blended")
        found = alignment or Alignment(b.latency - a.latency, 1, 1.0, 1.0)
        wait_a, wait_b = max(found.lag, 0), max(-found.lag, 0)
        self.a, self.b = nnx.data(a), nnx.data(b)
        self.channels, self.sample_rate = a.channels, a.sample_rate or b.sample_rate
        self.delays = (wait_a + delay_a, wait_b + delay_b)
        self.latency = max(a.latency + wait_a, b.latency + wait_b)
        named = ([replace(k, name=f"{x}_{k.name}") for k in box.knobs] for x, box in (("a", a), ("b", b)))
        self.knobs = (Knob("mix", "", 0.0, 1.0, 0.5), *(knob for knobs in named for knob in knobs))
        fields = [box.receptive_field for box in (a, b)]
        bounded = [field + delay for field, delay in zip(fields, self.delays, strict=True) if field is not None]
        self.receptive_field = max(bounded) if len(bounded) == 2 else None
        self.sign = nnx.Variable(jnp.asarray(found.sign, jnp.float32))
        self.correlation = nnx.Variable(jnp.asarray(found.correlation, jnp.float32))
        self.ratio = nnx.Variable(jnp.asarray(found.ratio, jnp.float32))

    def _shares(self, knobs):
        """Each box's columns."""
        edge = 1 + len(self.a.knobs)
        return knobs[..., 1:edge], knobs[..., edge:]

    def initial_state(self, knobs=None):
        knobs = jnp.asarray(default_positions(self) if knobs is None else knobs, jnp.float32)
        states, pasts = [], []
        for box, share, delay in zip((self.a, self.b), self._shares(knobs), self.delays, strict=True):
            states.append(box.initial_state(share))
            if delay:
                said = one_step(box, states[-1], jnp.zeros((1, self.channels)), hold(share, 1))[0]
                pasts.append(ring.History(jnp.broadcast_to(said.T, (self.channels, delay))))
            else:
                pasts.append(())
        return BlendState(*states, *pasts)

    def step(self, state, x, knobs):
        mine, theirs = self._shares(knobs)
        a, after_a = self.a.step(state.a, x, mine)
        b, after_b = self.b.step(state.b, x, theirs)
        a, said_a = _later(state.said_a, a, self.delays[0])
        b, said_b = _later(state.said_b, b, self.delays[1])
        of_b = knobs[:, :1]
        of_a = 1 - of_b
        strong = of_b * self.ratio[...]
        sum_ = of_a + strong
        power = of_a**2 + strong**2 + 2 * self.correlation[...] * of_a * strong
        y = (of_a * a + of_b * self.sign[...] * b) * (sum_ / jnp.sqrt(power))
        return y, BlendState(after_a, after_b, said_a, said_b)


def _later(past, y, delay: int):
    """A block, `delay` samples later, and the past after it."""
    if not delay:
        return y, past
    window = ring.extend(past, y.T)
    return window.tap(delay).T, window.after


def remarks(found: Alignment, rate: int) -> tuple[str, ...]:
    """An alignment in words."""
    if not found.correlation:
        return ("a and b have little in common; they are mixed as they are",)
    which, samples = ("a" if found.lag > 0 else "b"), abs(found.lag)
    waits = f"{which} waits {samples} samples ({1000 * samples / rate:.2f} ms)" if samples else "a and b are in time"
    turned = ", b is turned over" if found.sign < 0 else ""
    louder = 2 * power_db(found.ratio)
    return (f"{waits}{turned}; correlation {found.correlation:.2f}, b is {louder:+.1f} dB",)
