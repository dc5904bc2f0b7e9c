"""The limiter: nothing above the ceiling, nothing touched below it."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmodels.dsp.limiter import Limiter
from jaxmodels.effect import apply, positions

RATE = 48000
LOUD = 10 ** (24 / 20)
LENGTH = 12000


def true_peak_db(y, factor=16):
    """True peak in dB of a signal that begins and ends in silence: band-limited interpolation of its whole spectrum."""
    spectrum = np.fft.rfft(np.asarray(y, np.float64))
    if len(y) % 2 == 0:
        spectrum[-1] /= 2
    fine = np.fft.irfft(np.concatenate([spectrum, np.zeros((factor - 1) * len(y) // 2)]), factor * len(y)) * factor
    return 20 * np.log10(np.abs(fine).max())


def signals():
    rng = np.random.default_rng(3)
    t = np.arange(LENGTH)
    noise, ends = rng.normal(size=LENGTH), rng.uniform(-1, 1, LENGTH)
    sparse = np.zeros(LENGTH)
    sparse[rng.integers(0, LENGTH, 40)] = rng.choice([-1, 1], 40)
    bursts = [np.sin(f * np.arange(1200) + 0.3) * (np.arange(1200) < 600) for f in rng.uniform(0, 2.6, 10)]
    guitar = np.exp(-t / 4000) * sum(np.sin(2 * np.pi * 110 * k * t / RATE + k * k) / k for k in range(1, 40))
    found = {
        "white noise": noise / np.abs(noise).max(),
        "uniform noise": ends,
        "random signs": np.sign(ends),
        "quarter of the rate at 45 degrees": np.sin(np.pi / 2 * t + np.pi / 4),
        "sine 19997 Hz": np.sin(2 * np.pi * 19997 * t / RATE + 0.3),
        "sine 23500 Hz": np.sin(2 * np.pi * 23500 * t / RATE + 0.3),
        "impulses": sparse,
        "step": np.ones(LENGTH),
        "bursts": np.concatenate(bursts),
        "clipped guitar": np.clip(8 * guitar, -1, 1),
    }
    found |= {f"square {f} Hz": np.sign(np.sin(2 * np.pi * f * t / RATE + 0.3)) for f in (100, 997, 5000, 11000)}
    return {name: np.pad(x, 600).astype(np.float32) for name, x in found.items()}


SIGNALS = signals()


@pytest.mark.parametrize("name", SIGNALS)
def test_true_peak_stays_at_or_below_the_ceiling(name):
    limiter = Limiter()
    for level in (LOUD, 2.0, 1.0, 0.9):
        for release in (80.0, 10.0):
            y = apply(limiter, level * SIGNALS[name], positions(limiter, {"release": release}))
            assert true_peak_db(y) <= -1.0, f"at {level:.2f}, release {release} ms"


@pytest.mark.parametrize("ceiling", [-24.0, -6.0, -1.0])
def test_a_tone_above_the_ceiling_comes_out_just_below_it(ceiling):
    limiter = Limiter()
    tone = np.pad(LOUD * np.sin(0.13 * np.arange(LENGTH)), 600).astype(np.float32)
    y = np.asarray(apply(limiter, tone, positions(limiter, {"ceiling": ceiling})))[3000:9000]
    assert ceiling - 0.15 < 20 * np.log10(np.abs(y).max()) <= ceiling


@pytest.mark.parametrize("rate", [32000, 44100, 48000, 96000])
def test_below_the_ceiling_it_is_a_delay_bit_for_bit(rate):
    rng = np.random.default_rng(0)
    spectrum = rng.normal(size=LENGTH // 2 + 1) + 1j * rng.normal(size=LENGTH // 2 + 1)
    spectrum[int(0.41 * LENGTH) :] = 0  # music has little above 20 kHz
    x = np.pad(np.fft.irfft(spectrum) * np.hanning(LENGTH), 600)
    x = (x * 10 ** ((-1.05 - true_peak_db(x)) / 20)).astype(np.float32)
    limiter = Limiter(sample_rate=rate)
    y = np.asarray(apply(limiter, x))
    assert limiter.latency <= 0.0015 * rate
    assert (y[limiter.latency :] == x[: -limiter.latency]).all()


def test_white_noise_well_below_the_ceiling_is_untouched():
    x = np.random.default_rng(0).uniform(-0.4, 0.4, (4000, 2)).astype(np.float32)
    limiter = Limiter(channels=2)
    y = np.asarray(apply(limiter, x))
    assert (y[limiter.latency :] == x[: -limiter.latency]).all()


def test_it_lets_go_completely_after_a_peak():
    x = 0.5 * np.sin(0.1 * np.arange(60000)).astype(np.float32)
    x[500] = 10.0
    limiter = Limiter()
    y = np.asarray(apply(limiter, x, positions(limiter, {"release": 40.0})))[limiter.latency :]
    gain = y[600:] / np.where(np.abs(x[600 : len(y)]) > 0.1, x[600 : len(y)], np.nan)
    after = [int(np.nanargmax(gain > 1 - (1 - gain[5]) * np.exp(-n))) for n in (1, 2)]
    assert np.diff(after)[0] == pytest.approx(0.040 * RATE, rel=0.02)  # one time constant
    assert (y[-500:] == x[len(y) - 500 : len(y)]).all()


def test_one_gain_for_both_channels():
    x = np.zeros((3000, 2), np.float32)
    x[:, 0] = 4 * np.sin(0.2 * np.arange(3000))
    x[:, 1] = 0.25
    limiter = Limiter(channels=2)
    y = np.asarray(apply(limiter, x))
    assert np.abs(y[1500:, 0]).max() < 0.9
    assert y[1500:, 1].max() < 0.25 * 0.9 / 4 * 1.05
