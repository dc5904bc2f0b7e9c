"""LSTM and GRU against PyTorch's numbers and against a plain reading of its documentation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels.effect import Knob, PerChannel, apply
from jaxmodels.recurrent import GRU, LSTM, Layer, Settings, Weights, from_torch
from jaxmodels.taper import Taper, heard
from jaxmodels.xla import QUICKLY


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(tensors, inputs, skip=True, initial=None):
    """What torch.nn.LSTM or GRU and a Linear make of `inputs [T, I]`, in float64, a sample at a time: `[T]`."""
    w = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
    hidden = w["weight_hh_l0"].shape[1]
    lstm = len(w["weight_hh_l0"]) == 4 * hidden
    layers = sum(name.startswith("weight_hh") for name in w)
    h = np.zeros((layers, hidden)) if initial is None else np.array(initial[:, 0], np.float64)
    c = np.zeros((layers, hidden)) if initial is None or not lstm else np.array(initial[:, 1], np.float64)
    out = np.zeros(len(inputs))
    for t, x in enumerate(np.asarray(inputs, np.float64)):
        v = x
        for n in range(layers):
            a = w[f"weight_ih_l{n}"] @ v + w[f"bias_ih_l{n}"]
            b = w[f"weight_hh_l{n}"] @ h[n] + w[f"bias_hh_l{n}"]
            if lstm:
                i, f, g, o = np.split(a + b, 4)
                c[n] = sigmoid(f) * c[n] + sigmoid(i) * np.tanh(g)
                h[n] = sigmoid(o) * np.tanh(c[n])
            else:
                (ar, az, an), (br, bz, bn) = np.split(a, 3), np.split(b, 3)
                r, z = sigmoid(ar + br), sigmoid(az + bz)
                h[n] = (1 - z) * np.tanh(an + r * bn) + z * h[n]
            v = h[n]
        out[t] = (w["head"] @ v)[0] + w.get("head_bias", np.zeros(1))[0] + (x[0] if skip else 0)
    return out


def torch_tensors(gates=4, hidden=5, inputs=1, layers=1, bias=True, seed=0):
    """Random tensors under PyTorch's names and in its shapes, large enough that every mistake is heard."""
    rng = np.random.default_rng(seed)
    shapes = {}
    for n in range(layers):
        shapes[f"weight_ih_l{n}"] = (gates * hidden, hidden if n else inputs)
        shapes[f"weight_hh_l{n}"] = (gates * hidden, hidden)
        shapes[f"bias_ih_l{n}"] = shapes[f"bias_hh_l{n}"] = (gates * hidden,)
    shapes["head"] = (1, hidden)
    if bias:
        shapes["head_bias"] = (1,)
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def made(tensors, **options):
    tensors = dict(tensors)
    head, bias = tensors.pop("head"), tensors.pop("head_bias", None)
    return from_torch(tensors, head, bias, **options)


@pytest.mark.parametrize("name", ["LSTM16_in1", "LSTM16_in2", "GRU16_in1", "GRU16_in2"])
def test_torch_itself(fixtures, name):
    golden = np.load(fixtures / "vectors/golden/recurrent_torch.npz")
    tensors = {key.removeprefix(f"{name}_"): golden[key] for key in golden if key.startswith(f"{name}_weight")}
    tensors |= {key.removeprefix(f"{name}_"): golden[key] for key in golden if key.startswith(f"{name}_bias")}
    network = from_torch(tensors, golden[f"{name}_lin.weight"], golden[f"{name}_lin.bias"])
    assert type(network) is (LSTM if name.startswith("LSTM") else GRU)
    x = golden[f"{name}_x"]
    y = apply(network, x[:, :1], x[:, 1:])
    np.testing.assert_allclose(y, golden[f"{name}_y"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("gates", [4, 3])
@pytest.mark.parametrize(
    "inputs, hidden, layers, bias, skip",
    [
        (1, 5, 1, True, True),
        (3, 5, 2, False, True),
        (2, 5, 3, True, False),
        (1, 16, 1, True, True),  # a vector, and no more
        (18, 20, 2, True, True),  # in groups of 8, filled up
        (1, 32, 1, True, True),  # in groups of 16
    ],
)
def test_every_architecture_is_torchs_maths(gates, inputs, hidden, layers, bias, skip):
    tensors = torch_tensors(gates, hidden, inputs, layers, bias)
    network = made(tensors, skip=skip)
    assert network.settings == Settings(inputs, hidden, layers, bias, skip)
    rng = np.random.default_rng(1)
    x, knobs = rng.uniform(-1, 1, (60, 1)), rng.uniform(0, 1, (60, inputs - 1))
    want = reference(tensors, np.concatenate([x, knobs], 1), skip)
    np.testing.assert_allclose(apply(network, x, knobs)[:, 0], want, rtol=0, atol=3e-6)


@pytest.mark.parametrize("gates, states", [(4, 2), (3, 1)])
def test_a_given_initial_state_is_where_it_starts(gates, states):
    tensors = torch_tensors(gates, 4, layers=2)
    initial = np.random.default_rng(3).uniform(-0.8, 0.8, (2, states, 4)).astype(np.float32)
    x = np.full((20, 1), 0.1)
    want = reference(tensors, x, initial=initial)
    np.testing.assert_allclose(apply(made(tensors, initial=initial), x)[:, 0], want, rtol=0, atol=3e-6)
    assert abs(want - reference(tensors, x))[0] > 1e-3
    with pytest.raises(ValueError, match=rf"initial has shape \[1, 4\], must be \[2, {states}, 4\]"):
        made(tensors, initial=initial[0, :1])


def test_a_network_hears_the_values_of_its_knobs():
    """A knob of -1 to +1 in the middle is 0 to the network, not 0.5."""
    tensors = torch_tensors(inputs=2)
    network = made(tensors, knobs=(Knob("bias", "", -1.0, 1.0, 0.0),))
    x = np.full((30, 1), 0.2)
    for position, value in ((0.5, 0.0), (1.0, 1.0)):
        want = reference(tensors, np.concatenate([x, np.full_like(x, value)], 1))
        np.testing.assert_allclose(apply(network, x, [position])[:, 0], want, rtol=0, atol=3e-6)


def test_a_taper_is_the_curve_by_which_a_knob_is_heard():
    """As made a straight line; then lines between its points, wherever these lie, standing beyond the outer ones."""
    knobs = Knob("drive", "", 0.0, 10.0, 5.0), Knob("mode"), Knob("tone", "Hz", 100.0, 1000.0, 500.0)
    turns = jnp.asarray([[0.0, 0.3, 1.0], [0.1, 0.0, 0.625], [0.95, 1.0, 0.0]])
    straight = LSTM(Settings(4, 5, taper=(5, 0, 2)), knobs=knobs)
    np.testing.assert_allclose(heard(straight, turns), [[0, 0.3, 1000], [1, 0, 662.5], [9.5, 1, 100]], rtol=1e-6)

    tensors = torch_tensors(inputs=4)
    plain = made(tensors, knobs=knobs)
    layer = Layer(*(plain.layers[0][name][...] for name in ("weight_ih", "weight_hh", "bias")))
    tapers = {
        0: Taper(np.float32([0, 0.2, 0.5, 0.6, 0.9]), np.float32([3, 1, -1, 2, 2.5])),
        2: Taper(np.float32([0.25, 1]), np.float32([8, 2])),
    }
    weights = Weights([layer], plain.head[...], plain.head_bias[...], tapers=tapers)
    bent = LSTM(straight.settings, knobs=knobs, weights=weights)
    np.testing.assert_allclose(heard(bent, turns), [[3, 0.3, 2], [2, 0, 5], [2.5, 1, 8]], rtol=1e-6)
    x = np.random.default_rng(3).uniform(-1, 1, (40, 1)).astype(np.float32)
    values = [np.full_like(x, value) for value in (2, 0, 5)]
    want = reference(tensors, np.concatenate([x, *values], 1))
    np.testing.assert_allclose(apply(bent, x, turns[1])[:, 0], want, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    "cls, inputs, hidden, count",
    [
        (LSTM, 1, 8, 361),
        (LSTM, 1, 16, 1233),
        (LSTM, 1, 40, 6921),
        (LSTM, 2, 20, 1941),
        (GRU, 1, 16, 929),
        (GRU, 1, 32, 3393),
    ],
)
def test_as_many_weights_as_torch_has(cls, inputs, hidden, count):
    """But for the second bias of each gate, which is added to the first; only a GRU's n keeps both."""
    params = nnx.state(nnx.eval_shape(lambda: cls(Settings(inputs, hidden))), nnx.Param)
    summed = {LSTM: 4, GRU: 2}[cls] * hidden
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) + summed == count


@pytest.mark.parametrize("cls", [LSTM, GRU])
def test_initial_weights_are_torchs(cls):
    network = cls(Settings(hidden=64, layers=2), rngs=nnx.Rngs(1))
    bound = 64**-0.5
    weights = np.concatenate([np.ravel(layer.weight_hh[...]) for layer in network.layers] + [network.head[...][:, 0]])
    assert np.abs(weights).max() <= bound
    assert np.std(weights) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert bound < np.abs(network.layers[0].bias[...]).max() <= 2 * bound  # the sum of torch's two
    assert not np.any(network.initial_state())
    again, other = cls(network.settings, rngs=nnx.Rngs(1)), cls(network.settings, rngs=nnx.Rngs(2))
    assert (again.head[...] == network.head[...]).all() and (other.head[...] != network.head[...]).all()


@pytest.mark.parametrize("gates", [4, 3])
def test_two_captures_of_one_architecture_share_a_trace(gates):
    traces = []

    @jax.jit
    def step(network, state, x, knobs):
        traces.append(network.settings)
        return network.step(state, x, knobs)

    outputs = []
    for seed in (0, 1):
        network = made(torch_tensors(gates, inputs=2, seed=seed), sample_rate=44100)
        outputs.append(step(network, network.initial_state(), jnp.ones((8, 1)), jnp.ones((8, 1)))[0])
    assert len(traces) == 1 and (outputs[0] != outputs[1]).all()


def test_training_reaches_every_weight_and_not_the_initial_state():
    network = LSTM(Settings(inputs=2, hidden=4, layers=2))
    x = jnp.sin(jnp.arange(50, dtype=jnp.float32))[:, None]
    graph, weights, rest = nnx.split(network, nnx.Param, ...)
    assert [path for path, _ in nnx.to_flat_state(rest)] == [("initial",)]
    loss = lambda weights: (apply(nnx.merge(graph, weights, rest), x, jnp.full((50, 1), 0.3)) ** 2).sum()  # noqa: E731
    for path, gradient in nnx.to_flat_state(jax.jit(jax.grad(loss), compiler_options=QUICKLY)(weights)):
        assert (gradient[...] != 0).any(), path


def test_channels_do_not_hear_each_other():
    network = made(torch_tensors(hidden=4))
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2))
    both = apply(PerChannel(network, 2), x)
    for channel in (0, 1):
        np.testing.assert_allclose(both[:, channel], apply(network, x[:, channel]), rtol=0, atol=1e-6)


def spoiled(**changes):
    tensors = torch_tensors(layers=2)
    for name, change in changes.items():
        if change is None:
            del tensors[name]
        else:
            tensors[name] = change
    return tensors


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"weight_hh_l0": None}, "there is no tensor weight_hh_l0, only bias_hh_l0"),
        ({"weight_ih_l1": None}, "there is no tensor weight_ih_l1"),
        ({"bias_hh_l0": None}, "there is no tensor bias_hh_l0"),
        ({"weight_hh_l0": np.zeros((20, 6))}, r"weight_hh_l0 has shape \[20, 6\], which is not"),
        ({"weight_hh_l0": np.zeros(20)}, r"weight_hh_l0 has shape \[20\], which is not"),
        ({"weight_hh_l0": np.zeros((20, 0))}, r"weight_hh_l0 has shape \[20, 0\], which is not"),
        ({"weight_hh_l0": np.zeros((5, 5))}, r"weight_hh_l0 has 1 gate\(s\): an LSTM has 4, a GRU 3"),
        ({"weight_ih_l0": np.zeros((20, 0))}, r"weight_ih_l0 has shape \[20, 0\], must be \[20, 'any'\]"),
        ({"weight_ih_l1": np.zeros((20, 4))}, r"weight_ih_l1 has shape \[20, 4\], must be \[20, 5\]"),
        ({"bias_ih_l1": np.zeros((1, 20))}, r"bias_ih_l1 has shape \[1, 20\], must be \[20\]"),
        ({"weight_ih_l0_reverse": np.zeros((20, 1))}, "belong to no LSTM or GRU of 2 layer.s.: weight_ih_l0_reverse"),
        ({"head": np.zeros((2, 5))}, r"head has shape \[2, 5\], must be \[1, 5\]"),
        ({"head_bias": np.zeros(2)}, r"head bias has shape \[2\], must be \[1\]"),
        ({"weight_ih_l0": np.zeros((20, 33))}, "33 inputs: must be 1 to 32"),
    ],
)
def test_tensors_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        made(spoiled(**changes))


def test_settings_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="a network of 0 hidden: must be 1 to 1024"):
        LSTM(Settings(hidden=0))
    with pytest.raises(ValueError, match="a network of 2 inputs has 1 knobs, not 2"):
        GRU(Settings(inputs=2), knobs=(Knob("a"), Knob("b")))
    for settings in (Settings(inputs=2, taper=(3, 3)), Settings(inputs=1, taper=(9,)), Settings(2, taper=(-1,))):
        with pytest.raises(ValueError, match=f"taper = .*{settings.taper[0]}.*: must be numbers of 0 to 1000, one for"):
            LSTM(settings)
    weights = Weights([], np.zeros((2, 1)), None, tapers={0: Taper(np.zeros(3), np.zeros(4))})
    with pytest.raises(ValueError, match=r"taper of knob 0 has shapes \[3\] and \[4\], must be \[4\] twice"):
        GRU(Settings(inputs=2, hidden=2, taper=(4,)), weights=weights)
    assert [knob.name for knob in GRU(Settings(inputs=4, hidden=2)).knobs] == ["drive", "tone", "level"]
