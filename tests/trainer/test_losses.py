"""Losses against closed forms, against auraloss's and CoreAudioML's values, and their derivatives."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.xla import QUICKLY
from trainer import losses
from trainer.config import TrainerError


def signals(*shape):
    rng = np.random.default_rng(0)
    return (jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32) for _ in range(2))


@pytest.fixture
def golden(fixtures):
    """The target, the prediction and what other programs say of them."""
    io = np.load(fixtures / "vectors/golden/losses_io.npz")
    values = json.loads((fixtures / "vectors/golden/losses.json").read_text())
    return jnp.asarray(io["pred"][:, 0]), jnp.asarray(io["target"][:, 0]), values


def test_errors_in_time_of_known_signals():
    _, target = signals(3, 4000)
    power, size = float(jnp.mean(target**2)), float(jnp.mean(jnp.abs(target)))
    assert float(losses.esr(target, target)) == 0
    assert float(losses.esr(jnp.zeros_like(target), target)) == pytest.approx(1, rel=1e-3)
    assert float(losses.esr(-target, target)) == pytest.approx(4, rel=1e-3)
    assert float(losses.esr_each(jnp.zeros_like(target).at[0].set(target[0]), target)) == pytest.approx(2 / 3, rel=1e-3)
    quiet = jnp.array([[1.0], [2.0], [0.1]]) * target
    assert float(losses.esr_each(0.5 * target, quiet)) == pytest.approx((0.25 + 0.5625 + 16) / 3, rel=0.02)
    assert float(losses.dc(target + 0.5, target)) == pytest.approx(0.25 / power, rel=1e-3)
    assert float(losses.mae(target + 0.25, target)) == pytest.approx(0.25, rel=1e-5)
    assert float(losses.mse(target - 0.5, target)) == pytest.approx(0.25, rel=1e-5)
    assert float(losses.l1_relative(1.25 * target, target)) == pytest.approx(0.25, rel=1e-3)
    assert float(losses.l1_relative(target + 0.1, target)) == pytest.approx(0.1 / size, rel=1e-3)


def test_silence_is_no_trouble():
    nothing = jnp.zeros((1, 4096))
    for name, loss in losses.LOSSES.items():
        slope = jax.jit(jax.value_and_grad(loss), compiler_options=QUICKLY)
        value, gradient = slope(nothing, nothing)
        assert np.isfinite(value) and np.isfinite(gradient).all(), name


def test_errors_in_time_are_those_of_the_reference(golden):
    y, target, values = golden
    assert float(losses.esr(y, target)) == pytest.approx(values["core_ESR"], rel=1e-4)
    mean = np.mean([losses.esr(a, b) for a, b in zip(y, target, strict=True)])  # auraloss takes the mean of items
    assert mean == pytest.approx(values["aura_ESR"], rel=1e-3)
    assert float(losses.dc(y, target)) == pytest.approx(values["core_DC"], rel=1e-4)
    sharp = losses.esr(losses.pre_emphasis(y), losses.pre_emphasis(target))
    assert float(sharp) == pytest.approx(values["core_ESRPre_hp"], rel=1e-4)
    plain = losses.weighted({"esr": 0.75, "dc": 0.25})
    assert float(plain(y, target)) == pytest.approx(values["core_075ESR_025DC"], rel=1e-4)
    emphasised = losses.weighted({"esr": 0.75, "dc": 0.25}, preemphasis=0.85)
    assert float(emphasised(y, target)) == pytest.approx(values["core_075ESRPre_025DC"], rel=1e-4)


@pytest.mark.parametrize("size", [(32, 16, 32), (512, 50, 240), (1024, 256, 1024), (2048, 1024, 2048)])
def test_each_term_of_the_spectral_loss_is_auralosss(golden, size):
    y, target, values = golden
    weights = ({}, {"log": 0}, {"convergence": 0})
    terms = jax.jit(lambda y, target: [losses.stft_loss(y, target, size, **weight) for weight in weights])
    assert [float(term) for term in terms(y, target)] == pytest.approx(
        values["stft_{}_{}_{}_full".format(*size)][:3], rel=1e-4
    )


def test_multi_resolution_losses_are_auralosss(golden):
    y, target, values = golden
    stft, mr_stft, steer = (jax.jit(losses.LOSSES[name]) for name in ("stft", "mr_stft", "mr_stft_steer"))
    assert float(stft(y, target)) == pytest.approx(values["stft_default"], rel=1e-4)
    assert float(mr_stft(y, target)) == pytest.approx(values["mrstft_default"], rel=1e-4)
    assert float(steer(y, target)) == pytest.approx(values["mrstft_steer"], rel=1e-4)
    silent = float(steer(jnp.zeros_like(y), target))
    assert silent == pytest.approx(values["mrstft_steer_pred_zero"], rel=1e-4)
    assert float(steer(-y, target)) == pytest.approx(values["mrstft_steer"], rel=1e-4), "a magnitude has no sign"


@pytest.mark.parametrize("size", [(32, 16, 32), (64, 10, 40), (256, 100, 256)])
def test_magnitudes_are_those_of_a_plain_transform(size):
    fft, hop, window = size
    x, _ = signals(1000)
    padded = np.pad(np.asarray(x, np.float64), fft // 2, mode="reflect")
    shape = np.zeros(fft)
    before = (fft - window) // 2
    shape[before : before + window] = np.sin(np.pi * np.arange(window) / window) ** 2
    expected = [np.abs(np.fft.rfft(shape * padded[at : at + fft])) for at in range(0, len(padded) - fft + 1, hop)]
    found = jax.jit(losses.magnitudes, static_argnums=(1, 2, 3))(x, fft, hop, window)
    np.testing.assert_allclose(found, np.maximum(expected, 1e-4), atol=2e-5)


def test_the_derivative_of_a_spectral_loss_is_its_slope():
    rng, sizes, step = np.random.default_rng(0), ((64, 16, 64), (256, 60, 200)), 1e-7
    with jax.enable_x64(True):
        y, target, direction = (jnp.asarray(x) for x in rng.normal(size=(3, 900)))
        loss = jax.jit(lambda y: losses.mr_stft(y, target, sizes))
        slope = jnp.vdot(jax.jit(jax.grad(loss), compiler_options=QUICKLY)(y), direction)
        after, before = (loss(y + way * direction) for way in (step, -step))
        assert float(slope) == pytest.approx(float((after - before) / (2 * step)), rel=1e-4)


def test_filters_before_a_loss():
    ramp = jnp.asarray([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(losses.pre_emphasis(ramp), [[1.0, 2 - 0.85, 4 - 1.7]], rtol=1e-6)
    once = np.convolve([1.0, 2.0, 4.0], [1, -0.85])
    np.testing.assert_allclose(losses.pre_emphasis_low_passed(ramp)[0], np.convolve(once, [1, 0.85])[:3], rtol=1e-5)
    x, _ = signals(2, 300)
    taps = np.linspace(1, -1, 31)
    np.testing.assert_allclose(losses.fir(x, taps)[1], np.convolve(x[1], taps)[:300], atol=1e-5)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_a_weighting_follows_the_standards_table(rate):
    """Gains of IEC 61672-1 at some third-octave frequencies."""
    impulse = jnp.zeros((1, 512)).at[0, 0].set(1.0)
    response = np.asarray(losses.a_weighting(impulse, rate)[0], np.float64)
    for hz, expected, within in ((1000, 0.0, 0.1), (2000, 1.2, 0.5), (4000, 1.0, 0.5), (8000, -1.1, 0.7)):
        gain = np.abs(np.exp(-2j * np.pi * hz / rate * np.arange(512)) @ response)
        assert 20 * np.log10(gain) == pytest.approx(expected, abs=within), hz
    low = np.abs(np.exp(-2j * np.pi * 100 / rate * np.arange(512)) @ response)
    assert -40 < 20 * np.log10(low) < -5, "101 taps cannot follow it all the way down"


def test_sums_by_name():
    y, target = signals(2, 3000)
    both = jax.jit(losses.weighted({"mae": 2.0, "stft": 0.5, "esr": 0.0}))
    expected = 2 * losses.mae(y, target) + 0.5 * jax.jit(losses.stft_loss)(y, target)
    assert float(both(y, target)) == pytest.approx(float(expected), rel=1e-6)
    assert float(losses.weighted({"dc": 1.0}, preemphasis=0.95)(y + 1, target)) == pytest.approx(
        float(losses.dc(y + 1, target)), rel=1e-6
    ), "pre-emphasis leaves the DC term alone"
    assert float(jax.jit(losses.weighted({"mae": 1.0}, preemphasis="a_weighting", rate=48000))(y, target)) > 0


@pytest.mark.parametrize(
    ("weights", "preemphasis", "said"),
    [
        ({"esrr": 1.0}, None, "'esrr': unknown; there are: esr, dc"),
        ({"esr": 0.0}, None, "no term has a weight"),
        ({}, None, "no term has a weight"),
        ({"esr": 1.0}, "loud", "'loud': unknown; there are: none, high_pass"),
        ({"esr": 1.0}, 1.5, "pre-emphasis 1.5"),
    ],
)
def test_a_sum_that_cannot_be_says_why(weights, preemphasis, said):
    with pytest.raises(TrainerError, match=said):
        losses.weighted(weights, preemphasis)


def test_a_signal_shorter_than_the_transform_says_so():
    y, target = signals(1000)
    with pytest.raises(TrainerError, match="1000 samples are too few for an FFT of 2048"):
        losses.mr_stft(y, target)
