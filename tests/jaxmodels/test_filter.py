"""Filters against the analytic response of the bilinear transform, and under knobs that jump."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.boxes import make
from jaxmodels.dsp.filter import HIGHEST
from jaxmodels.effect import apply, positions

RATES = (44100, 48000, 96000)
LENGTH = 32768


def measured(box, **values):
    """Frequencies above DC in Hz, and the complex response there, from an impulse."""
    impulse = np.zeros((LENGTH, box.channels), np.float32)
    impulse[0] = 1
    response = np.asarray(apply(box, impulse, positions(box, values)), np.float64)[:, 0]
    return np.fft.rfftfreq(LENGTH, 1 / box.rate)[1:], np.fft.rfft(response)[1:]


def analogue(hz, f0, rate):
    """The analogue frequency, relative to f0, that the bilinear transform puts at `hz`."""
    return 1j * np.tan(np.pi * hz / rate) / np.tan(np.pi * f0 / rate)


def low_shelf(s, q, db):
    a = 10 ** (db / 40)
    return a * (s**2 + np.sqrt(a) / q * s + a) / (a * s**2 + np.sqrt(a) / q * s + 1)


def high_shelf(s, q, db):
    a = 10 ** (db / 40)
    return a * (a * s**2 + np.sqrt(a) / q * s + 1) / (s**2 + np.sqrt(a) / q * s + a)


def peak(s, q, db):
    a = 10 ** (db / 40)
    return (s**2 + a / q * s + 1) / (s**2 + s / (a * q) + 1)


def decibels(response):
    return 20 * np.log10(np.abs(response))


def assert_same_response(got, want, floor_db=-90.0):
    heard = decibels(want) > floor_db
    assert np.abs(decibels(got) - decibels(want))[heard].max() < 0.01
    assert np.abs(got - want).max() < 1e-3 * np.abs(want).max()


@pytest.mark.parametrize("rate", RATES)
def test_low_pass_response(rate):
    box = make("low_pass", sample_rate=rate)
    for cutoff, q in ((200.0, 0.707), (1500.0, 1.0), (8000.0, 0.3), (20000.0, 0.707)):
        hz, got = measured(box, cutoff=cutoff, q=q)
        s = analogue(hz, cutoff, rate)
        assert_same_response(got, 1 / (s**2 + s / q + 1))


@pytest.mark.parametrize("rate", RATES)
def test_dc_block_response(rate):
    box = make("dc_block", sample_rate=rate)
    for cutoff in (20.0, 35.0, 100.0):
        hz, got = measured(box, cutoff=cutoff)
        s = analogue(hz, cutoff, rate)
        assert_same_response(got, s / (s + 1))


@pytest.mark.parametrize("rate", RATES)
def test_eq_response(rate):
    """The mid is narrower where it cuts (Q 1.5) than where it boosts (Q 0.7)."""
    box = make("eq", sample_rate=rate)
    for bass, mid, treble in ((20.0, 0.0, 0.0), (0.0, 15.0, 0.0), (0.0, -15.0, 10.0), (-20.0, -6.0, -10.0), (8, 5, -3)):
        hz, got = measured(box, bass=bass, mid=mid, treble=treble)
        want = (
            low_shelf(analogue(hz, 150.0, rate), 0.707, bass)
            * peak(analogue(hz, 425.0, rate), 1.5 if mid < 0 else 0.7, mid)
            * high_shelf(analogue(hz, 1800.0, rate), 0.707, treble)
        )
        assert_same_response(got, want)


def test_a_flat_eq_is_a_wire():
    box = make("eq", channels=2)
    x = np.random.default_rng(0).uniform(-1, 1, (2000, 2)).astype(np.float32)
    np.testing.assert_allclose(apply(box, x), x, rtol=0, atol=1e-6)


def test_channels_are_filtered_alike_and_apart():
    stereo, mono = make("eq", channels=2), make("eq")
    x = np.random.default_rng(1).uniform(-1, 1, (600, 2)).astype(np.float32)
    knobs = positions(stereo, {"bass": 12.0, "mid": -9.0})
    apart = np.stack([apply(mono, x[:, c], knobs) for c in range(2)], axis=1)
    np.testing.assert_allclose(apply(stereo, x, knobs), apart, rtol=0, atol=1e-5)


def test_cutoff_is_held_below_nyquist():
    """At 22.05 kHz the knob reaches beyond what there is."""
    box = make("low_pass", sample_rate=22050)
    hz, beyond = measured(box, cutoff=20000.0)
    s = analogue(hz, HIGHEST * 22050, 22050)
    assert_same_response(beyond, 1 / (s**2 + s / 0.707 + 1))


@pytest.mark.parametrize("kind", ["low_pass", "eq"])
def test_no_turn_of_a_knob_makes_energy(kind):
    """Without a signal the state only shrinks, though every knob jumps anywhere at every sample."""
    box = make(kind)
    rng = np.random.default_rng(2)
    state = jnp.asarray(rng.uniform(-1, 1, box.initial_state().shape), jnp.float32)
    step = jax.jit(box.step)
    # The sections feed one another, so only the first one is on its own.
    energy = [float((state[0] ** 2).sum())]
    outputs = []
    for _ in range(40):
        knobs = jnp.asarray(rng.integers(0, 2, (8, len(box.knobs))), jnp.float32)
        y, state = step(state, jnp.zeros((8, 1)), knobs)
        energy.append(float((state[0] ** 2).sum()))
        outputs.append(np.asarray(y))
    assert np.all(np.diff(energy) <= 1e-6 * energy[0])
    assert np.isfinite(outputs).all() and np.abs(outputs).max() < 100


def test_a_jump_of_the_cutoff_does_not_click():
    """A 100 Hz tone passes at 8 kHz and at 2 kHz alike: nothing may be heard where the cutoff jumps between them."""
    box = make("low_pass")
    tone = np.sin(2 * np.pi * 100 / 48000 * np.arange(4800)).astype(np.float32)
    steepest = np.abs(np.diff(tone)).max()
    ends = [positions(box, {"cutoff": cutoff}) for cutoff in (8000.0, 2000.0)]
    for at in (2400, 2460, 2520, 2600):
        y = np.asarray(apply(box, tone, np.where(np.arange(4800)[:, None] < at, *ends)))
        assert np.abs(np.diff(y)).max() < 1.5 * steepest


def test_dc_block_forgets_an_offset_in_its_time_constant():
    box = make("dc_block")
    y = np.asarray(apply(box, np.ones(48000, np.float32), positions(box, {"cutoff": 20.0})))
    constant = 48000 / (2 * np.pi * 20)
    assert y[round(constant)] == pytest.approx(np.exp(-1), rel=0.01)
    assert y[round(3 * constant)] == pytest.approx(np.exp(-3), rel=0.01)
    assert abs(y[-1]) < 1e-7


def test_an_offset_costs_the_dc_block_no_precision():
    """A tone of -80 dB on an offset a thousand times as large comes out as if it were alone."""
    box = make("dc_block")
    tone = 1e-4 * np.sin(2 * np.pi * 1000 / 48000 * np.arange(96000)).astype(np.float32)
    alone = np.asarray(apply(box, tone))
    behind = np.asarray(apply(box, tone + np.float32(0.1)))
    assert np.abs(behind - alone)[-4800:].max() < 1e-6
