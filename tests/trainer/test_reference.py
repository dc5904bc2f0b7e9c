"""Known effects: what they do to known signals, and how their amount follows the knob."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import soundfile

from trainer import config, reference

RATE = 48000


def tone(hz, seconds=0.2, level=0.1):
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def level_db(y):
    return 20 * np.log10(np.sqrt(np.mean(y[len(y) // 2 :] ** 2)))


def harmonic(y, hz, n):
    half = y[len(y) // 2 :]
    spectrum = np.abs(np.fft.rfft(half * np.hanning(len(half))))
    return spectrum[round(hz * n * len(half) / RATE)]


def test_drive_is_clean_at_nothing_and_clips_at_forty_decibels():
    x = tone(1000, level=0.01)
    np.testing.assert_allclose(reference.drive(x, RATE, 0.0), x, atol=2e-5)
    x = tone(1000)
    clean, hot = (reference.drive(x, RATE, amount) for amount in (0.1, 1.0))
    assert harmonic(clean, 1000, 3) < 0.01 * harmonic(clean, 1000, 1)
    assert harmonic(hot, 1000, 3) > 0.05 * harmonic(hot, 1000, 1)


@pytest.mark.parametrize(("amount", "cutoff"), [(1.0, 200.0), (0.5, 2000.0)])
def test_the_low_pass_is_of_second_order_on_a_log_scale(amount, cutoff):
    def gain_db(hz):
        x = tone(hz)
        return level_db(reference.low_pass(x, RATE, amount)) - level_db(x)

    assert gain_db(cutoff) == pytest.approx(-3.0, abs=0.15)
    assert gain_db(cutoff / 4) == pytest.approx(0.0, abs=0.2)
    assert gain_db(cutoff * 4) == pytest.approx(-24.3, abs=1.5)


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("linear", {0: 0, 0.5: 0.5, 1: 1}),
        ("inverse", {0: 1, 0.5: 0.5, 1: 0}),
        ("v", {0: 1, 0.5: 0, 1: 1}),
        ("sin", {0: 0, 0.5: 0, 1: 0}),
    ],
)
def test_strategies_are_curves_of_the_knob(strategy, wanted):
    found = dict(reference.table(strategy, 0))
    assert len(found) == 11
    for position, amount in wanted.items():
        assert found[position] == pytest.approx(amount, abs=1e-12)
    assert 0 <= min(found.values()) and max(found.values()) <= 1


def test_random_strategies_are_drawn_by_the_seed():
    assert len(reference.table("random", 0)) == 5 and len(reference.table("random-many", 0)) == 50
    assert reference.table("random", 1) == reference.table("random", 1) != reference.table("random", 2)


def test_any_program_is_an_effect(tmp_path):
    script = tmp_path / "half.py"
    script.write_text(
        "import sys, soundfile\nx, rate = soundfile.read(sys.argv[1])\n"
        "soundfile.write(sys.argv[2], float(sys.argv[3]) * x, rate, subtype='FLOAT')\n"
    )
    x = tone(500)
    run = reference.named(f"command:{sys.executable} {script} {{in}} {{out}} {{amount}}")
    np.testing.assert_allclose(run(x, RATE, 0.25), 0.25 * x, atol=1e-6)
    with pytest.raises(config.TrainerError, match="ended with"):
        reference.named(f"command:{sys.executable} -c exit(3) {{in}} {{out}}")(x, RATE, 0.5)


def test_our_own_boxes_are_effects():
    x = tone(500)
    np.testing.assert_allclose(reference.named("box:gain")(x, RATE, 0.5), x, atol=1e-6)
    assert level_db(reference.named("box:gain.gain")(x, RATE, 1.0)) - level_db(x) == pytest.approx(24, abs=0.01)


@pytest.mark.parametrize("name", ["flange", "box:flange", "box:gain.mix", "command:sox {in}", "pedalboard:"])
def test_effects_that_are_none_are_named(name):
    with pytest.raises(config.TrainerError, match="effect"):
        reference.named(name)


def test_a_dry_file_becomes_recordings_at_every_position(tmp_path):
    soundfile.write(tmp_path / "dry.wav", tone(300, 1.0), RATE, subtype="FLOAT")
    data = config.Data(dry=str(tmp_path / "dry.wav"), effect="box:gain")
    pairs = reference.pairs(data, "inverse", 0)
    assert [pair.knobs["amount"] for pair in pairs] == pytest.approx(np.linspace(0, 1, 11))
    loud = [level_db(pair.wet) for pair in pairs]
    assert loud == sorted(loud, reverse=True)
