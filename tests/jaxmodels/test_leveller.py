"""Level matching: its filters, what it holds equal, and what never passes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pyloudnorm
import pytest
from scipy.signal import freqz

from jaxmodels import leveller
from jaxmodels.randomized import plucked_strings

RATE = 48000


@partial(jax.jit, static_argnames="follow_s")
def matched(dry, wet, leak=0.0, volume=1.0, follow_s=leveller.FOLLOW_S):
    volume = jnp.broadcast_to(volume, (len(dry), 1))
    return leveller.match(leveller.start(dry.shape[1]), dry, wet, leak, volume, RATE, follow_s)[0]


@pytest.fixture(scope="module")
def strings():
    return plucked_strings(RATE, 2 * RATE)[:, None]


def loudness(x):
    return pyloudnorm.Meter(RATE).integrated_loudness(np.asarray(x, float))


def test_one_pole_is_its_recursion():
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    y, after = leveller.one_pole(jnp.asarray([1.0, -2.0]), jnp.asarray(x), 0.1)
    want, state = [], np.array([1.0, -2.0])
    for row in x:
        state = 0.9 * state + 0.1 * row
        want.append(state)
    np.testing.assert_allclose(y, want, atol=1e-6)
    np.testing.assert_array_equal(after, y[-1])


def test_the_weighting_is_that_of_bs_1770_within_a_decibel_or_so():
    f = np.geomspace(50, 16000, 60)
    want = sum(20 * np.log10(np.abs(freqz(k.b, k.a, f, fs=RATE)[1])) for k in pyloudnorm.Meter(RATE)._filters.values())
    assert np.abs(10 * np.log10(leveller.weighting(f)) - want).max() < 1.2


@pytest.mark.parametrize("gain_db", [-12.0, 6.0, 75.0])
def test_the_output_is_as_loud_as_the_dry_signal_from_the_start(strings, gain_db):
    wet = jnp.asarray(strings * 10 ** (gain_db / 20))
    y = matched(strings, wet)
    assert loudness(y) == pytest.approx(loudness(strings), abs=0.7)
    assert loudness(y[: RATE // 2]) == pytest.approx(loudness(strings[: RATE // 2]), abs=1.5)


def test_loudness_counts_what_the_ear_hears():
    """A low tone against a high one of the same loudness, not the same power."""
    t = np.arange(2 * RATE) / RATE
    low, high = (0.1 * np.sin(2 * np.pi * f * t)[:, None].astype(np.float32) for f in (80, 5000))
    y = np.asarray(matched(low, high))
    assert loudness(y) == pytest.approx(loudness(low), abs=1.3)
    assert 20 * np.log10(y[RATE:].std() / low[RATE:].std()) < -3.5


def test_channels_do_not_hear_each_other(strings):
    two = matched(np.concatenate([strings, 0.1 * strings], 1), np.concatenate([strings**2, strings], 1))
    np.testing.assert_allclose(two[:, :1], matched(strings, strings**2), atol=1e-5)
    np.testing.assert_allclose(two[:, 1:], matched(0.1 * strings, strings), atol=1e-5)


def test_direct_current_is_taken_out_even_where_peaks_are_bent(strings):
    lopsided = np.where(strings > 0.2, 1.0, 0.0).astype(np.float32) + 5.0
    y = np.asarray(matched(strings, lopsided))
    assert abs(y.mean()) < 1e-3 and np.abs(y).max() <= 1.0


def test_silence_holds_the_gain_and_stays_silent(strings):
    phrase, rest = strings[:RATE], np.zeros((RATE, 1), np.float32)
    dry = np.concatenate([phrase, rest, phrase])
    y = np.asarray(matched(dry, 0.2 * dry))
    assert np.abs(y[RATE + 4800 : 2 * RATE]).max() < 1e-4
    first, second = (y[at : at + 48] / dry[at : at + 48] for at in (1, 2 * RATE + 1))
    assert np.abs(second - 1).max() < 0.2 and first[0] < 0.3  # known from the first sample, the second time


def test_where_the_box_gives_nothing_the_leak_is_heard_at_full_level(strings):
    y = matched(strings, jnp.zeros_like(strings), leak=10 ** (-20 / 20))
    assert loudness(y) == pytest.approx(loudness(strings), abs=0.7)


def test_a_box_that_wakes_up_late_does_not_burst(strings):
    dry = 0.05 * strings
    wet = dry * np.where(np.arange(len(dry)) < RATE, 0.05, 20.0)[:, None].astype(np.float32)
    y = np.asarray(matched(dry, wet))
    assert np.abs(y).max() < 3 * np.abs(dry).max()


def test_full_scale_is_never_passed():
    x = np.random.default_rng(1).normal(0, 3, (9000, 1)).astype(np.float32) + 1
    for volume in (1.0, 100.0):
        assert np.abs(matched(x, x**3, volume=volume)).max() <= 1.0


def test_bending_is_smooth_and_leaves_small_signals_alone():
    x = jnp.linspace(-3, 3, 6001)
    y = leveller.bend(x, 0.8)
    inside = jnp.abs(x) < leveller.KNEE * 0.8
    np.testing.assert_array_equal(y[inside], x[inside])
    slope = np.diff(y) / np.diff(x)
    assert float(jnp.abs(y).max()) <= 0.8 and slope.min() > -1e-3 and np.abs(np.diff(slope)).max() < 0.01
