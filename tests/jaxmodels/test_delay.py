"""The delay against a loop written out sample by sample, and while its time changes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.boxes import make
from jaxmodels.dsp.delay import UNIT
from jaxmodels.effect import apply, hold, positions
from tests.jaxmodels.streaming import played
from tests.variants import slow_except

RATE = 48000


def reference(x, lag, feedback, tone_hz, mix, rate=RATE):
    """A mono delay in float64, one sample after the other."""
    line, tone, new = np.zeros(len(x)), 0.0, 1 - np.exp(-2 * np.pi * tone_hz / rate)
    y = np.zeros(len(x))
    for n in range(len(x)):
        tone += new * ((line[n - lag] if n >= lag else 0.0) - tone)
        line[n] = x[n] + feedback * tone
        y[n] = (1 - mix) * x[n] + mix * tone
    return y


def impulse(length, channels=1):
    return np.eye(length, 1, dtype=np.float32).repeat(channels, axis=1)


TIMES = [(1.0, 48000), (1.0, 44100), (3.0, 48000), (25.0, 48000)]


@pytest.mark.parametrize(("time_ms", "rate"), slow_except([time for time in TIMES if time[1] == 48000], TIMES))
def test_echoes_are_those_of_the_written_out_loop(time_ms, rate):
    """Times shorter and longer than a block; one millisecond is 48 samples in a block of 2048."""
    box = make("delay", sample_rate=rate)
    values = {"time": time_ms, "feedback": 0.8, "tone": 4000.0, "mix": 0.6}
    x = np.random.default_rng(0).uniform(-1, 1, 6000).astype(np.float32)
    want = reference(x, round(time_ms * rate / 1000), 0.8, 4000.0, 0.6, rate)
    knobs = np.tile(positions(box, values), (len(x), 1))
    np.testing.assert_allclose(apply(box, x, knobs[0]), want, rtol=0, atol=3e-5)
    for length in (16, 2000):
        y, _ = played(box, x[:, None], length, knobs)
        np.testing.assert_allclose(y[:, 0], want, rtol=0, atol=3e-5)


@pytest.mark.parametrize("rate", slow_except([44100], [44100, 48000, 96000]))
def test_where_echoes_are_and_how_loud(rate):
    """Every echo holds `feedback` times the one before; with the tone open each begins where it should."""
    box = make("delay", sample_rate=rate)
    lag = rate // 100
    y = np.asarray(
        apply(box, impulse(5 * lag), positions(box, {"time": 10.0, "feedback": 0.5, "tone": 18e3, "mix": 1}))
    )
    assert not y[:lag].any()
    for echo in range(1, 5):
        part = y[echo * lag : (echo + 1) * lag, 0]
        assert part[0] > 0.2 * part.sum()
        assert part.sum() == pytest.approx(0.5 ** (echo - 1), rel=1e-4)


def test_the_longest_time():
    box = make("delay")
    y = np.asarray(apply(box, impulse(96100), positions(box, {"time": 2000.0, "mix": 1.0})))
    assert np.flatnonzero(y)[0] == 96000


def test_mix():
    box = make("delay", channels=2)
    x = np.random.default_rng(1).uniform(-1, 1, (400, 2)).astype(np.float32)
    np.testing.assert_array_equal(apply(box, x, positions(box, {"mix": 0.0})), x)
    np.testing.assert_allclose(apply(box, x, positions(box, {"mix": 0.3})), 0.7 * x, rtol=1e-5, atol=1e-7)
    assert not np.any(apply(box, x, positions(box, {"mix": 1.0})))


def test_ping_pong_alternates():
    box = make("delay", {"ping_pong": True}, channels=2)
    x = impulse(2400, 2) * np.array([[0.0, 1.0]], np.float32)  # from the right; the first echo is on the left
    knobs = positions(box, {"time": 10.0, "feedback": 0.5, "mix": 1.0})
    sums = np.asarray(apply(box, x, knobs)).reshape(5, 480, 2).sum(1)
    want = 0.5 * np.array([[0, 0], [1, 0], [0, 0.5], [0.25, 0], [0, 0.125]])
    np.testing.assert_allclose(sums, want, rtol=1e-3, atol=1e-6)


def test_ping_pong_needs_two_channels():
    x = np.random.default_rng(2).uniform(-1, 1, 2000).astype(np.float32)
    plain, crossed = make("delay"), make("delay", {"ping_pong": True})
    knobs = positions(plain, {"time": 10.0})
    np.testing.assert_array_equal(apply(crossed, x, knobs), apply(plain, x, knobs))


def test_a_change_of_time_glides_there_without_a_click():
    """A tone in the echo never moves faster than half as fast again, and the lag ends on a whole sample."""
    box = make("delay", channels=2)
    tone = np.sin(2 * np.pi * 440 / RATE * np.arange(24000)).astype(np.float32)[:, None].repeat(2, axis=1)
    wet = {"feedback": 0.0, "tone": 18e3, "mix": 1.0}
    for before, after in ((20.0, 120.0), (120.0, 20.0), (50.0, 50.5)):
        ends = [positions(box, {"time": time, **wet}) for time in (before, after)]
        knobs = np.where(np.arange(24000)[:, None] < 8000, *ends).astype(np.float32)
        y, state = played(box, tone, 2000, knobs)
        steepest = np.abs(np.diff(tone[:, 0])).max()
        assert np.abs(np.diff(y[7000:], axis=0)).max() < 1.51 * steepest
        assert int(state.lag) == round(after * 48) * UNIT


@pytest.mark.slow
def test_a_glide_does_not_depend_on_the_cut():
    box = make("delay")
    x = np.random.default_rng(3).uniform(-1, 1, (4000, 1)).astype(np.float32)
    ends = [positions(box, {"time": time, "mix": 1.0}) for time in (2.0, 15.0)]
    knobs = np.where((np.arange(4000)[:, None] % 2500) < 800, *ends).astype(np.float32)
    whole, at_end = played(box, x, 2000, knobs)
    for length in (50, 400):
        y, state = played(box, x, length, knobs)
        np.testing.assert_allclose(y, whole, rtol=0, atol=1e-6)
        assert int(state.lag) == int(at_end.lag)


def test_the_loop_never_holds_more_than_its_sum():
    """Loudest feedback, loud noise, and a time that never rests."""
    box = make("delay", channels=2)
    rng = np.random.default_rng(4)
    x = rng.choice([-1.0, 1.0], (40000, 2)).astype(np.float32)
    knobs = np.array(hold(jnp.asarray(positions(box, {"feedback": 0.95, "tone": 18e3, "mix": 1.0})), len(x)))
    knobs[:, 0] = rng.uniform(0, 0.5, 40).astype(np.float32).repeat(1000)
    y = np.asarray(apply(box, x, knobs))
    assert np.abs(y).max() < 1 / (1 - 0.95)
    quiet = np.asarray(apply(box, np.concatenate([x[:4000], np.zeros((36000, 2), np.float32)]), knobs))
    assert np.abs(quiet[-4000:]).max() < 0.2 * np.abs(quiet[:8000]).max()


def test_it_starts_at_the_time_of_its_knobs():
    box = make("delay")
    assert int(box.initial_state().lag) == 16800 * UNIT
    assert int(box.initial_state(positions(box, {"time": 1.0})).lag) == 48 * UNIT
