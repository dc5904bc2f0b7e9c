"""NAM's ConvNet and Linear: the C++ engine's outputs, plain numpy, and every way a file can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmodels.convnet import ConvNet, Linear
from jaxmodels.effect import apply
from jaxmodels.files import ModelFileError, inspect, load, save
from tests.jaxmodels.streaming import streamed
from tests.variants import slow_except

GOLDENS = ["convnet_nobn", "convnet_relu", "convnet_test", "linear_nobias", "linear_fft_rf320", "linear_fft_rf4096"]
TOLERANCE = 3e-5


def golden(fixtures, name):
    """Input and output of NAM's C++ engine, 48 kHz."""
    data = (fixtures / f"vectors/nam_core/golden_{name}.bin").read_bytes()
    count = int.from_bytes(data[:4], "little")
    return np.frombuffer(data, "<f4", 2 * count, 4).reshape(2, count)


def played(config, weights, x):
    """A ConvNet by the words of its description, in float64."""
    act = {"Tanh": np.tanh, "ReLU": lambda z: np.maximum(z, 0), "Softsign": lambda z: z / (1 + abs(z))}
    channels, flat = config["channels"], list(map(float, weights))

    def take(*shape):
        part = np.array(flat[: int(np.prod(shape))]).reshape(shape)
        del flat[: part.size]
        return part

    signal = np.asarray(x, float)[None]
    for dilation in config["dilations"]:
        weight = take(channels, len(signal), 2)
        bias = np.zeros(channels) if config["batchnorm"] else take(channels)
        past = np.pad(signal, ((0, 0), (dilation, 0)))[:, : signal.shape[1]]
        z = weight[:, :, 1] @ signal + weight[:, :, 0] @ past + bias[:, None]
        if config["batchnorm"]:
            mean, variance, scale, shift = (take(channels)[:, None] for _ in range(4))
            z = (z - mean) / np.sqrt(variance + take(1)) * scale + shift
        signal = act[config["activation"]](z)
    y = take(1, channels) @ signal + take(1)
    assert not flat
    return y[0]


def config(**changes):
    base = {"channels": 3, "dilations": [1, 2, 5], "batchnorm": True, "activation": "Tanh"}
    return {key: value for key, value in (base | changes).items() if value is not None}


def weights_for(config, seed=0):
    """Random weights, the variances above zero."""
    channels, rng, parts = config["channels"], np.random.default_rng(seed), []
    for n in range(len(config["dilations"])):
        parts.append(rng.normal(size=2 * channels * (channels if n else 1)))
        if config["batchnorm"]:
            parts += [rng.normal(size=channels), rng.uniform(0.5, 2, channels), rng.normal(size=2 * channels), [1e-3]]
        else:
            parts.append(rng.normal(size=channels))
    return np.concatenate([*parts, rng.normal(size=channels + 1)]).astype(np.float32).tolist()


@pytest.fixture
def written(tmp_path):
    def write(architecture, config, weights, **more):
        document = {"version": "0.5.4", "architecture": architecture, "config": config, "weights": weights}
        path = tmp_path / "capture.nam"
        path.write_text(json.dumps(document | more))
        return path

    return write


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], [1, 64, 2048]]))
@pytest.mark.parametrize("name", slow_except(["convnet_test", "convnet_relu", "linear_fft_rf320"], GOLDENS))
def test_the_engine_whole_and_in_blocks(fixtures, name, lengths):
    box = load(fixtures / f"vectors/nam_core/models/{name}.nam")
    x, want = golden(fixtures, name)
    assert box.sample_rate == 48000 and np.abs(want).max() > 1e-3
    np.testing.assert_allclose(apply(box, x), want, rtol=0, atol=TOLERANCE)
    for length in lengths:
        y = streamed(box, x[:300] if length == 1 else x, length)
        assert len(y) >= 300
        np.testing.assert_allclose(y, want[: len(y)], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("changes", [{}, {"batchnorm": False}, {"activation": "ReLU"}, {"activation": "Softsign"}])
def test_every_convnet_is_the_descriptions_maths(written, changes):
    described = config(**changes, groups=1, in_channels=1, out_channels=1)
    weights, x = weights_for(described), np.random.default_rng(1).uniform(-1, 1, 200)
    box = load(written("ConvNet", described, weights, sample_rate=44100))
    # It begins as after endless silence: so does the description, told some.
    want = played(described, weights, np.concatenate([np.zeros(50), x]))[50:]
    np.testing.assert_allclose(apply(box, x), want, rtol=0, atol=1e-5 * np.abs(want).max())
    assert (box.sample_rate, box.receptive_field) == (44100, 9)


def test_fast_tanh_is_played_only_when_asked_for(written):
    described = config()
    path = written("ConvNet", described, weights_for(described))
    x = np.random.default_rng(1).uniform(-1, 1, 200)
    exact, fast = apply(load(path), x), apply(load(path, fast_tanh=True), x)
    assert 1e-5 < np.abs(exact - fast).max() < 0.05
    assert load(path, fast_tanh=True).settings.activation == "Fasttanh"


def test_a_convnet_is_saved_in_our_own_format(tmp_path, written):
    described = config(activation={"type": "PReLU", "negative_slopes": [0.1, 0.2, 0.3]})
    before = load(written("ConvNet", described, weights_for(described)))
    save(tmp_path / "a", before)
    after = load(tmp_path / "a")
    x = np.random.default_rng(1).uniform(-1, 1, 100)
    assert after.settings == before.settings and (apply(after, x) == apply(before, x)).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        (ConvNet.Settings(1024, (1,) * 64), "64 layers of 1024 channels"),
        (ConvNet.Settings(1, (1,) * 65), "65 layers of 1 channels"),
        (ConvNet.Settings(1, ()), r"dilations \(\): must be above 0"),
        (ConvNet.Settings(0), "a ConvNet of 0 channels"),
        (ConvNet.Settings(activation='{"a":' * 5000), "activation: an object that is nested too deeply"),
        (ConvNet.Settings(activation="{"), "Expecting property name"),
        (ConvNet.Settings(activation="tanh"), "'tanh' is none of Tanh"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(settings)


def test_a_fresh_convnet_plays():
    y = apply(ConvNet(ConvNet.Settings(4, (1, 300))), np.random.default_rng(0).uniform(-1, 1, 400))
    assert y.shape == (400,) and 1e-3 < np.abs(y).max() < 10


RESPONSES = [(1, False), (10, True), (64, False), (65, True), (1000, False), (2**16, False)]


@pytest.mark.parametrize("taps, bias", slow_except([(10, True), (64, False), (1000, False)], RESPONSES))
def test_linear_is_convolution(taps, bias):
    rng = np.random.default_rng(taps)
    response = (rng.normal(size=taps) * np.exp(-4 * np.arange(taps) / taps)).astype(np.float32)
    x = rng.uniform(-1, 1, taps // 4 + 1000).astype(np.float32)
    box = Linear(response, 0.25 if bias else None)
    size = 1 << (len(x) + taps).bit_length()
    want = np.fft.irfft(np.fft.rfft(x.astype(float), size) * np.fft.rfft(response.astype(float), size), size)[: len(x)]
    np.testing.assert_allclose(apply(box, x), want + 0.25 * bias, rtol=0, atol=2e-6 * np.abs(want).max())
    assert box.receptive_field == taps


@pytest.mark.parametrize("taps", [10, 500])
def test_linear_captures_are_the_response_in_its_natural_order(written, taps):
    response = np.random.default_rng(0).normal(size=taps).astype(np.float32)
    stated = {"receptive_field": taps, "bias": True, "implementation": "fft", "in_channels": 2, "out_channels": 2}
    path = written("Linear", stated, [*response.tolist(), 0.5])
    impulse = np.zeros(taps + 20, np.float32)
    impulse[3] = 1
    y = apply(load(path), impulse)
    np.testing.assert_allclose(y[3 : 3 + taps], response + 0.5, rtol=0, atol=1e-5)
    assert inspect(path)[1].architecture == f"Linear {taps}"


@pytest.mark.parametrize(
    "architecture, changes, count, message",
    [
        ("ConvNet", {}, 62, "ConvNet of 62 weights, but its config wants 85"),
        ("ConvNet", {"channels": None}, None, "config.channels = None, must be a whole number of 1 to 1024"),
        ("ConvNet", {"channels": 0}, None, "config.channels = 0"),
        ("ConvNet", {"channels": 10**30}, None, "config.channels = 1000"),
        ("ConvNet", {"channels": 1024}, 85, "ConvNet of 85 weights, but its config wants 42"),
        ("ConvNet", {"dilations": []}, None, "config.dilations = a list of 0, must be"),
        ("ConvNet", {"dilations": [1, -2]}, None, "config.dilations = a list of 2, must be 1 to 64"),
        ("ConvNet", {"dilations": [2**40]}, None, "config.dilations"),
        ("ConvNet", {"dilations": "1, 2"}, None, "config.dilations = '1, 2'"),
        ("ConvNet", {"batchnorm": 1}, None, "config.batchnorm = 1, must be true or false"),
        ("ConvNet", {"activation": "Swish"}, 85, "config.activation = 'Swish': 'Swish' is none of Tanh, "),
        ("ConvNet", {"activation": None}, 85, "config.activation = None"),
        ("ConvNet", {"activation": {"type": "PReLU", "negative_slopes": [1, 2]}}, 85, "2 slopes of a PReLU for 3"),
        ("ConvNet", {"groups": 3}, None, "config.groups = 3, must be a whole number of 1 to 1"),
        ("ConvNet", {"out_channels": 2}, None, "config.out_channels = 2"),
        ("Linear", {"receptive_field": 4, "bias": False}, 5, "Linear of 5 weights, but its config wants 4"),
        ("Linear", {"receptive_field": 4, "bias": True}, 4, "Linear of 4 weights, but its config wants 5"),
        ("Linear", {"receptive_field": 0, "bias": True}, 1, "config.receptive_field = 0, must be"),
        ("Linear", {"receptive_field": 2**60, "bias": False}, 1, "config.receptive_field"),
        ("Linear", {"receptive_field": 4}, 4, "config.bias = None, must be true or false"),
        ("Linear", {"receptive_field": 4, "bias": False, "out_channels": 2}, 4, "config.out_channels = 2"),
    ],
)
def test_what_is_wrong_is_named(written, architecture, changes, count, message):
    described = config(**changes) if architecture == "ConvNet" else changes
    path = written(architecture, described, [0.5] * (count or 85))
    with pytest.raises(ModelFileError, match=message) as error:
        load(path)
    assert str(error.value).startswith("capture.nam: ")


def test_a_normalisation_that_cannot_be_is_named(written):
    described = config()
    weights = weights_for(described)
    weights[9:12] = [-1.0] * 3  # the variances of the first layer
    with pytest.raises(ModelFileError, match="a variance of its batch normalisation is not above zero"):
        load(written("ConvNet", described, weights))
    weights[9:12], weights[18] = [0.0] * 3, 1e-45
    weights[12:15] = [1e30] * 3
    with pytest.raises(ModelFileError, match="its batch normalisation makes numbers too large"):
        load(written("ConvNet", described, weights))


def test_a_convnet_that_hears_for_hours_is_refused(written):
    described = config(channels=100, dilations=[2**16] * 20, batchnorm=False)
    with pytest.raises(ModelFileError, match="remembers 100 x 1310720 numbers"):
        load(written("ConvNet", described, weights_for(described)))
