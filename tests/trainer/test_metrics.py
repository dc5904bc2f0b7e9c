"""Metrics: loudness against the standard's signals and pyloudnorm, everything else against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from trainer import metrics

RATE = 48000


def noise(seconds: float, seed: int = 0):
    return 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))


@pytest.mark.parametrize(
    ("name", "expected", "within"),
    [
        ("sine_1000.wav", -3.0523438444331137, 1e-3),
        ("1770-2_Comp_RelGateTest.wav", -10.0, 0.1),
        ("1770-2_Comp_AbsGateTest.wav", -69.5, 0.1),
    ],
)
def test_loudness_of_the_standards_signals(fixtures, name, expected, within):
    x, rate = soundfile.read(fixtures / "audio/lufs" / name)
    assert metrics.loudness(x, rate) == pytest.approx(expected, abs=within)


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_loudness_is_pyloudnorms(rate, channels):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    rng = np.random.default_rng(channels)
    swell = np.exp(rng.uniform(-6, 0, 12)).repeat(rate // 3)[:, None]
    x = 0.2 * swell * rng.normal(size=(len(swell), channels))
    assert metrics.loudness(x, rate) == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(x), abs=1e-6)


def test_silence_has_no_loudness():
    assert metrics.loudness(np.zeros(RATE), RATE) == -np.inf
    assert metrics.loudness(noise(0.3), RATE) == -np.inf


def test_what_is_said_of_a_model():
    target = noise(1.0)
    said = metrics.compare(0.5 * target, target, RATE)
    assert said["esr"] == pytest.approx(0.25, rel=1e-4) and said["polarity"] == 1
    assert said["mae"] == pytest.approx(0.5 * np.abs(target).mean(), rel=1e-3)
    assert said["lufs_difference"] == pytest.approx(-6.0206, abs=1e-3)
    assert said["stft"] == pytest.approx(0.5 + np.log(2), rel=1e-3)
    assert said["mr_stft"] == pytest.approx(0.5 + np.log(2), rel=1e-3)
    upside_down = metrics.compare(-target, target, RATE)
    assert upside_down["esr"] == pytest.approx(4) and upside_down["polarity"] == -1
    assert upside_down["mr_stft"] == pytest.approx(0, abs=1e-3)
    quiet = 1e-4 * target
    assert metrics.esr(0.9 * quiet, quiet) == pytest.approx(0.01), "quiet recordings count like loud ones"
    assert metrics.compare(target, np.zeros_like(target), RATE)["lufs_difference"] == 0.0


def test_decay_of_a_room():
    seconds = np.arange(2 * RATE) / RATE
    for expected in (0.4, 1.2):
        response = noise(2.0) * 10 ** (-3 * seconds / expected)
        assert metrics.t60(response, RATE) == pytest.approx(expected, rel=0.02)
        decay = metrics.energy_decay(response)
        assert decay[0] == 0 and (np.diff(decay) <= 0).all()
        assert decay[round(expected / 2 * RATE)] == pytest.approx(-30, abs=0.7)
    assert np.isnan(metrics.t60(noise(0.5), RATE)), "what does not decay has no reverberation time"


def test_decay_of_a_hall(fixtures):
    response, rate = soundfile.read(fixtures / "audio/dev/reverb_hall_ir.wav")
    assert 0.5 < metrics.t60(response, rate) < 8


def test_harmonics_of_known_curves():
    cubic = metrics.harmonics(lambda x: x - 0.5 * np.float32(4) * x**3, RATE, level_db=-20.0)
    a = 0.1  # of the sine; sin^3 = (3 sin - sin 3) / 4
    first, third = a - 1.5 * a**3, 0.5 * a**3
    assert cubic.hz[0] == pytest.approx(1001, abs=0.5) and cubic.hz[2] == pytest.approx(3 * cubic.hz[0])
    assert cubic.db[0] == pytest.approx(20 * np.log10(first), abs=1e-3)
    assert cubic.db[2] == pytest.approx(20 * np.log10(third), abs=1e-2)
    assert cubic.thd == pytest.approx(third / first, rel=1e-3)
    assert cubic.db[1] < -120 and cubic.aliasing_db < -100
    square = metrics.harmonics(lambda x: x + 0.5 * x**2, RATE, level_db=0.0)
    assert square.dc == pytest.approx(0.25, abs=1e-4) and square.thd == pytest.approx(0.25, rel=1e-3)
    assert metrics.harmonics(np.sign, RATE).thd == pytest.approx(0.47, abs=0.02), (
        "odd harmonics 1/3, 1/5, ... to 24 kHz"
    )


def test_aliases_are_told_from_harmonics():
    hard = metrics.harmonics(np.sign, RATE, hz=5000.0)
    soft = metrics.harmonics(lambda x: np.tanh(x), RATE, hz=5000.0)
    assert hard.aliasing_db > -15 and soft.aliasing_db < -80
    assert (np.diff(hard.hz) == hard.hz[0]).all() and hard.hz[-1] < RATE / 2


def test_transfer_curve_is_the_curve():
    x, y = metrics.transfer_curve(lambda x: np.tanh(3 * x), RATE)
    np.testing.assert_allclose(y, np.tanh(3 * x), atol=1e-5)
    assert x.max() == pytest.approx(1, abs=1e-3) and x.min() == pytest.approx(-1, abs=1e-3)


def test_static_curve_of_a_compressor():
    """4:1 above -30 dB, the level told from the sine's own envelope."""

    def compress(x):
        frame = RATE // 100
        level = 10 * np.log10(2 * np.mean(x.reshape(-1, frame) ** 2, axis=1) + 1e-20)
        return x * 10 ** (-0.75 * np.maximum(0, level + 30) / 20).repeat(frame)

    levels, gains = metrics.gain_curve(compress, RATE)
    np.testing.assert_allclose(gains, -0.75 * np.maximum(0, levels + 30), atol=0.05)


def test_gain_over_time():
    dry = noise(1.0)
    wet = dry * np.where(np.arange(RATE) < RATE // 2, 1.0, 0.25)
    dry[: RATE // 10] = 0
    gain = metrics.gain_reduction(dry, wet, RATE)
    assert np.isnan(gain[:9]).all()
    np.testing.assert_allclose(gain[11:49], 0, atol=1e-6)
    np.testing.assert_allclose(gain[51:], -12.04, atol=0.01)


def test_frequency_response_of_a_filter():
    signal = pytest.importorskip("scipy.signal")
    b, a = signal.butter(2, 1000, fs=RATE)
    hz, gain = metrics.frequency_response(lambda x: signal.lfilter(b, a, x), RATE)
    expected = 20 * np.log10(np.abs(signal.freqz(b, a, hz, fs=RATE)[1]))
    audible = expected > -50
    np.testing.assert_allclose(gain[audible], expected[audible], atol=0.3)
    _, delayed = metrics.frequency_response(lambda x: 0.5 * np.concatenate([np.zeros(300), x[:-300]]), RATE)
    np.testing.assert_allclose(delayed, -6.02, atol=0.6)
