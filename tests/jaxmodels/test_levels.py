"""Levels of captures: volts in and out, loudness to the ear, polarity, delay; and that gains are no structure."""

from __future__ import annotations

import jax
import numpy as np
import pyloudnorm
import pytest
import soundfile

from jaxmodels import apply, load
from jaxmodels.assets import assets_folder
from jaxmodels.blend import Through
from jaxmodels.dsp.resample import at_rate
from jaxmodels.effect import Knob, positions
from jaxmodels.formats import Facts
from jaxmodels.levels import Interface, Levels, gains, guitar_signal, loudness_db, power_db, trims, weighted_power
from jaxmodels.recurrent import LSTM, Settings
from tests.variants import slow_except

RATE = 48000
CAPTURES = [
    "proteus/6505Plus_Red_DirectOut.json",
    "proteus/XComp_Pedal.json",
    "neuralpi/BluesJR_FullD.json",
    "neuralpi/TS9.json",
    "guitarml_other/chameleon_gold.json",
    "aidax/tw40_blues_deluxe_deerinkstudios.json",
    "nam/neuralaudio_BossLSTM-1x16.nam",
]


def never() -> float:
    raise AssertionError("was measured, though its file tells")


def sine(peak_db: float) -> np.ndarray:
    return (10 ** (peak_db / 20) * np.sin(2 * np.pi * 1000 * np.arange(4800) / RATE)).astype(np.float32)


def peak_db(y) -> float:
    return float(20 * np.log10(np.abs(np.asarray(y)).max()))


def levelled(box, found, **more):
    return Levels(box, input_db=found.input_db, output_db=found.output_db, **more)


@pytest.mark.parametrize("card_in, card_out, in_dbu, out_dbu", [(12, 10, 18.3, 12.3), (4.2, 19, -1, 22)])
def test_a_calibrated_capture_gives_the_volts_of_the_gear(card_in, card_out, in_dbu, out_dbu):
    """Followed in dBu: a sine of v dBu at the card's input is v - in_dbu dBFS for a capture of that input level, which
    here passes it on; at the gear's output that means v - in_dbu + out_dbu dBu."""
    facts = Facts(input_level_dbu=in_dbu, output_level_dbu=out_dbu)
    box = levelled(Through(), gains("calibrated", facts, Interface(card_in, card_out), never))
    volts_dbu = -5.0
    y = apply(box, sine(volts_dbu - card_in))
    assert peak_db(y) + card_out == pytest.approx(volts_dbu - in_dbu + out_dbu, abs=0.01)


def test_without_both_levels_nothing_is_calibrated_and_that_is_said():
    told = Facts(input_level_dbu=18.3)
    found = gains("calibrated", told, Interface(), never)
    assert found[:2] == (0, 0)
    assert "audio.input_level_dbu" in found.remarks[0] and "does not tell its output level" in found.remarks[1]
    found = gains("calibrated", Facts(output_level_dbu=1.0), Interface(12.0), never)
    assert found[:2] == (0, 0) and "audio.output_level_dbu" in found.remarks[0]


def test_normalised_is_what_the_plug_in_does_where_the_file_tells():
    assert gains("normalised", Facts(loudness_db=-26.4), Interface(12.0), never).output_db == pytest.approx(8.4)
    assert gains("normalised", Facts(), Interface(), lambda: -11.0).output_db == pytest.approx(-7.0)
    assert gains("matched", Facts(loudness_db=-26.4), Interface(), lambda: -11.0).output_db == pytest.approx(-7.0)
    assert gains("raw", Facts(loudness_db=-26.4), Interface(), never)[:2] == (0, 0)


@pytest.mark.parametrize("loudness", [1e9, -1e9, -200.0, float("nan")])
def test_nonsense_in_a_file_is_bounded(loudness):
    for level, measured in (("normalised", never), ("matched", lambda: loudness)):
        found = gains(level, Facts(loudness_db=loudness, input_level_dbu=1e12), Interface(0.0), measured)
        assert abs(found.output_db) <= 40 and abs(found.input_db) <= 40


def test_the_weighting_is_that_of_bs_1770():
    signals = [guitar_signal(RATE), np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32), sine(-20)]
    for y in signals:
        y = np.tile(y, 1 + RATE // len(y))
        expected = pyloudnorm.Meter(RATE).integrated_loudness(y.astype(np.float64))
        assert power_db(weighted_power(y, RATE)) == pytest.approx(expected + 0.7, abs=1.0)


@pytest.mark.parametrize("captures", slow_except([CAPTURES[::5]], [CAPTURES[::5], CAPTURES]))
def test_matched_captures_are_equally_loud_on_a_guitar(fixtures, captures):
    """By a meter of BS.1770 that is not ours, on the whole of our loop; raw, they are 8 LU apart and more."""
    guitar, _ = soundfile.read(assets_folder() / "audio" / "guitar.wav", dtype="float32")
    meter, raw, matched = pyloudnorm.Meter(RATE), [], []
    for name in captures:
        capture = load(fixtures / "models" / name)
        box = at_rate(capture, RATE)
        y = np.asarray(apply(box, guitar)).astype(np.float64)
        found = gains("matched", Facts(), Interface(), lambda capture=capture: loudness_db(capture))
        raw.append(meter.integrated_loudness(y))
        matched.append(meter.integrated_loudness(np.asarray(apply(levelled(box, found), guitar)).astype(np.float64)))
    assert np.ptp(raw) > 8
    assert np.ptp(matched) < 1.5


def test_a_silent_capture_is_left_alone():
    silent = Levels(Through(), output_db=-np.inf)
    assert loudness_db(silent) < -100 and gains("matched", Facts(), Interface(), lambda: -200.0).output_db == 0


def test_a_capture_without_gains_plays_as_it_is_to_the_last_bit():
    capture, x = LSTM(Settings(hidden=4)), sine(-6)
    np.testing.assert_array_equal(apply(Levels(capture), x), apply(capture, x))


def test_trims_polarity_and_delay():
    x = sine(-20)
    turned = positions(Levels(Through()), {"input_db": 6.0, "output_db": -2.0})
    assert peak_db(apply(Levels(Through()), x, turned)) == pytest.approx(-16, abs=1e-3)
    y = np.asarray(apply(Levels(Through(), inverted=True, delay=100), x))
    assert not y[:100].any()
    np.testing.assert_array_equal(y[100:], -x[:-100])


def test_trims_stand_behind_the_captures_own_knobs_and_never_in_their_way():
    own = (Knob("drive"), Knob("input_db"))
    assert [knob.name for knob in trims(own)] == ["slot_input_db", "output_db"]
    assert trims(tuple(Knob(f"k{i}") for i in range(30))) == ()
    capture = LSTM(Settings(inputs=2, hidden=3))
    assert [knob.name for knob in Levels(capture).knobs] == [capture.knobs[0].name, "input_db", "output_db"]


def test_gains_are_numbers_so_captures_of_one_architecture_share_a_program(fixtures):
    files = ("proteus/6505Plus_Red_DirectOut.json", "proteus/XComp_Pedal.json")
    a, b = (load(fixtures / "models" / name) for name in files)
    one = Levels(a, input_db=3.0, output_db=-8.0)
    other = Levels(b, inverted=True)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert [leaf.shape for leaf in jax.tree.leaves(one)] == [leaf.shape for leaf in jax.tree.leaves(other)]


def test_what_was_said_before_the_start_is_what_the_capture_says_in_silence():
    """A delay plays the capture's own silence first, which need not be zero."""
    capture, x = LSTM(Settings(hidden=4)), np.zeros(200, np.float32)
    y, undelayed = (np.asarray(apply(Levels(capture, delay=n, output_db=6.0), x)) for n in (50, 0))
    np.testing.assert_allclose(y[:50], undelayed[0], rtol=1e-6)
    np.testing.assert_allclose(y[50:], undelayed[:-50], rtol=1e-5)
    assert abs(y[0]) > 1e-3


@pytest.mark.parametrize("delay", [-1, 4801])
def test_delays_out_of_range_are_refused(delay):
    with pytest.raises(ValueError, match=f"delay_samples = {delay}: must be 0 to 4800"):
        Levels(Through(), delay=delay)
