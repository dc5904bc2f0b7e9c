"""The cab against plain convolution, its files and their faults, and the built-in responses."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import soundfile

from jaxmodels import ring
from jaxmodels.assets import assets_folder
from jaxmodels.dsp.cab import CHUNK, PARTITION, Cab, IRError, band_gain, impulse_response
from jaxmodels.effect import apply, hold, positions
from tests.variants import slow_except

RATE = 48000


@pytest.fixture
def write(tmp_path):
    """Writes samples [L] or [L, 2] as a WAV file and answers its path."""

    def write(samples, rate=RATE, subtype="DOUBLE", name="ir.wav"):
        path = tmp_path / name
        soundfile.write(path, np.asarray(samples, float), rate, subtype=subtype)
        return str(path)

    return write


def noise_ir(length, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    decay = np.exp(-4 * np.arange(length) / length)[:, None]
    ir = rng.normal(size=(length, channels)) * decay
    return ir / np.abs(ir).max()


def raw(path, channels=1, **more):
    """A cab that takes the file as it is."""
    return Cab(Cab.Settings(ir=path, trim=False, normalise=False, **more), sample_rate=RATE, channels=channels)


def convolved(x, ir):
    """[T, C] by numpy's own convolution; a mono IR on every channel."""
    return np.stack([np.convolve(x[:, c], ir[:, min(c, ir.shape[1] - 1)])[: len(x)] for c in range(x.shape[1])], 1)


@pytest.mark.parametrize(
    "length", slow_except([1, 2 * PARTITION + 1], [1, CHUNK, PARTITION, 2 * PARTITION + 1, 5000, RATE])
)
def test_equals_direct_convolution(write, length):
    ir = noise_ir(length)
    cab = raw(write(ir))
    x = np.random.default_rng(1).normal(size=(length + 3000, 1)).astype(np.float32)
    want = convolved(x, ir)
    assert cab.receptive_field >= length
    assert np.abs(apply(cab, x) - want).max() < 1e-5 * np.abs(want).max()


def test_stereo_ir_in_a_stereo_rack_and_in_a_mono_rack(write):
    ir = noise_ir(3000, channels=2)
    path = write(ir)
    x = np.random.default_rng(1).normal(size=(6000, 2)).astype(np.float32)
    want = convolved(x, ir)
    assert np.abs(apply(raw(path, channels=2), x) - want).max() < 1e-5 * np.abs(want).max()
    mean = convolved(x[:, :1], ir.mean(1, keepdims=True))
    assert np.abs(apply(raw(path), x[:, :1]) - mean).max() < 1e-5 * np.abs(mean).max()


@pytest.mark.slow
def test_any_cut_gives_the_same_output_far_into_the_tail(write):
    cab = raw(write(noise_ir(9000)), channels=2)
    x = np.random.default_rng(2).normal(size=(12000, 2)).astype(np.float32)
    whole = apply(cab, x)
    step = jax.jit(lambda state, x: cab.step(state, x, hold(positions(cab, {}), x.shape[0])))
    # In turns, so that the edges of the cab's own clock fall everywhere in a block.
    state, at, sizes = jax.jit(lambda: ring.pack(cab.initial_state(), 200))(), 0, (200, 1, 64, 63)
    while at < len(x):
        size = min(sizes[at % 4], len(x) - at)
        y, state = step(state, x[at : at + size])
        assert np.abs(y - whole[at : at + size]).max() < 1e-5 * np.abs(whole).max()
        at += size


def test_level_and_mix(write):
    cab = raw(write(noise_ir(300)))
    x = np.random.default_rng(1).normal(size=(2000, 1)).astype(np.float32)
    wet = apply(cab, x)
    np.testing.assert_array_equal(apply(cab, x, positions(cab, {"mix": 0})), x)
    louder = apply(cab, x, positions(cab, {"level": 20 * np.log10(2), "mix": 0.5}))
    np.testing.assert_allclose(louder, 0.5 * x + wet, atol=1e-5)


def test_trim_takes_the_silence_before_the_impulse(write):
    ir = noise_ir(400)
    ir[0] = 1.0
    late = write(np.concatenate([np.full((500, 1), 1e-5), ir]))
    assert impulse_response(Cab.Settings(ir=late, normalise=False), RATE).shape == (1, 400)
    assert impulse_response(Cab.Settings(ir=late, normalise=False, trim=False), RATE).shape == (1, 900)


def test_normalise_gives_unit_energy_in_the_band(write):
    ir = impulse_response(Cab.Settings(ir=write(5 * noise_ir(2000))), RATE)
    assert band_gain(ir, RATE) == pytest.approx(1)
    # White noise between 80 Hz and 5 kHz comes out as loud as it went in.
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=RATE))
    spectrum[:80] = spectrum[5000:] = 0
    x = np.fft.irfft(spectrum)
    assert np.std(np.convolve(x, ir[0])[2000:-2000]) == pytest.approx(np.std(x), rel=0.05)


@pytest.mark.parametrize("rate", [44100, 96000])
def test_an_ir_at_another_rate_is_resampled_and_keeps_its_response(write, rate):
    time = np.arange(rate // 20) / rate
    # The same response at any rate: a damped 1 kHz mode, scaled by the sampling interval.
    mode = np.sin(2 * np.pi * 1000 * time) * np.exp(-time / 0.005) / rate
    here = impulse_response(Cab.Settings(ir=write(mode, rate), normalise=False, trim=False), RATE)[0]
    same_time = np.arange(RATE // 20) / RATE
    want = np.sin(2 * np.pi * 1000 * same_time) * np.exp(-same_time / 0.005) / RATE
    n = min(len(here), len(want))
    gain, gain_wanted = np.abs(np.fft.rfft(here[:n], 1 << 14)), np.abs(np.fft.rfft(want[:n], 1 << 14))
    heard = gain_wanted > 0.01 * gain_wanted.max()
    np.testing.assert_allclose(gain[heard], gain_wanted[heard], rtol=0.02)


def test_too_long_a_response_is_faded_out(write):
    ones = np.ones(2 * RATE)
    ir = impulse_response(Cab.Settings(ir=write(ones), normalise=False), RATE)[0]
    assert RATE - 10 < len(ir) <= RATE
    assert ir[RATE - 481] == 1 and abs(ir[-1]) < 1e-4 and (np.diff(ir) <= 0).all()
    short = impulse_response(Cab.Settings(ir=write(ones), normalise=False, length_ms=50.0), RATE)[0]
    assert 2390 < len(short) <= 2400


def test_similar_lengths_have_equal_shapes(write):
    shapes = [jax.tree.map(np.shape, jax.tree.leaves(raw(write(noise_ir(n))))) for n in (9000, 8800)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"", "not an audio file"),
        (b"hello, this is a text file", "not an audio file"),
        (np.zeros(0), "no samples"),
        (np.zeros(100), "only silence"),
        (np.array([1.0, np.nan, 0.5]), "not numbers"),
        (np.array([1.0, np.inf, 0.5]), "not numbers"),
        (np.ones((100, 3)), "3 channels"),
    ],
)
def test_a_bad_file_is_refused_by_name(write, tmp_path, content, says):
    path = str(tmp_path / "bad.wav")
    if isinstance(content, bytes):
        (tmp_path / "bad.wav").write_bytes(content)
    elif content is not None:
        write(content, name="bad.wav")
    with pytest.raises(IRError, match=says) as caught:
        Cab(Cab.Settings(ir=path))
    assert path in str(caught.value)


def test_a_response_outside_the_band_cannot_be_levelled(write):
    path = write(np.sin(2 * np.pi * 20000 * np.arange(RATE // 2) / RATE) * np.hanning(RATE // 2))
    with pytest.raises(IRError, match="normalise = false"):
        Cab(Cab.Settings(ir=path))
    raw(path)


def test_an_unknown_name_lists_the_built_in_responses():
    with pytest.raises(IRError, match="4x12-dark"):
        Cab(Cab.Settings(ir="8x10"))


@pytest.mark.parametrize("name", ["", "4x12-dark", "1x12-bright", "2x12-room"])
def test_built_in_responses_sound_like_cabinets(name):
    """The pass band of a guitar loudspeaker, and little that follows late."""
    ir = impulse_response(Cab.Settings(ir=name), RATE).mean(0)
    gain = np.abs(np.fft.rfft(ir, 1 << 15))
    frequency = np.fft.rfftfreq(1 << 15, 1 / RATE)

    def db(low, high):
        return 10 * np.log10(np.mean(gain[(frequency > low) & (frequency < high)] ** 2))

    assert abs(db(100, 4000)) < 3
    assert db(20, 40) < -8
    assert db(8000, 10000) < -12 and db(12000, 20000) < -20
    assert np.abs(ir).argmax() < 20
    energy = np.cumsum(ir[::-1] ** 2)[::-1]
    assert energy[RATE // 20] < 0.01 * energy[0]
    assert len(list((assets_folder() / "irs").glob("*.wav"))) == 3
