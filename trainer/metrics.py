"""How far an effect is from its recording, and what an effect does: the figures of the literature, in numpy.

`compare` gives what is said of a finished model, one number per file. The measurements below it take a signal, or an
effect as a function `play(x [N]) -> [N]`. Levels in dB, `rate` in Hz, everything mono unless it says `[N, C]`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

Play = Callable[[np.ndarray], np.ndarray]

TINY = 1e-30
BLOCK_S, STEP = 0.4, 0.25  # of a loudness block; its hop as a share of it
ABSOLUTE_LUFS, RELATIVE_LU = -70.0, -10.0  # gates
BENT = 0.05  # of a decay's variance: what a straight line may leave (ISO 3382-2 allows 0.05)


# --- of an output and its target --------------------------------------------------------------------------------------


def esr(y: np.ndarray, target: np.ndarray) -> float:
    """Error energy over target energy, nothing added to either."""
    y, target = np.asarray(y, np.float64), np.asarray(target, np.float64)
    return float(np.sum((target - y) ** 2) / max(np.sum(target**2), TINY))


def polarity(y: np.ndarray, target: np.ndarray) -> int:
    """-1 where the output is more like the target upside down, else +1."""
    return -1 if float(np.vdot(np.asarray(y, np.float64), np.asarray(target, np.float64))) < 0 else 1


def compare(y: np.ndarray, target: np.ndarray, rate: int) -> dict[str, float]:
    """esr, mae, stft, mr_stft, mr_stft_steer, lufs_difference (positive: louder than the target), polarity."""
    found = _distances()(np.asarray(y, np.float32), np.asarray(target, np.float32))
    named = {name: float(value) for name, value in found.items()}
    louder = loudness(y, rate) - loudness(target, rate)
    difference = float(louder) if np.isfinite(louder) else 0.0
    return {"esr": esr(y, target), **named, "lufs_difference": difference, "polarity": polarity(y, target)}


@lru_cache
def _distances():
    """mae, stft, mr_stft and mr_stft_steer of two signals, compiled in one go for each length."""
    import jax  # the rest of this module does without

    from jaxmodels.xla import QUICKLY

    from . import losses

    def distances(y, target):
        return {name: losses.LOSSES[name](y, target) for name in ("mae", "stft", "mr_stft", "mr_stft_steer")}

    return jax.jit(distances, compiler_options=QUICKLY)


# --- loudness ---------------------------------------------------------------------------------------------------------


def loudness(x: np.ndarray, rate: int) -> float:
    """Integrated loudness of `[N]` or `[N, C]` in LUFS (ITU-R BS.1770-4); -inf for silence or less than 0.4 s.

    K-weighting as pyloudnorm has it: the two filters are designed at the actual rate. Channels beyond the third count
    1.41 as surrounds.
    """
    from scipy.signal import lfilter

    x = np.asarray(x, np.float64)
    x = x[:, None] if x.ndim == 1 else x
    for numerator, denominator in (_shelf(rate), _high_pass(rate)):
        x = np.asarray(lfilter(numerator, denominator, x, axis=0))
    length = BLOCK_S * rate
    count = int(np.round((len(x) / rate - BLOCK_S) / (BLOCK_S * STEP))) + 1
    if len(x) < length:
        return -np.inf
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x**2, axis=0)])
    starts = (np.arange(count) * STEP * length).astype(int)
    ends = np.minimum(((np.arange(count) * STEP + 1) * length).astype(int), len(x))
    weights = np.array([1.0, 1.0, 1.0, 1.41, 1.41])[: x.shape[1]]
    powers = (sums[ends] - sums[starts]) / length @ weights
    loud = powers[_lufs(powers) >= ABSOLUTE_LUFS]
    if len(loud):
        loud = loud[_lufs(loud) > _lufs(loud.mean()) + RELATIVE_LU]
    return float(_lufs(loud.mean())) if len(loud) else -np.inf


def _lufs(power):
    return -0.691 + 10 * np.log10(power + TINY)


def _shelf(rate: int):
    """Audio EQ Cookbook's high shelf: +4 dB from 1500 Hz."""
    a, w = 10 ** (4.0 / 40), 2 * np.pi * 1500.0 / rate
    alpha, cos, root = np.sin(w) / 2 * np.sqrt(2), np.cos(w), np.sqrt(a)
    rise, fall, slope = a + 1, a - 1, 2 * root * alpha
    numerator = [a * (rise + fall * cos + slope), -2 * a * (fall + rise * cos), a * (rise + fall * cos - slope)]
    return numerator, [rise - fall * cos + slope, 2 * (fall - rise * cos), rise - fall * cos - slope]


def _high_pass(rate: int):
    """Audio EQ Cookbook's high-pass at 38 Hz with a Q of 0.5."""
    w = 2 * np.pi * 38.0 / rate
    alpha, cos = np.sin(w), np.cos(w)
    return [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2], [1 + alpha, -2 * cos, 1 - alpha]


# --- decay ------------------------------------------------------------------------------------------------------------


def energy_decay(response: np.ndarray) -> np.ndarray:
    """What is left of an impulse response's energy from each sample on, in dB below all of it (Schroeder 1965)."""
    energy = np.cumsum(np.asarray(response, np.float64)[::-1] ** 2)[::-1]
    return 10 * np.log10(energy / max(energy[0], TINY) + TINY)


def t60(response: np.ndarray, rate: int, high_db: float = -5.0, low_db: float = -35.0) -> float:
    """Reverberation time in s: the line through the energy decay between two levels, drawn on to -60 dB.

    NaN where it is no line: noise that does not decay, or a response that was cut off too early.
    """
    decay = energy_decay(response)
    inside = np.flatnonzero((decay <= high_db) & (decay >= low_db))
    if len(inside) < 3:
        return float("nan")
    line = np.polyfit(inside / rate, decay[inside], 1)
    bent = np.var(decay[inside] - np.polyval(line, inside / rate)) / np.var(decay[inside])
    return float(-60 / line[0]) if bent < BENT else float("nan")


# --- spectrum of a sine -----------------------------------------------------------------------------------------------


class Harmonics(NamedTuple):
    """Of an effect's answer to a sine."""

    hz: np.ndarray  # [H] of the sine and its harmonics below half the rate
    db: np.ndarray  # [H] levels, relative to a full-scale sine
    phase: np.ndarray  # [H] radians
    thd: float  # harmonics over the fundamental, as a ratio of amplitudes
    aliasing_db: float  # everything else but DC, over the fundamental: aliases, noise
    dc: float


def harmonics(play: Play, rate: int, hz: float = 1000.0, level_db: float = -12.0, seconds: float = 1.0) -> Harmonics:
    """Play a sine and weigh its harmonics, once the effect has settled.

    The frequency moves to the nearest that goes into the measured second an odd number of times, so that harmonics and
    their aliases fall on bins of their own.
    """
    length = round(seconds * rate)
    cycles = max(1, round(hz * length / rate))
    cycles += 1 - cycles % 2
    time = np.arange(2 * length) / length
    sine = 10 ** (level_db / 20) * np.sin(2 * np.pi * cycles * time)
    return harmonics_of(np.asarray(play(sine.astype(np.float32)))[length:], cycles, rate)


def harmonics_of(answer: np.ndarray, cycles: int, rate: int) -> Harmonics:
    """The harmonics in a settled answer `[N]` to a sine that went so many times into it."""
    length = len(answer)
    spectrum = np.fft.rfft(np.asarray(answer, np.float64)) / length * 2
    bins = np.arange(cycles, (length - 1) // 2 + 1, cycles)
    power = np.abs(spectrum) ** 2
    first = max(power[cycles], TINY)
    rest = power.copy()
    rest[0] = 0
    rest[bins] = 0
    return Harmonics(
        bins * rate / length,
        10 * np.log10(power[bins] + TINY),
        np.angle(spectrum[bins]),
        float(np.sqrt(power[bins[1:]].sum() / first)),
        float(10 * np.log10(rest.sum() / first + TINY)),
        float(spectrum[0].real / 2),
    )


# --- curves -----------------------------------------------------------------------------------------------------------


def transfer_curve(play: Play, rate: int, hz: float = 110.0, level_db: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Output over input through one period of a settled sine: `(input [P], output [P])`."""
    period = round(rate / hz)
    sine = 10 ** (level_db / 20) * np.sin(2 * np.pi * np.arange(rate // period * period) / period)
    answer = np.asarray(play(sine.astype(np.float32)))
    return sine[-period:], answer[-period:]


def gain_curve(
    play: Play, rate: int, levels_db: np.ndarray | None = None, hz: float = 1000.0, seconds: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Output level over input level of a sine in steps, quiet to loud: `(input dB, gain dB)`, RMS of each step's end.

    A compressor's static curve; each step lasts long enough for slow ones only if `seconds` is.
    """
    levels = np.arange(-60.0, 0.1, 3.0) if levels_db is None else np.asarray(levels_db, np.float64)
    length, period = round(seconds * rate), rate / hz
    time = np.arange(length * len(levels))
    sine = np.sin(2 * np.pi * time / period) * np.repeat(10 ** (levels / 20), length)
    answer = np.asarray(play(sine.astype(np.float32)), np.float64)
    measured = round(max(1, np.floor(0.25 * length / period)) * period)
    ends = [slice((step + 1) * length - measured, (step + 1) * length) for step in range(len(levels))]
    gains = [10 * np.log10((np.mean(answer[end] ** 2) + TINY) / np.mean(sine[end] ** 2)) for end in ends]
    return levels, np.array(gains)


def gain_reduction(dry: np.ndarray, wet: np.ndarray, rate: int, seconds: float = 0.01) -> np.ndarray:
    """Gain in dB, frame after frame, of what a device did to a signal; NaN where the dry signal rests."""
    frame = round(seconds * rate)
    count = min(len(dry), len(wet)) // frame
    cut = [np.asarray(x[: count * frame], np.float64).reshape(count, frame) for x in (dry, wet)]
    before, after = ((x**2).mean(axis=1) for x in cut)
    gain = 10 * np.log10((after + TINY) / (before + TINY))
    return np.where(before > 1e-6 * before.max(), gain, np.nan)


def frequency_response(
    play: Play, rate: int, level_db: float = -20.0, seconds: float = 2.0, points: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """The linear part's gain over frequency: `(Hz [P], dB [P])`, 20 Hz to 0.4 of the rate, by an exponential sweep.

    The sweep puts harmonics before the linear part in time, where they are cut away. Smoothed over a twelfth of an
    octave.
    """
    sweep = exponential_sweep(rate, seconds, 15.0, 0.45 * rate) * 10 ** (level_db / 20)
    answer = np.asarray(play(np.concatenate([sweep, np.zeros(rate // 2)]).astype(np.float32)))
    return swept(sweep, answer, rate, points)


def swept(sweep: np.ndarray, answer: np.ndarray, rate: int, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """The linear part's gain, as `frequency_response` has it, from a sweep `[N]` and what came back `[M]`."""
    sweep, answer = np.asarray(sweep, np.float64), np.asarray(answer, np.float64)
    size = 1 << (2 * len(answer)).bit_length()
    source = np.fft.rfft(sweep, size)
    power = np.abs(source) ** 2
    response = np.fft.irfft(np.fft.rfft(answer, size) * np.conj(source) / (power + 1e-9 * power.max()), size)
    response[rate // 2 : -rate // 200] = 0  # what precedes the linear part are harmonics
    output = np.abs(np.fft.rfft(response)) ** 2
    wanted = np.geomspace(20.0, 0.9 * 0.45 * rate, points)
    edges = np.outer(wanted, [2 ** (-1 / 24), 2 ** (1 / 24)]) / rate * size
    sums = np.concatenate([[0], np.cumsum(output)])
    first, last = np.floor(edges[:, 0]).astype(int), np.ceil(edges[:, 1]).astype(int)
    return wanted, 10 * np.log10((sums[last] - sums[first]) / (last - first) + TINY)


def exponential_sweep(rate: int, seconds: float, low_hz: float = 20.0, high_hz: float = 20000.0) -> np.ndarray:
    """A sine whose pitch rises evenly (Farina 2000), faded for 10 ms at both ends; amplitude 1."""
    time = np.arange(round(seconds * rate)) / rate
    octaves = np.log(high_hz / low_hz)
    sweep = np.sin(2 * np.pi * low_hz * seconds / octaves * np.expm1(time / seconds * octaves))
    ramp = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
    return sweep * (0.5 - 0.5 * np.cos(np.pi * ramp))
