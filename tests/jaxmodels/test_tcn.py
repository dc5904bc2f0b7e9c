"""Steerable and micro TCN: published weights, the papers' tables, and what silence is inside them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels import ring
from jaxmodels.convolution import num_parameters
from jaxmodels.effect import Knob, apply, first_state, hold, positions
from jaxmodels.laws import measured_receptive_field
from jaxmodels.tcn import MicroTCN, SteerableTCN
from tests.variants import slow_except

PUBLISHED = ("compressor", "reverb", "amp", "delay", "piano2egtr", "synth2synth")
CONTROLS = ((0.0, 0.0), (-1.4, 3.0), (5.0, -5.0))


@pytest.fixture(scope="module")
def golden(fixtures):
    return fixtures / "vectors" / "golden"


def at(net, c):
    return jnp.asarray([knob.position(value) for knob, value in zip(net.knobs, c, strict=True)], jnp.float32)


def plain_steerable(weights, x, c, growth=10):
    """The paper's code in numpy, float64: valid convolutions, the residual cropped one sample late."""
    h, n = np.asarray(x, float)[None], 0
    while f"blocks.{n}.conv.weight" in weights:
        w = {k.removeprefix(f"blocks.{n}."): np.asarray(v, float) for k, v in weights.items() if f"blocks.{n}." in k}
        kernel, d = w["conv.weight"], growth**n
        length = h.shape[1] - (kernel.shape[2] - 1) * d
        y = sum(kernel[:, :, k] @ h[:, k * d : k * d + length] for k in range(kernel.shape[2]))
        gamma, beta = np.split(w["film.adaptor.weight"] @ np.asarray(c) + w["film.adaptor.bias"], 2)
        y = gamma[:, None] * (y + w["conv.bias"][:, None]) + beta[:, None]
        y = np.where(y > 0, y, w["act.weight"] * y)
        h = y + w["res.weight"][:, :, 0] @ h[:, h.shape[1] - 1 - length : -1]
        n += 1
    return h[0]


@pytest.mark.parametrize("name", slow_except(["compressor"], ["compressor", "reverb", "synth2synth"]))
def test_published_steerable_networks_give_the_recorded_output(golden, name):
    io, net = np.load(golden / "steerable_io.npz"), load(golden, name)
    for c in CONTROLS:
        want = io[f"{name}_c{c[0]}_{c[1]}"]
        limit = 1e-4 if c == (0.0, 0.0) else 1e-3 * np.abs(want).max()
        got = np.asarray(apply(net, io["x"], at(net, c)))
        assert np.abs(got - want).max() <= limit / 10  # a tenth of what the reference asks for


@pytest.mark.parametrize("name", slow_except(["delay"], ["amp", "delay", "piano2egtr"]))
def test_published_steerable_networks_equal_plain_numpy(golden, name):
    weights, net, c = np.load(golden / f"steerable_{name}_weights.npz"), load(golden, name), (1.0, -2.5)
    x = np.load(golden / "steerable_io.npz")["x"][:2000]
    want = plain_steerable(weights, np.pad(x, (net.receptive_field - 1, 0)), c)
    got = np.asarray(apply(net, x, at(net, c)))
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_steerable_networks_have_the_papers_sizes(golden, name):
    sizes = {"compressor": (21_803, 8_889), "synth2synth": (51_084, 155_555)}
    net = load(golden, name)
    assert (num_parameters(net), net.receptive_field) == sizes.get(name, (32_268, 88_889))
    assert net.sample_rate == 44100 and net.settings.controls == 2


def load(golden, name):
    return SteerableTCN.from_weights(dict(np.load(golden / f"steerable_{name}_weights.npz")))


def test_micro_tcn_gives_the_recorded_output(golden):
    io = dict(np.load(golden / "microtcn100c_io.npz"))
    net = MicroTCN.from_weights(io)
    got = np.asarray(apply(net, io["x"], io["p"]))[net.receptive_field - 1 :]  # recorded without padding
    assert np.abs(got - io["y"]).max() <= 1e-6


def plain_micro(weights, x, p, growth, causal):
    """The paper's code in numpy, float64, for either way of cropping the residual; batch norm included."""
    w = {k: np.asarray(v, float) for k, v in weights.items()}
    c = np.asarray(p, float)
    for i in (0, 2, 4):
        c = np.maximum(w[f"gen.{i}.weight"] @ c + w[f"gen.{i}.bias"], 0)
    h, n = np.asarray(x, float)[None], 0
    while f"blocks.{n}.conv1.weight" in w:
        b, d = f"blocks.{n}.", growth**n
        kernel = w[b + "conv1.weight"]
        length = h.shape[1] - (kernel.shape[2] - 1) * d
        y = sum(kernel[:, :, k] @ h[:, k * d : k * d + length] for k in range(kernel.shape[2]))
        mean, var = w[b + "film.bn.running_mean"][:, None], w[b + "film.bn.running_var"][:, None]
        gamma, beta = np.split(w[b + "film.adaptor.weight"] @ c + w[b + "film.adaptor.bias"], 2)
        y = gamma[:, None] * (y - mean) / np.sqrt(var + 1e-5) + beta[:, None]
        y = np.where(y > 0, y, w[b + "relu.weight"][:, None] * y)
        start = h.shape[1] - 1 - length if causal else (h.shape[1] - length) // 2
        h = y + w[b + "res.weight"][:, 0] * h[:, start : start + length]
        n += 1
    return np.tanh(w["output.weight"][:, :, 0] @ h + w["output.bias"][:, None])[0]


CROPS = [(True, 4), (True, 5), (False, 4), (False, 5)]


@pytest.mark.parametrize("causal, kernel_size", slow_except([(True, 5)], CROPS))
def test_micro_tcn_with_a_trained_batch_norm_equals_plain_numpy(causal, kernel_size):
    settings = MicroTCN.Settings(blocks=2, width=6, kernel_size=kernel_size, dilation_growth=3, causal=causal)
    weights = {k: np.asarray(v) for k, v in MicroTCN(settings, rngs=nnx.Rngs(1)).weights().items()}
    rng = np.random.default_rng(0)
    for n in range(2):
        weights[f"blocks.{n}.film.bn.running_mean"] = rng.normal(0, 0.3, 6).astype(np.float32)
        weights[f"blocks.{n}.film.bn.running_var"] = rng.uniform(0.2, 2, 6).astype(np.float32)
    net = MicroTCN.from_weights(weights, dilation_growth=3, causal=causal)
    x, p = rng.uniform(-1, 1, 400).astype(np.float32), np.array([1.0, 0.3], np.float32)
    padded = np.pad(x, (net.receptive_field - 1, 0))
    np.testing.assert_allclose(apply(net, x, p), plain_micro(weights, padded, p, 3, causal), atol=2e-6)


def test_a_non_causal_micro_tcn_is_late_by_its_latency():
    """With kernels that only have a middle tap, the whole network is one gain, `latency` samples late."""
    settings = MicroTCN.Settings(blocks=2, width=2, kernel_size=5, dilation_growth=4, causal=False)
    weights = {k: np.asarray(v) for k, v in MicroTCN(settings).weights().items()}
    for n in range(2):
        middle = np.zeros_like(weights[f"blocks.{n}.conv1.weight"])
        middle[:, :, 2] = 0.3
        weights[f"blocks.{n}.conv1.weight"] = middle
    net = MicroTCN(settings, weights=weights)
    x = np.zeros(200, np.float32)
    x[20] = 0.1
    difference = np.abs(np.asarray(apply(net, x) - apply(net, 0 * x)))
    assert np.flatnonzero(difference > 1e-6).tolist() == [20 + net.latency]
    assert net.latency == 2 * (1 + 4) and net.receptive_field == 2 * net.latency + 1


TABLE = {  # kernel, blocks, growth, width, causal: parameters, receptive field (micro-TCN, tables I and II)
    "TCN-324": ((15, 10, 2, 32), 162_161, 14_323),
    "TCN-324 16 channels": ((15, 10, 2, 16), 47_345, 14_323),
    "TCN-324 8 channels": ((15, 10, 2, 8), 15_857, 14_323),
    "TCN-100": ((5, 4, 10, 32), 25_905, 4_445),
    "TCN-300": ((13, 4, 10, 32), 50_737, 13_333),
    "TCN-1000": ((5, 5, 10, 32), 33_201, 44_445),
}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("sizes, parameters, field", TABLE.values(), ids=TABLE)
def test_micro_tcn_has_the_papers_sizes(sizes, parameters, field, causal):
    kernel, blocks, growth, width = sizes
    net = MicroTCN(MicroTCN.Settings(blocks, width, kernel, growth, causal=causal))
    assert (num_parameters(net), net.receptive_field) == (parameters, field)
    assert net.latency == (0 if causal else (field - 1) // 2)


@pytest.mark.parametrize("kernel_size", slow_except([2], [1, 2, 5]))
@pytest.mark.parametrize("kind", slow_except(["micro non-causal"], ["steerable", "micro", "micro non-causal"]))
def test_the_receptive_field_is_the_declared_one(kind, kernel_size):
    """Measured with positive weights, so that no two ways through the network cancel."""
    sizes = dict(blocks=3, width=3, kernel_size=kernel_size, dilation_growth=3)
    if kind == "steerable":
        net = SteerableTCN(SteerableTCN.Settings(**sizes))
    else:
        net = MicroTCN(MicroTCN.Settings(**sizes, causal=kind == "micro"))
    graph, state = nnx.split(net)
    net = nnx.merge(graph, jax.tree.map(lambda w: np.abs(w) * np.float32(0.2) + np.float32(0.02), state))
    assert measured_receptive_field(net, net.receptive_field + 30) == net.receptive_field


@pytest.mark.parametrize("kind", slow_except([SteerableTCN], [SteerableTCN, MicroTCN]))
def test_the_first_state_is_that_after_long_silence(kind):
    net = kind(kind.Settings(blocks=2, width=5, kernel_size=4, dilation_growth=12))
    knobs = jnp.asarray([0.8, 0.1])
    start = first_state(net, knobs)
    zeros = jax.tree.map(jnp.zeros_like, start)
    length = net.receptive_field
    y, settled = jax.jit(net.step)(zeros, jnp.zeros((length, 1)), hold(knobs, length))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), settled, start)
    assert float(jnp.abs(start[1][0] if not ring.has_past(start[1]) else start[1].past).max()) > 0.01
    assert float(jnp.abs(y[0] - y[-1]).max()) > 1e-3  # it was not silent from the beginning


@pytest.mark.parametrize("kind", slow_except([SteerableTCN], [SteerableTCN, MicroTCN]))
def test_one_row_of_knobs_stands_for_a_whole_block(kind):
    net = kind(kind.Settings(blocks=2, width=4, kernel_size=3))
    x = jnp.sin(jnp.arange(90.0))[:, None]
    knobs = jnp.asarray([0.2, 0.9])
    state = first_state(net, knobs)
    step = jax.jit(net.step)
    np.testing.assert_allclose(step(state, x, knobs[None])[0], step(state, x, hold(knobs, 90))[0], atol=1e-6)


@pytest.mark.parametrize("kind", slow_except([SteerableTCN], [SteerableTCN, MicroTCN]))
def test_inverted_is_exactly_the_negative(kind):
    net = kind(kind.Settings(blocks=2, width=4, kernel_size=3), rngs=nnx.Rngs(4))
    x = np.random.default_rng(0).uniform(-1, 1, 300).astype(np.float32)
    for c in ([0.0, 1.0], [0.9, 0.3]):
        knobs = np.asarray(c, np.float32)
        np.testing.assert_allclose(apply(net.inverted(), x, knobs), -apply(net, x, knobs), atol=1e-6)


def test_a_network_that_has_no_negative_says_so():
    net = SteerableTCN(SteerableTCN.Settings(blocks=2, width=3, kernel_size=3))
    weights = net.weights() | {"blocks.1.act.weight": jnp.full(1, -0.1)}
    with pytest.raises(ValueError, match="slope is -0.1"):
        SteerableTCN.from_weights(weights).inverted()


@pytest.mark.parametrize("kind", [SteerableTCN, MicroTCN])
def test_weights_come_back_as_they_went_in(kind):
    net = kind(kind.Settings(blocks=2, width=4, kernel_size=3), rngs=nnx.Rngs(7))
    again = kind.from_weights(net.weights())
    assert again.settings == net.settings
    for name, value in net.weights().items():
        np.testing.assert_allclose(again.weights()[name], value, rtol=1e-6, err_msg=name)
    other = kind(kind.Settings(blocks=2, width=4, kernel_size=3), rngs=nnx.Rngs(8))
    assert not np.allclose(other.weights()["blocks.0.film.adaptor.bias"], net.weights()["blocks.0.film.adaptor.bias"])


@pytest.mark.parametrize(
    "spoil, word",
    [
        (lambda w: w | {"blocks.1.res.weight": np.zeros((1, 5, 1))}, r"blocks.1.res.weight.*\[1, 5, 1\]"),
        (lambda w: w | {"blocks.0.conv.bias": np.full(4, np.nan)}, "blocks.0.conv.bias.*finite"),
        (lambda w: {k: v for k, v in w.items() if k != "blocks.1.act.weight"}, "no tensor 'blocks.1.act.weight'"),
        (lambda w: {}, "no tensor 'blocks.0.conv.weight'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(spoil, word):
    net = SteerableTCN(SteerableTCN.Settings(blocks=2, width=4, kernel_size=3))
    with pytest.raises(ValueError, match=word):
        SteerableTCN.from_weights(spoil(net.weights()))


@pytest.mark.parametrize("kind", [SteerableTCN, MicroTCN])
def test_a_network_that_hears_for_hours_is_refused(kind):
    with pytest.raises(ValueError, match="hears 8888889 samples, at most 1048576"):
        kind(kind.Settings(blocks=7, width=1, kernel_size=9))


def test_knobs_carry_the_names_they_are_given():
    net = MicroTCN(MicroTCN.Settings(blocks=1, width=2, kernel_size=2))
    assert [knob.name for knob in net.knobs] == ["limit", "peak_reduction"]
    net = SteerableTCN(
        SteerableTCN.Settings(blocks=1, width=2, controls=1), knobs=(Knob("warmth", "", -5.0, 5.0, 0.0),)
    )
    assert positions(net, {"warmth": 5.0})[0] == 1.0
    with pytest.raises(ValueError, match="2 knobs for 1 controls"):
        SteerableTCN(SteerableTCN.Settings(blocks=1, width=2, controls=1), knobs=(Knob("a"), Knob("b")))


def test_networks_of_one_architecture_share_a_trace():
    traces = []

    @jax.jit
    def step(net, state, x, knobs):
        traces.append(1)
        return net.step(state, x, knobs)

    for seed in (1, 2):
        net = SteerableTCN(SteerableTCN.Settings(blocks=2, width=3, kernel_size=3), rngs=nnx.Rngs(seed))
        step(net, net.initial_state(), jnp.zeros((8, 1)), jnp.full((8, 2), 0.5))
    assert len(traces) == 1
