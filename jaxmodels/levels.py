"""Levels of captures: calibration to the sound card, output levels, trims, polarity and delay, as a box around a box.

All gains are made when the box is built, and they are numbers in it: captures of one architecture share one program.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from . import leveller, ring
from .dsp.gain import amplitude
from .effect import Effect, Knob, State, apply, default_positions, hold, one_step
from .formats import Facts
from .settings import setting

LEVELS = ("raw", "normalised", "calibrated", "matched")
RATES = (0, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000)  # Hz; 0: as the file says
NORMAL_DB = -18.0  # RMS, to which NAM's plug-in brings a capture by the loudness that its file tells
LARGEST_GAIN_DB = 40.0  # of calibration and normalising; a file that asks for more is wrong about itself
LONGEST_DELAY = 4800  # samples
MOST_KNOBS = 31  # of a slot; a capture with nearly as many of its own goes without trims

TEST_RATE = 48000
TEST_CUT_S = (1.0, 4.0)  # of our guitar loop: palm-muted and open chords, hard and soft, at -21 LUFS
SILENT_DB = -90.0  # a capture that is quieter is taken as it is


@dataclass(frozen=True)
class CaptureSettings:
    """What can be set on a slot that plays a model file."""

    level: str = setting(
        "raw",
        choices=LEVELS,
        help="Output: as the file gives it; at -18 dB as NAM's plug-in does; as loud as the captured gear, for which "
        "file and sound card must tell their dBu; or as loud to the ear as every other matched capture.",
    )
    polarity: str = setting("normal", choices=("normal", "inverted"), help="Turns the output upside down.")
    delay_samples: int = setting(0, low=0, high=LONGEST_DELAY, help="Makes this slot later, to line it up by hand.")
    sample_rate: int = setting(
        0,
        choices=RATES,
        help="Hz that the model was trained at, where its file does not say it right; 0: as it says.",
    )
    submodel: int = setting(-1, low=-1, high=63, help="Which network of a container, counted from 0; -1: the largest.")
    fast_tanh: bool = setting(False, help="NAM: the rough tanh that its plug-in plays, not the exact one.")
    auto_gain: bool = setting(
        True, help="A steered model: as loud wherever its controls stand as in their middle, and free of DC."
    )


@dataclass(frozen=True)
class Interface:
    """The sound card: dBu of a 1 kHz sine whose peaks are at 0 dBFS, at its input and its output; None: not known."""

    input_level_dbu: float | None = None
    output_level_dbu: float | None = None


class Gains(NamedTuple):
    """What goes before and after a capture, and why, in words."""

    input_db: float
    output_db: float
    remarks: tuple[str, ...]


def gains(level: str, facts: Facts, interface: Interface, measured_db: Callable[[], float]) -> Gains:
    """The gains of a capture whose file tells these facts.

    The input is calibrated whenever file and sound card both tell their level, whatever the output does: the capture
    then hears the voltages that it was made with. `measured_db` is asked for `loudness_db` where it is needed.
    """
    before, after, remarks = 0.0, 0.0, []
    heard, said = facts.input_level_dbu, facts.output_level_dbu
    if heard is not None and interface.input_level_dbu is not None:
        before = _within(interface.input_level_dbu - heard)
        remarks.append(f"input {before:+.1f} dB: captured at {heard:g} dBu, the sound card is at "
                       f"{interface.input_level_dbu:g} dBu")  # fmt: skip
    elif heard is not None:
        remarks.append(f"captured at {heard:g} dBu; tell audio.input_level_dbu, and its input will be calibrated")
    if level == "calibrated":
        if said is None:
            remarks.append("output raw: the file does not tell its output level, so it cannot be calibrated")
        elif interface.output_level_dbu is None:
            remarks.append("output raw: it cannot be calibrated before audio.output_level_dbu is told")
        else:
            after = _within(said - interface.output_level_dbu)
            remarks.append(f"output {after:+.1f} dB, calibrated: {said:g} dBu at the gear")
    elif level == "normalised" and facts.loudness_db is not None:
        after = _within(NORMAL_DB - facts.loudness_db)
        remarks.append(f"output {after:+.1f} dB, normalised: the file says {facts.loudness_db:.1f} dB")
    elif level in ("normalised", "matched"):
        loudness = measured_db()
        after = _within(NORMAL_DB - loudness) if loudness > SILENT_DB else 0.0
        remarks.append(f"output {after:+.1f} dB, {level}: measured {loudness:.1f} dB")
    return Gains(before, after, tuple(remarks))


def _within(db: float) -> float:
    return min(max(db, -LARGEST_GAIN_DB), LARGEST_GAIN_DB) if math.isfinite(db) else 0.0


# --- measuring ---


@cache
def guitar_signal(rate: int) -> Float[np.ndarray, " T"]:
    """Three seconds of our own guitar loop, at any rate: what captures are measured with."""
    import soundfile

    from .assets import assets_folder
    from .dsp.resample import convert

    loop, own = soundfile.read(assets_folder() / "audio" / "guitar.wav", dtype="float32", always_2d=True)
    first, last = (round(second * own) for second in TEST_CUT_S)
    return convert(loop[first:last].mean(axis=1), own, rate)


def loudest(x: Float[np.ndarray, " T"], size: int) -> int:
    """Where the loudest stretch of so many samples begins; 0 in a signal that is no longer."""
    power = np.concatenate([[0.0], np.cumsum(x.astype(np.float64) ** 2)])
    return int(np.argmax(power[size:] - power[:-size])) if len(x) > size else 0


Play = Callable[[Effect, int], np.ndarray]  # a box, a rate -> what `response` says


def response(effect: Effect, rate: int) -> Float[np.ndarray, " T"]:
    """What a box makes of the test signal with its knobs at their defaults; of a stereo box, the left channel."""
    x = np.repeat(guitar_signal(rate)[:, None], effect.channels, axis=1)
    return np.asarray(apply(effect, x))[:, 0]


def loudness_db(effect: Effect, rate: int | None = None, play: Play = response) -> float:
    """How loud a capture is for the ear: the K-weighted level of what it makes of a guitar.

    The weighting is the leveller's, without the gates of BS.1770. A capture that gives nothing, or no numbers, is at
    -200 dB. `play` stands in for `response` where something quicker is at hand.
    """
    rate = rate or effect.sample_rate or TEST_RATE
    y = play(effect, rate)
    if not np.isfinite(y).all():
        return -200.0
    return power_db(weighted_power(y, rate))


def weighted_power(y: Float[np.ndarray, " T"], rate: int) -> float:
    """The mean square of a signal as the ear weights it."""
    spectrum = np.abs(np.fft.rfft(y.astype(np.float64))) ** 2
    return float(2 * (spectrum * leveller.weighting(np.fft.rfftfreq(len(y), 1 / rate))).sum() / len(y) ** 2)


def power_db(power: float) -> float:
    """A mean square in dB, from -200 up."""
    return 10 * math.log10(max(power, 1e-20))


# --- the box ---


class LevelsState(NamedTuple):
    """The box's own state, and its output as far back as the delay; () where there is none."""

    inner: State
    said: Any


class Levels(nnx.Module):
    """A box with a gain before it and one after it, turned upside down and delayed where that is asked for.

    input_db, output_db  fixed gains; they and the polarity are numbers, no structure
    delay                samples; not declared as latency, since it is meant to be heard

    Its knobs are the box's own, then `input_db` and `output_db`, -24..24 dB.
    """

    def __init__(
        self, effect: Effect, *, input_db: float = 0.0, output_db: float = 0.0, inverted: bool = False, delay: int = 0
    ):
        if not 0 <= delay <= LONGEST_DELAY:
            raise ValueError(f"delay_samples = {delay}: must be 0 to {LONGEST_DELAY}")
        self.box = nnx.data(effect)
        self.own = len(effect.knobs)
        self.knobs = (*effect.knobs, *trims(effect.knobs))
        self.settings, self.channels, self.sample_rate = effect.settings, effect.channels, effect.sample_rate
        self.latency, self.delay = effect.latency, delay
        field = effect.receptive_field
        self.receptive_field = None if field is None else field + delay
        before, after = amplitude(input_db), amplitude(output_db) * (-1 if inverted else 1)
        self.before = nnx.Variable(jnp.asarray(before, jnp.float32))
        self.after = nnx.Variable(jnp.asarray(after, jnp.float32))

    def _gains(self, knobs):
        """Before and after the box, one row a sample, `[T, 1]` each."""
        turned = self.knobs[self.own :]
        if not turned:
            return self.before[...], self.after[...]
        rows = amplitude(turned[0].value(knobs[:, self.own :]))
        return self.before[...] * rows[:, :1], self.after[...] * rows[:, 1:]

    def initial_state(self, knobs=None):
        knobs = jnp.asarray(default_positions(self) if knobs is None else knobs, jnp.float32)
        inner = self.box.initial_state(knobs[: self.own])
        if not self.delay:
            return LevelsState(inner, ())
        here = hold(knobs, 1)
        said = one_step(self.box, inner, jnp.zeros((1, self.channels)), here[:, : self.own])[0] * self._gains(here)[1]
        return LevelsState(inner, ring.History(jnp.broadcast_to(said.T, (self.channels, self.delay))))

    def step(self, state, x, knobs):
        before, after = self._gains(knobs)
        y, inner = self.box.step(state.inner, x * before, knobs[:, : self.own])
        y = y * after
        if not self.delay:
            return y, LevelsState(inner, ())
        window = ring.extend(state.said, y.T)
        return window.tap(self.delay).T, LevelsState(inner, window.after)


def trims(knobs: tuple[Knob, ...]) -> tuple[Knob, ...]:
    """The knobs that a capture with these gets in addition; none where there is no room for them."""
    if len(knobs) + 2 > MOST_KNOBS:
        return ()
    taken = {knob.name for knob in knobs}
    return tuple(
        Knob(next(name for name in (word, f"slot_{word}", f"trim_{word}") if name not in taken), "dB", -24.0, 24.0, 0.0)
        for word in ("input_db", "output_db")
    )
