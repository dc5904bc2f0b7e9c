"""The capture signal: the same every time, as described, and good to learn from."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import checks, signals, sound
from trainer.config import TrainerError

RATE = 44100


@pytest.fixture(scope="module")
def signal():
    return signals.capture_signal(RATE, 26)


def test_it_is_the_same_every_time(signal):
    assert signal.dtype == np.float32 and len(signal) == 26 * RATE
    np.testing.assert_array_equal(signal, signals.capture_signal(RATE, 26))
    assert np.abs(signal).max() == pytest.approx(0.5)


def test_its_parts_are_where_they_are_said_to_be(signal):
    def part(begin, end):
        return signal[round(begin * RATE) : round(end * RATE)].astype(np.float64)

    assert not part(0, 0.74).any() and not part(25.7, 26).any()
    for at in signals.blips(26):
        assert part(at - 0.01, at).any() == 0 and np.abs(part(at, at + 0.001)).max() == pytest.approx(0.5, rel=0.1)
    crossings = [np.sum(np.diff(np.sign(part(t, t + 0.1))) != 0) for t in (2.2, 3.0, 3.7)]
    assert crossings == sorted(crossings) and crossings[-1] > 20 * crossings[0], "the sweep rises"
    tone = [np.sqrt(np.mean(part(8 + 0.25 * n, 8.2 + 0.25 * n) ** 2)) for n in range(12)]
    np.testing.assert_allclose(np.diff(20 * np.log10(tone)), 4, atol=0.1)
    again = part(26 - 3.25, 26 - 1.25)
    first = part(15, 17)
    np.testing.assert_allclose(again[RATE // 2 :], first[RATE // 2 :], atol=0.05)
    assert np.corrcoef(again[RATE // 2 :], first[RATE // 2 :])[0, 1] > 0.9


@pytest.mark.parametrize("late", [0, 3, 1234])
@pytest.mark.parametrize(
    "device", [lambda x: -np.tanh(8 * x) / 2, lambda x: np.convolve(x, np.ones(40) / 40)[: len(x)]]
)
def test_the_loops_latency_is_found(signal, device, late):
    heard = np.concatenate([np.zeros(late), device(signal)]) + 1e-4 * np.random.default_rng(0).normal(
        size=len(signal) + late
    )
    loop = signals.measure(signal, heard.astype(np.float32), RATE)
    assert loop.latency == max(0, late - 1) and loop.findings == []
    assert loop.noise_db == pytest.approx(-80, abs=0.3)


def test_it_aligns_without_its_clicks_too(signal):
    wet = np.concatenate([np.zeros(500, np.float32), np.tanh(5 * signal).astype(np.float32)])
    report = checks.examine(sound.Recording(signal[:, None], RATE), sound.Recording(wet[:, None], RATE))
    assert [finding.kind for finding in report.findings] == ["latency"] and abs(report.delay - 500) <= 2


def test_a_gate_hides_clicks_and_a_short_return_is_no_trouble(signal):
    heard = signal.copy()
    heard[round(1.2 * RATE) : round(1.4 * RATE)] = 0
    assert [finding.kind for finding in signals.measure(signal, heard, RATE).findings] == ["gate"]
    assert signals.measure(signal, signal[: 2 * RATE], RATE).latency == 0
    assert signals.measure(signal, signal[:100], RATE).latency is None


@pytest.mark.parametrize(("rate", "seconds"), [(48000, 10), (48000, 4000), (100, 60)])
def test_a_signal_that_cannot_be_says_why(rate, seconds):
    with pytest.raises(TrainerError, match="must be 24 to 1800 s at 8 to 192 kHz"):
        signals.capture_signal(rate, seconds)
