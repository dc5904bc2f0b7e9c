"""How a wet recording lies in time against its dry one: latency, polarity, drift, and how sure that is.

The estimate is the device's linear part: a regularised division of the spectra gives an impulse response that stands
out sharply even behind a fuzz, where a plain cross-correlation follows the loudest note. Its peak is the lag, its sign
the polarity, its height over the rest the confidence. Against that linear part the lag is then followed through the
file, which shows clocks that run apart (a slope) and tape (a wobble).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len

from .sound import resample

LONGEST_S = 30.0  # of the recording is looked at
SEARCH_S = 5.0  # latency looked for, both ways
REGULAR = 1e-2  # of the dry signal's mean power, added before the division
RISE_S = 0.0015  # the response begins at most this long before its peak
RISEN = 0.25  # of the peak: where it has begun
UNSURE, SURE, UNLIKE = 6.0, 24.0, 0.15  # the peak over the response's RMS: chance reaches 6, a certain one is above 24;
# and the likeness below which a middling peak is chance as well
LOOK_S = 2.0  # of each coarse look at the lag, for clocks that run far apart
WINDOW_S = 0.5  # of each fine look
FOLLOW_S = 0.02  # how far it may wander


class Alignment(NamedTuple):
    """Times in samples; positive: the wet signal is late."""

    lag: int  # of the strongest part of the response
    arrival: int  # of its first part
    polarity: int  # +1, or -1 where the wet signal is upside down
    confidence: float  # 0..1
    drift: float  # samples of lag gained per sample: 1e-6 is one part in a million
    wobble: float  # median distance of the lag from its straight line
    likeness: float  # correlation with the linear part of the device, median over time, 0..1


def find(dry: np.ndarray, wet: np.ndarray, rate: int) -> Alignment:
    """Lay `wet` `[N]` against `dry` `[N]`."""
    dry, wet = _part(dry, wet, rate)
    response = respond(dry, wet)
    run = _run_apart(dry, wet, rate)
    if run:
        steady = resample(wet, 1 + run, 1.0)
        wet = np.pad(steady, (0, max(0, len(dry) - len(steady))))[: len(dry)]
        response = respond(dry, wet)
    reach = min(round(SEARCH_S * rate), len(dry) - 1)
    near = np.concatenate([response[-reach:], response[: reach + 1]])
    size = np.abs(near)
    top = int(np.argmax(size))
    spread = float(np.sqrt(np.mean(near**2)))
    confidence = (size[top] / spread - UNSURE) / (SURE - UNSURE) if spread > 0 else 0.0
    first = max(0, top - round(RISE_S * rate))
    arrival = first + int(np.argmax(size[first : top + 1] >= RISEN * size[top]))
    lag = top - reach
    drift, wobble, likeness = _follow(dry, wet, response, lag, rate)
    if likeness < UNLIKE and confidence < 0.6:
        confidence = 0.0
    return Alignment(
        lag,
        arrival - reach,
        1 if near[top] >= 0 else -1,
        float(np.clip(confidence, 0, 1)),
        run + drift,
        wobble,
        likeness,
    )


def respond(dry: np.ndarray, wet: np.ndarray) -> np.ndarray:
    """The linear part of the way from dry to wet as an impulse response; negative times lie at the array's end."""
    size = next_fast_len(2 * max(len(dry), len(wet)), real=True)
    x, y = np.fft.rfft(dry, size), np.fft.rfft(wet, size)
    power = np.abs(x) ** 2
    return np.fft.irfft(np.conj(x) * y / (power + REGULAR * power.mean() + 1e-30), size)


def shifted(dry: np.ndarray, wet: np.ndarray, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Both signals with `delay` samples of latency taken out of the wet one, cut to what they have in common."""
    if delay >= 0:
        wet = wet[delay:]
    else:
        dry = dry[-delay:]
    length = min(len(dry), len(wet))
    return dry[:length], wet[:length]


def _part(dry: np.ndarray, wet: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The part that is looked at: from the first sound on."""
    loud = np.abs(dry) > 0.01 * max(float(np.abs(dry).max()), 1e-9)
    start = max(0, int(np.argmax(loud)) - rate)
    part = slice(start, start + round(LONGEST_S * rate))
    dry, wet = dry[part].astype(np.float64), wet[part].astype(np.float64)
    length = max(len(dry), len(wet), 2)
    return np.pad(dry, (0, length - len(dry))), np.pad(wet, (0, length - len(wet)))


def _run_apart(dry: np.ndarray, wet: np.ndarray, rate: int) -> float:
    """Drift, coarse, from the lag of each two seconds; 0 where it makes less than two samples in all."""
    width, lags, times = round(LOOK_S * rate), [], []
    for at in range(0, len(dry) - width + 1, width):
        size = np.abs(respond(dry[at : at + width], wet[at : at + width]))
        size[width // 2 : -width // 2] = 0
        top = int(np.argmax(size))
        if size[top] > SURE / 2 * np.sqrt(np.mean(size**2)):
            lags.append(top if top < width else top - len(size))
            times.append(at)
    if len(lags) < 4:
        return 0.0
    slope = _slope(np.array(times), np.array(lags))
    return slope if abs(slope) * len(dry) >= 2 else 0.0


def _slope(times: np.ndarray, values: np.ndarray) -> float:
    """The median of the slopes of all lines through two points (Theil and Sen): strays do not bend it."""
    one, other = np.triu_indices(len(times), 1)
    return float(np.median((values[other] - values[one]) / (times[other] - times[one])))


def _follow(dry, wet, response, lag: int, rate: int) -> tuple[float, float, float]:
    """Drift, wobble and likeness, from the lag of window after window against the linear part's output."""
    size = len(response)
    inside = (lag + np.arange(-round(0.002 * rate), round(FOLLOW_S * rate))) % size
    kernel = np.zeros(size)
    kernel[inside] = response[inside]
    # differences, as what is high tells time better
    linear = np.diff(np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(kernel), size)[: len(dry)])
    wet = np.diff(wet)
    width = round(WINDOW_S * rate)
    room = next_fast_len(2 * width, real=True)
    window, reach, quiet = np.hanning(width), round(0.01 * rate), 0.03 * np.sqrt(np.mean(linear**2))
    times, lags, likenesses = [], [], []
    for at in range(0, len(linear) - width + 1, width // 2):
        a, b = linear[at : at + width] * window, wet[at : at + width] * window
        energy = np.sqrt(np.sum(a**2) * np.sum(b**2))
        if np.sqrt(np.mean(a**2)) < quiet or energy == 0:
            continue
        both = np.fft.irfft(np.conj(np.fft.rfft(a, room)) * np.fft.rfft(b, room), room)
        near = np.concatenate([both[-reach:], both[: reach + 1]]) / energy
        top = int(np.argmax(near))
        likenesses.append(near[top])
        if 0 < top < 2 * reach and near[top] > 0.5:
            before, here, after = near[top - 1 : top + 2]
            lags.append(top - reach + 0.5 * (before - after) / (before - 2 * here + after))
            times.append(at + width / 2)
    likeness = float(np.clip(np.median(likenesses), 0, 1)) if likenesses else 0.0
    if len(lags) < 8:
        return 0.0, 0.0, likeness
    slope = _slope(np.array(times), np.array(lags))
    rest = np.array(lags) - slope * np.array(times)
    return slope, float(np.median(np.abs(rest - np.median(rest)))), likeness
