"""Resampling: boxes at their own rate inside a rack at another, and whole signals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxmodels import ring
from jaxmodels.dsp.gain import Gain
from jaxmodels.dsp.resample import Resampled, at_rate, convert
from jaxmodels.effect import Chain, Knob, PerChannel, apply
from jaxmodels.laws import verify_effect
from tests.variants import slow_except


def gain_at(rate, channels=1):
    gain = Gain(channels=channels)
    gain.sample_rate = rate
    return gain


class Counting(nnx.Module):
    """Says how many samples it has had, and what its knob and its input are: three channels at 44.1 kHz."""

    knobs, settings, channels, latency, receptive_field = (Knob("turn"),), None, 3, 0, None

    def __init__(self, rate):
        self.sample_rate = rate

    def initial_state(self, knobs=None):
        return jnp.zeros((), jnp.int32)

    def step(self, state, x, knobs):
        count = state + jnp.arange(len(x))
        return jnp.stack([count.astype(jnp.float32), knobs[:, 0], x[:, 2]], axis=1), state + len(x)


class Drive(nnx.Module):
    """A recurrent, biased overdrive with a long echo, so that it has a ring, a plain state and DC in silence."""

    knobs, settings, channels, latency, receptive_field = (Knob("drive"),), None, 1, 0, None

    def __init__(self, rate):
        self.sample_rate = rate

    def initial_state(self, knobs=None):
        return ring.silence(1, 300), jnp.full((1,), 0.19631169, jnp.float32)

    def step(self, state, x, knobs):
        window = ring.extend(state[0], x.T)
        driven = (1 + 3 * knobs) * (window.tap(0) + 0.3 * window.tap(300)).T

        def one(past, now):
            past = jnp.tanh(now + 0.3 * past + 0.14)
            return past, past

        last, y = lax.scan(one, state[1], driven)
        return y, (window.after, last)


PAIRS = [(44100, 48000), (48000, 44100), (48000, 96000), (96000, 48000), (44100, 192000), (88200, 96000)]


def sines(own, rate, frequencies_hz):
    """What sines of these frequencies come out as: spectra in dB `[F, N / 2 + 1]`, frequencies of bins, their bins."""
    length, settled = 8192, 1500
    bins = np.round(np.asarray(frequencies_hz) * length / rate)
    x = np.sin(2 * np.pi * bins[:, None] / length * np.arange(settled + length)).astype(np.float32)
    window = np.kaiser(length, 18)
    effect = Resampled(gain_at(own, len(bins)), rate, channels=len(bins))
    y = np.asarray(apply(effect, x.T), np.float64)[settled:]
    levels = np.abs(np.fft.rfft(y.T * window)) / (window.sum() / 2)
    return 20 * np.log10(levels + 1e-12), np.arange(length // 2 + 1) * rate / length, bins.astype(int)


@pytest.mark.parametrize("own, rack", slow_except([(44100, 48000), (96000, 48000)], PAIRS))
def test_flat_to_18_khz_and_no_image_or_alias_below_20_khz(own, rack):
    frequencies = np.concatenate([np.linspace(100, 18000, 24), np.linspace(18500, 0.498 * min(rack, 96000), 24)])
    spectra, at_hz, bins = sines(own, rack, frequencies)
    for spectrum, bin_ in zip(spectra, bins, strict=True):
        if at_hz[bin_] <= 18000:
            assert abs(spectrum[bin_]) < 0.01
        elsewhere = (np.abs(np.arange(len(spectrum)) - bin_) > 12) & (at_hz < 20000)
        assert spectrum[elsewhere].max() < -90, f"{at_hz[bin_]:.0f} Hz"


@pytest.mark.parametrize(
    "own, rack", slow_except([(44100, 48000), (16000, 22050)], [*PAIRS, (48000, 32000), (16000, 22050)])
)
def test_the_latency_is_as_declared_and_at_most_1_5_ms(own, rack):
    effect = Resampled(gain_at(own), rack)
    pulse = np.exp(-(((np.arange(1000) - 300) / 4 * min(1, own / rack)) ** 2)).astype(np.float32)
    y = np.asarray(apply(effect, pulse))
    assert effect.latency <= 0.0015 * rack
    assert np.abs(y[effect.latency :] - pulse[: -effect.latency]).max() < 1e-4  # not a fraction of a sample off


def test_latency_of_the_box_is_counted_at_its_own_rate():
    late = gain_at(44100)
    late.latency = 441
    assert Resampled(late, 48000).latency - Resampled(gain_at(44100), 48000).latency == 480


@pytest.mark.parametrize("own, rack", slow_except([(44100, 48000), (96000, 48000)], PAIRS[:4]))
def test_after_m_samples_the_box_has_had_the_floor_of_m_times_the_ratio(own, rack):
    effect = Resampled(Counting(own), rack, channels=3)
    step = jax.jit(effect.step)
    state, m = effect.initial_state(), 0
    for length in [1] * 9 + [50] * 9:
        _, state = step(state, jnp.zeros((length, 3)), jnp.zeros((length, 1)))
        m += length
        assert int(state.inner) == m * own // rack


def test_knobs_reach_the_box_with_the_newest_sample_it_hears():
    effect = Resampled(Counting(44100), 88200, channels=3)
    knobs = jnp.linspace(0, 1, 4000)[:, None]
    y = np.asarray(apply(effect, np.zeros((4000, 3), np.float32), knobs))
    way_out = effect.latency - (effect.latency + 1) // 2  # half of the latency, give or take a sample
    assert np.abs(y[200:, 1] - np.asarray(knobs)[200 - way_out : -way_out, 0]).max() < 2 / 4000


def test_it_sounds_as_the_box_does_at_its_own_rate():
    rng = np.random.default_rng(0)
    music = np.convolve(rng.normal(size=9000), np.hanning(24) / 30)  # up to about 4 kHz
    music = np.pad(music, 600).astype(np.float32)
    effect = Resampled(Drive(44100), 48000)
    want = convert(np.asarray(apply(Drive(44100), convert(music, 48000, 44100))), 44100, 48000)
    got = np.asarray(apply(effect, music))[effect.latency :]
    length = min(len(got), len(want)) - 1000
    error = got[500:length] - want[500:length]
    assert np.square(error).sum() / np.square(want[500:length] - want[500:length].mean()).sum() < 1e-5


def test_silence_is_the_boxs_own_silence_from_the_first_sample():
    silence = np.zeros(2000, np.float32)
    want = float(apply(Drive(48000), silence)[-1])
    y = np.asarray(apply(Resampled(Drive(48000), 44100), silence))
    assert np.abs(y - want).max() < 1e-3
    assert want > 0.1


def test_a_box_with_a_ring_at_twice_the_rate_keeps_every_law():
    verify_effect(Resampled(Drive(96000), 48000), blocks=(48,), gradients=False, flat_response=False, length=384)


def test_at_rate_wraps_only_what_needs_it():
    assert isinstance(at_rate(gain_at(48000), 48000), Gain)
    assert isinstance(at_rate(gain_at(None), 96000), Gain)
    assert isinstance(at_rate(gain_at(48000), 48000, channels=2), PerChannel)
    wrapped = at_rate(gain_at(44100), 48000, channels=2)
    assert isinstance(wrapped, Resampled)
    assert (wrapped.channels, wrapped.sample_rate, wrapped.knobs) == (2, 48000, Gain.knobs)
    assert Chain([wrapped, gain_at(48000, 2)]).latency == wrapped.latency


@pytest.mark.parametrize("own, rack, why", [(44100, 44101, "4096"), (8000, 48000, "16000"), (None, 48000, "any")])
def test_rates_it_cannot_do_are_refused(own, rack, why):
    with pytest.raises(ValueError, match=why):
        Resampled(gain_at(own), rack)


@pytest.mark.parametrize("from_rate, to_rate", [(44100, 48000), (48000, 44100), (48000, 96000), (96000, 48000)])
def test_convert_agrees_with_libsoxr_at_33_bits(fixtures, from_rate, to_rate):
    folder = fixtures / "vectors" / "dsp"
    x = np.fromfile(folder / f"resampler_input_{from_rate}.f32", np.float32)
    want = np.fromfile(folder / f"resampler_ref_{from_rate}_to_{to_rate}.f32", np.float32)
    got = convert(x, from_rate, to_rate)
    assert got.dtype == np.float32 and got.shape == want.shape
    assert np.abs(got - want).max() < 2e-5


def test_convert_keeps_channels_apart_and_copies_at_the_same_rate():
    x = np.stack([np.sin(0.1 * np.arange(4800)), np.zeros(4800)], axis=1)
    y = convert(x, 48000, 44100)
    assert y.shape == (4410, 2)
    assert not y[:, 1].any()
    assert np.abs(y[100:-100, 0] - np.sin(0.1 * 480 / 441 * np.arange(4410))[100:-100]).max() < 1e-4
    assert (convert(y, 48000, 48000) == y).all()
    with pytest.raises(ValueError, match="must be"):
        convert(np.zeros((2, 2, 2)), 48000, 44100)
