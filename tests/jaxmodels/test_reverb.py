"""The reverb: how long it lasts, how dense and how even it is, and that nobody can break it by turning knobs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels import ring
from jaxmodels.dsp.reverb import LINE_MS, Reverb
from jaxmodels.effect import apply, hold, positions
from tests.variants import slow_except

RATE = 48000
BLOCK = 128
LENGTH = 5 * RATE  # of all that is rendered, so that it is compiled once


def response(channels=1, rate=RATE, into=slice(None), **knobs):
    """The wet impulse response, [T, C] as float64."""
    reverb = Reverb(sample_rate=rate, channels=channels)
    x = np.zeros((LENGTH, channels), np.float32)
    x[0, into] = 1
    return np.asarray(apply(reverb, x, positions(reverb, {"mix": 1.0, **knobs})), np.float64)


def band(signal, centre_hz, rate=RATE, octaves=0.7):
    """The part of a signal around a frequency."""
    size = 2 * len(signal)
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / rate), 1)
    weight = np.exp(-0.5 * (np.log2(frequency / centre_hz) / (0.5 * octaves)) ** 2)
    return np.fft.irfft(np.fft.rfft(signal, size) * weight)[: len(signal)]


def t60(signal, rate=RATE):
    """Reverberation time in s: Schroeder's backward integral, the line from -5 to -35 dB, twice."""
    energy = np.cumsum(signal[::-1] ** 2)[::-1]
    level_db = 10 * np.log10(energy / energy[0] + 1e-20)
    part = slice(np.argmax(level_db < -5), np.argmax(level_db < -35))
    slope, _ = np.polyfit(np.arange(len(signal))[part] / rate, level_db[part], 1)
    return -60 / slope


@pytest.mark.parametrize("decay", slow_except([1], [0.5, 1, 2, 4]))
@pytest.mark.parametrize("size", [0.0, 0.5, 1.0])
def test_decay_is_the_reverberation_time(decay, size):
    wet = response(decay=decay, size=size)[:, 0]
    middle = np.mean([t60(band(wet, hz)) for hz in (500, 700, 1000)])
    assert middle == pytest.approx(decay, rel=0.05)
    assert t60(wet) == pytest.approx(decay, rel=0.15)


def test_damping_shortens_the_treble_and_leaves_the_middle():
    treble = []
    for damping in (0.0, 0.5, 1.0):
        wet = response(decay=2.0, damping=damping, modulation=0.0)[:, 0]
        assert t60(band(wet, 700)) == pytest.approx(2.0, rel=0.05)
        treble.append(t60(band(wet, 6000, octaves=0.2)))
    assert treble == pytest.approx([2.0, 2.0 * 0.3**0.5, 2.0 * 0.3], rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [22050, 96000])
def test_other_rates(rate):
    wet = response(rate=rate, decay=1.0)[:, 0]
    assert t60(band(wet, 700, rate), rate) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("size", [0.0, 0.5, 1.0])
def test_the_tail_is_dense_even_and_decorrelated(size):
    """Late reverberation is like noise: Gaussian, without a period, and different left and right."""
    wet = response(channels=2, decay=1.5, size=size)
    power = (wet**2).sum(0)
    assert abs(10 * np.log10(power[0] / power[1])) < 1
    assert abs(np.corrcoef(wet.T)[0, 1]) < 0.1
    late = (wet * np.exp(6.9 / 1.5 * np.arange(len(wet)) / RATE)[:, None])[RATE // 5 : 4 * RATE // 5, 0]
    assert np.mean(late**4) / np.mean(late**2) ** 2 == pytest.approx(3, abs=0.4)
    # Echo density (Abel and Huang 2006): as many samples outside one standard deviation as in Gaussian noise.
    assert np.mean(np.abs(late) > late.std()) == pytest.approx(0.3173, abs=0.03)
    alike = np.fft.irfft(np.abs(np.fft.rfft(late, 1 << 16)) ** 2)
    assert np.abs(alike[RATE // 250 : RATE // 3]).max() < 0.3 * alike[0]
    spectrum = np.abs(np.fft.rfft(late * np.hanning(len(late)))) ** 2
    middle = spectrum[round(300 * len(late) / RATE) : round(3000 * len(late) / RATE)]
    assert middle.max() < 40 * middle.mean()  # 16 dB; noise itself has 10


@pytest.mark.parametrize("into", [0, 1])
def test_each_input_reaches_both_sides_alike(into):
    power = (response(channels=2, into=into) ** 2).sum(0)
    assert abs(10 * np.log10(power[0] / power[1])) < 1


def test_level_hardly_depends_on_decay_and_size():
    levels = [
        10 * np.log10((band(response(decay=decay, size=size)[:, 0], 700) ** 2).sum())
        for decay in (0.3, 1, 4)
        for size in (0.1, 0.9)
    ]
    assert max(levels) - min(levels) < 3


def test_size_and_predelay_move_the_first_sound():
    for size, predelay in ((0.0, 0), (1.0, 0), (0.5, 100)):
        wet = np.abs(response(size=size, predelay=predelay, modulation=0.0)[:, 0])
        shortest_ms = LINE_MS[0] * 0.2 ** (1 - size)
        first_ms = 1000 * np.argmax(wet > 1e-3 * wet.max()) / RATE
        assert shortest_ms + predelay < first_ms < shortest_ms + predelay + 5


def test_no_mix_is_the_dry_sound():
    reverb = Reverb(channels=2)
    x = np.random.default_rng(0).normal(size=(LENGTH, 2)).astype(np.float32)
    np.testing.assert_array_equal(apply(reverb, x, positions(reverb, {"mix": 0})), x)


def turned(x, **moves):
    """A mono reverb, wet only, its knobs thrown to and fro every 50 ms, in 5 ms: `name=(first, second)`."""
    reverb = Reverb()
    ends = [positions(reverb, {"mix": 1.0} | {name: values[i] for name, values in moves.items()}) for i in (0, 1)]
    to_and_fro = np.clip(np.abs(np.arange(len(x)) % 4800 - 2400) - 1080, 0, 240)[:, None] / 240
    return np.asarray(apply(reverb, x, ends[0] + (ends[1] - ends[0]) * to_and_fro.astype(np.float32)))[:, 0]


@pytest.mark.parametrize("moves", [{"size": (0.0, 1.0)}, {"predelay": (0.0, 200.0)}, {"modulation": (0.0, 1.0)}])
def test_a_thrown_knob_does_not_click(moves):
    """A 200 Hz sine stays a slow signal: a delay that glides by 0.2 samples a sample bends it to 240 Hz."""
    x = 0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)[:, None].astype(np.float32)
    wet = turned(x, **moves)[RATE // 4 :]
    # Twice differenced, a 240 Hz sine is 0.001 of itself; a click is as large as it was.
    assert np.abs(np.diff(wet, 2)).max() < 0.01 * np.abs(wet).max()


def test_wild_turning_stays_bounded():
    x = np.random.default_rng(0).uniform(-1, 1, (RATE, 1)).astype(np.float32)
    moves = {"size": (0, 1), "decay": (0.1, 10), "damping": (0, 1), "predelay": (0, 200), "modulation": (0, 1)}
    wet = turned(x, **moves)
    assert np.isfinite(wet).all() and np.abs(wet).max() < 10


def test_the_longest_decay_dies():
    wet = band(response(decay=10.0, size=0.0, damping=0.0, modulation=1.0)[:, 0], 700)
    loudness_db = [20 * np.log10(np.std(wet[i * RATE : (i + 1) * RATE])) for i in range(5)]
    assert np.diff(loudness_db) == pytest.approx([-6] * 4, abs=1)


@pytest.mark.slow
def test_live_blocks_in_a_ring_equal_the_whole():
    reverb = Reverb(channels=2)
    x = np.random.default_rng(0).normal(size=(LENGTH, 2)).astype(np.float32)
    knobs = jnp.asarray(positions(reverb, {"mix": 1.0, "size": 0.2}))
    whole = apply(reverb, x, knobs)
    step = jax.jit(lambda state, x: reverb.step(state, x, hold(knobs, len(x))))
    state = jax.jit(lambda: ring.pack(reverb.initial_state(knobs), BLOCK))()
    for at in range(0, RATE // 4, BLOCK):
        y, state = step(state, x[at : at + BLOCK])
        assert np.abs(y - whole[at : at + BLOCK]).max() < 1e-5
    assert np.abs(y).max() > 0.1
