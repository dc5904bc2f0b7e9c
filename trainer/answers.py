"""What an effect says to test signals: an effect that can be played is asked, a captured device has been.

The capture signal of `signals` holds tones and sweeps; what a device said to them is in its recording, and the model is
then played the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import metrics
from .data import Pair
from .metrics import Play
from .signals import capture_signal

SETTLED = 4096  # samples of silence after which an effect rests
END_S = 11.0  # of the capture signal's tests; music follows
SWEEP_S, SWEEP_END_S = 4.0, 6.0  # the second of its three sweeps
STEPS_S, STEP_S, STEPS = 8.0, 0.25, 12  # its tones, quiet to loud
TONE_HZ, CYCLES = 110.0, 11  # of a tone so many are weighed, a tenth of a second
SAME = 1e-3  # of the signal's energy that may differ


class Answers(NamedTuple):
    """Of one effect; the fundamental of the harmonics is the tone it was asked."""

    harmonics: metrics.Harmonics
    sweep: tuple[np.ndarray, np.ndarray]  # Hz, gain in dB
    transfer: tuple[np.ndarray, np.ndarray]  # input, output through one period of 110 Hz
    gains: tuple[np.ndarray, np.ndarray]  # input dB, gain dB


def asked(play: Play, rate: int) -> Answers:
    """To a sine of 1 kHz at -12 dB, a sweep, a sine of 110 Hz, a sine of 1 kHz in steps."""
    steps = np.arange(-60.0, 0.1, 5.0)
    rest = float(play(np.zeros(SETTLED, np.float32))[-1])

    def moving(x: np.ndarray) -> np.ndarray:
        return np.asarray(play(x)) - rest

    return Answers(
        metrics.harmonics(play, rate, 1000.0, -12.0, 0.5),
        metrics.frequency_response(moving, rate, seconds=1.0),
        metrics.transfer_curve(play, rate),
        metrics.gain_curve(moving, rate, steps, seconds=0.2),
    )


def recorded(pair: Pair, play: Play) -> tuple[Answers, Answers] | None:
    """Of a captured device and of its model, from a whole recording of the capture signal; None where it is none."""
    if not is_capture(pair):
        return None
    end = round(END_S * pair.rate)
    dry = pair.dry[:end]
    device, model = (_found(dry, wet, pair.rate) for wet in (pair.wet[:end], np.asarray(play(dry))))
    return device, model


def is_capture(pair: Pair) -> bool:
    """Whether the dry side begins with the capture signal, at any level."""
    if pair.piece or pair.lead or not 8000 <= pair.rate <= 192000 or len(pair.dry) < END_S * pair.rate:
        return False
    wanted = capture_signal(pair.rate, 24.0)[: round(END_S * pair.rate)].astype(np.float64)
    found = pair.dry[: len(wanted)].astype(np.float64)
    gain = np.vdot(wanted, found) / np.vdot(wanted, wanted)
    return bool(np.sum((found - gain * wanted) ** 2) < SAME * np.sum(found**2))


def _found(dry: np.ndarray, wet: np.ndarray, rate: int) -> Answers:
    weighed, period = round(CYCLES / TONE_HZ * rate), round(rate / TONE_HZ)
    step = round(STEP_S * rate)
    ends = round(STEPS_S * rate) + step * np.arange(1, STEPS + 1)
    levels = [[_level(signal[end - weighed : end]) for end in ends] for signal in (dry, wet)]
    tone, last = slice(ends[-1] - weighed, ends[-1]), slice(ends[-1] - period, ends[-1])
    swept = slice(round(SWEEP_S * rate), round(SWEEP_END_S * rate))
    return Answers(
        metrics.harmonics_of(wet[tone], CYCLES, rate),
        metrics.swept(dry[swept], wet[swept] - np.mean(wet[swept]), rate),
        (dry[last], wet[last]),
        (np.array(levels[0]), np.array(levels[1]) - np.array(levels[0])),
    )


def _level(x: np.ndarray) -> float:
    """RMS without DC, as the level of a sine's peak."""
    return 10 * np.log10(2 * np.var(np.asarray(x, np.float64)) + metrics.TINY)
