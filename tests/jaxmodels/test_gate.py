"""The noise gate: when it opens, when it closes, how fast, and to what it listens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.boxes import make
from jaxmodels.dsp.gate import NoiseGate
from jaxmodels.effect import apply, hold, positions
from jaxmodels.settings import SettingError

RATE = 48000
MS = RATE // 1000
OLDEST = 20 * MS  # the detector forgets a peak after 10 to 20 ms


def tone(length, db, hz=220.0):
    return (10 ** (db / 20) * np.sin(2 * np.pi * hz / RATE * np.arange(length))).astype(np.float32)


def gain_for(key, channels=1, **values):
    """The gate's gain for a key; its peak is never zero, so that the gain can be read off."""
    gate = NoiseGate(channels=channels)
    knobs = jnp.asarray(positions(gate, values))
    gains, _ = gate.gains(gate.initial_state(knobs), jnp.asarray(key).reshape(-1, channels), hold(knobs, len(key)))
    return np.asarray(gains)[:, 0]


def note(length=200 * MS, loud=50 * MS, db=-20.0, floor_db=-90.0):
    """A tone of `loud` samples, then much less of it."""
    return np.concatenate([tone(loud, db), tone(length - loud, floor_db)])


def test_under_the_threshold_there_is_silence():
    box = make("noise_gate")
    assert not np.any(apply(box, tone(2000, -71.0)))


def test_over_the_threshold_nothing_changes():
    box = make("noise_gate")
    x = tone(2000, -69.0)
    y = np.asarray(apply(box, x))
    opened = int(np.argmax(np.abs(x) >= 10 ** (-70 / 20))) + MS
    np.testing.assert_allclose(y[opened:], x[opened:], rtol=1e-6, atol=0)


def test_it_opens_in_a_straight_line_within_the_attack():
    gain = gain_for(np.full(1000, 0.1, np.float32), attack=10.0)
    np.testing.assert_allclose(gain[: 10 * MS], (1 + np.arange(10 * MS)) / (10 * MS), rtol=1e-3)
    assert np.all(gain[10 * MS :] == 1)


def test_hysteresis():
    """Under the threshold but not far under it: stays open if it was, stays closed if it was."""
    between, below = note(floor_db=-73.0), note(floor_db=-77.0)
    assert gain_for(between)[-1] == 1
    assert gain_for(between, hysteresis=0.0)[-1] < 0.01
    assert gain_for(below)[-1] < 0.01
    assert gain_for(below, hysteresis=12.0)[-1] == 1
    assert not gain_for(between[50 * MS :]).any()


@pytest.mark.parametrize("hold_ms", [0.0, 20.0, 100.0])
def test_hold(hold_ms):
    """It begins to close `hold` after the level has fallen; the detector adds its own 10 to 20 ms."""
    gain = gain_for(note(), hold=hold_ms)
    closing = int(np.argmax(np.diff(gain) < 0))
    falls = 50 * MS + hold_ms * MS
    assert falls + OLDEST // 2 - 2 <= closing <= falls + OLDEST + 2


def test_it_closes_in_a_straight_line_of_decibels_down_to_silence():
    gain = gain_for(note(length=600 * MS), release=120.0)
    start = int(np.argmax(gain[50 * MS :] < 1)) + 50 * MS
    assert gain[start + 60 * MS] == pytest.approx(gain[start] * 10 ** (-30 / 20), rel=0.01)
    assert gain[start + 120 * MS] == pytest.approx(gain[start] * 10 ** (-60 / 20), rel=0.01)
    assert np.all(gain[start + 241 * MS :] == 0)
    assert np.all(np.diff(gain[start:]) <= 0)


def test_a_low_note_does_not_make_it_chatter():
    """B0 on a bass with no hold and no hysteresis: from note to note, never in between."""
    gain = gain_for(tone(RATE // 2, -60.0, hz=30.87), hold=0.0, hysteresis=0.0)
    opened = int(np.argmax(gain == 1))
    assert opened < 10 * MS
    assert np.all(gain[opened:] == 1)


def test_channels_share_one_gain():
    key = np.stack([np.zeros(200 * MS, np.float32), note()], axis=1)
    np.testing.assert_array_equal(gain_for(key, channels=2), gain_for(note()))


def test_knobs_are_in_milliseconds_at_any_rate():
    for rate in (44100, 96000):
        gate = NoiseGate(sample_rate=rate)
        x = np.concatenate([np.full(rate // 10, 0.1), np.zeros(rate // 2)]).astype(np.float32)
        knobs = hold(jnp.asarray(positions(gate, {"release": 200.0})), len(x))
        gain = np.asarray(gate.gains(gate.initial_state(), jnp.asarray(x)[:, None], knobs)[0])[:, 0]
        start = int(np.argmax(np.diff(gain) < 0)) + 1
        assert rate * 0.129 < start < rate * 0.141
        assert gain[start + rate // 5] == pytest.approx(gain[start] * 1e-3, rel=0.02)


def test_opening_and_closing_do_not_depend_on_the_cut():
    box = make("noise_gate", channels=1)
    knobs = positions(box, {"hold": 3.0, "release": 5.0})
    x = np.concatenate([note(50 * MS, 5 * MS, floor_db=-100.0)] * 2)
    whole = np.asarray(apply(box, x, knobs))
    assert (whole == 0).sum() > 1000  # it did close
    step, state, parts = jax.jit(box.step), box.initial_state(), []
    for at in range(0, len(x), 100):
        y, state = step(state, jnp.asarray(x[at : at + 100, None]), hold(jnp.asarray(knobs), 100))
        parts.append(np.asarray(y)[:, 0])
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-9)


def test_behind_a_drive_it_can_listen_to_the_input_of_the_rack():
    """Noise of -80 dB, 24 dB louder behind the drive: only the gate that hears the input knows what is noise."""
    drive, here, before = make("gain"), make("noise_gate"), make("noise_gate", {"listen": "input"})
    noise = jnp.asarray(tone(2000, -80.0))[:, None]
    driven = apply(drive, noise, positions(drive, {"gain": 24.0}))
    knobs = hold(jnp.asarray(positions(here, {})), 2000)
    assert np.any(here.step(here.initial_state(), driven, knobs, key=noise)[0])
    assert not np.any(before.step(before.initial_state(), driven, knobs, key=noise)[0])
    assert np.any(before.step(before.initial_state(), driven, knobs)[0])  # alone it hears itself


def test_the_setting_says_where_it_listens():
    assert make("noise_gate", {"listen": "input"}).settings.listen == "input"
    with pytest.raises(SettingError, match="here, input"):
        make("noise_gate", {"listen": "behind"})
