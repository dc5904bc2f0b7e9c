"""Two captures side by side: found, lined up, turned over, and mixed without losing strength."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jaxmodels import apply, load, make
from jaxmodels.blend import Alignment, Blend, Through, align, remarks
from jaxmodels.dsp.resample import at_rate
from jaxmodels.effect import default_positions
from jaxmodels.levels import Levels, guitar_signal
from jaxmodels.recurrent import LSTM, Settings
from tests.variants import slow_except

RATE = 48000
CAPTURES = (
    "proteus/6505Plus_Red_DirectOut.json",
    "neuralpi/tl_ProCoRat.json",
    "aidax/tw40_british_lead_deerinkstudios.json",
    "nam/neuralaudio_BossLSTM-1x16.nam",
)
GUITAR = guitar_signal(RATE)


def rms_db(y) -> float:
    return float(10 * np.log10(np.mean(np.square(np.asarray(y, np.float64)))))


def mixed(box: Blend, mix: float) -> np.ndarray:
    knobs = default_positions(box)
    knobs[0] = mix
    return knobs


@pytest.fixture(scope="module")
def captures(fixtures):
    return [at_rate(load(fixtures / "models" / name), RATE) for name in CAPTURES]


def check_own_copy(capture, delay, inverted):
    copy = Levels(capture, delay=delay, inverted=inverted, output_db=-3.0)
    found = align(capture, copy, RATE)
    assert abs(found.lag - delay) <= 1 and found.sign == (-1 if inverted else 1)
    assert found.correlation > 0.99 and 20 * np.log10(found.ratio) == pytest.approx(-3, abs=0.1)
    alone = np.asarray(apply(capture, GUITAR))
    blend = Blend(capture, copy, found)
    y = np.asarray(apply(blend, GUITAR, mixed(blend, 0.5)))
    expected = alone * (1 + 10 ** (-3 / 20)) / 2
    np.testing.assert_allclose(y[delay:], expected[: len(y) - delay], atol=0.02 * np.abs(expected).max())
    swapped = align(copy, capture, RATE)
    assert abs(swapped.lag + delay) <= 1 and swapped.sign == found.sign


@pytest.mark.parametrize("delay, inverted", [(0, True), (77, True), (311, False)])
def test_a_network_and_its_own_late_copy_are_one(delay, inverted):
    check_own_copy(LSTM(Settings(hidden=4)), delay, inverted)


@pytest.mark.parametrize("which, delay", slow_except([(3, 1)], [(0, 400), (3, 1)]))
def test_so_are_real_captures(captures, which, delay):
    check_own_copy(captures[which], delay, True)


def test_the_sum_that_was_not_lined_up_cancels():
    """What the alignment is good for."""
    drive = LSTM(Settings(hidden=4))
    naive = Blend(drive, Levels(drive, inverted=True))
    assert np.abs(apply(naive, GUITAR, mixed(naive, 0.5))).max() < 1e-5 < np.abs(apply(drive, GUITAR)).max()


def test_a_capture_that_is_resampled_lines_up_with_itself(fixtures):
    """The same weights at their own rate, and once more behind a resampler: the wait is its latency."""
    path = fixtures / "models" / CAPTURES[1]
    there, here = load(path), load(path, sample_rate=RATE)
    resampled = at_rate(there, RATE)
    found = align(here, resampled, RATE)
    assert resampled.latency > 10 and abs(found.lag - resampled.latency) <= 1 and found.sign == 1
    assert Blend(here, resampled, found).latency == max(found.lag, resampled.latency)


@pytest.mark.parametrize("pair", slow_except([[0, 3]], map(list, itertools.combinations(range(len(CAPTURES)), 2))))
def test_no_pair_of_captures_cancels(captures, pair):
    a, b = (captures[n] for n in pair)
    blend = Blend(a, b, align(a, b, RATE))
    alone = [rms_db(apply(box, GUITAR)) for box in (a, b)]
    assert rms_db(apply(blend, GUITAR, mixed(blend, 0.5))) > min(alone) - 0.5


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("louder_db", [0.0, -12.0])
def test_the_mix_holds_its_strength_whatever_the_correlation(correlation, louder_db):
    """Legs of noise with a known correlation: c times what they share and the root of 1 - c^2 times their own."""
    rng = np.random.default_rng(5)
    shared, own = rng.normal(0, 0.1, (2, 1 << 17)).astype(np.float32)
    other = correlation * shared + np.sqrt(1 - correlation**2) * own
    ratio = 10 ** (louder_db / 20)
    blend = Blend(Pick(0), Pick(1), Alignment(0, 1, correlation, ratio))
    x = np.stack([shared, other * ratio], axis=1)
    for mix in (0.0, 0.25, 0.5, 0.8, 1.0):
        y = np.asarray(apply(blend, x, mixed(blend, mix)))[:, 0]
        expected = 20 * np.log10(0.1 * ((1 - mix) + mix * ratio))
        assert rms_db(y) == pytest.approx(expected, abs=0.1)


class Pick(Through):
    """One of two channels, on both."""

    def __init__(self, which: int):
        super().__init__(2)
        self.which = which

    def step(self, state, x, knobs):
        return x[:, [self.which, self.which]], state


def test_strangers_are_left_as_they_lie():
    noise = make("cab", {"ir": "2x12-room"})
    silent = Levels(Through(), output_db=-np.inf)
    found = align(noise, silent, RATE)
    assert found == Alignment(-noise.latency, 1, 0.0, 1.0) and "little in common" in remarks(found, RATE)[0]


def test_an_alignment_in_words():
    assert remarks(Alignment(-48, -1, 0.6, 0.5), RATE) == (
        "b waits 48 samples (1.00 ms), b is turned over; correlation 0.60, b is -6.0 dB",
    )
    assert remarks(Alignment(0, 1, 1.0, 1.0), RATE)[0].startswith("a and b are in time; correlation")


def test_knobs_of_both_and_delays_by_hand():
    blend = Blend(Levels(make("low_pass")), Levels(Through()), delay_b=9)
    assert [knob.name for knob in blend.knobs] == (
        ["mix", "a_cutoff", "a_q", "a_input_db", "a_output_db", "b_input_db", "b_output_db"]
    )
    assert blend.latency == 0
    impulse = np.zeros(64, np.float32)
    impulse[0] = 1
    assert np.argmax(np.abs(np.asarray(apply(blend, impulse, mixed(blend, 1.0))))) == 9


def test_widths_must_agree():
    with pytest.raises(ValueError, match="1 and 2 channels"):
        Blend(Through(), Through(2))
