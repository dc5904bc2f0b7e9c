"""Random overdrive: every network comes out as loud as it went in, and the same one from the same seed."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.activations import ACTIVATIONS
from jaxmodels.boxes import make
from jaxmodels.effect import hold, positions
from jaxmodels.laws import measured_receptive_field
from jaxmodels.randomized import INITS, RandomizedOverdrive, _key, _measure, _weights, plucked_strings
from jaxmodels.settings import SettingError
from tests.jaxmodels.prove_random_overdrive import CASES, guitar, worst
from tests.variants import slow_except

Settings = RandomizedOverdrive.Settings
RATE = 48000
STRINGS = plucked_strings(RATE, RATE // 2)


@jax.jit
def _whole(box, x, knobs):
    return box.step(box.initial_state(knobs), x, hold(knobs, len(x)))[0]


def render(box, x=STRINGS, **values):
    """A mono signal through a box with its knobs at these values."""
    return np.asarray(_whole(box, jnp.asarray(x, jnp.float32)[:, None], positions(box, values)))[:, 0]


@pytest.fixture(scope="module")
def egtr(fixtures):
    return guitar(fixtures / "audio" / "dry" / "egtr.wav")


@pytest.mark.parametrize("activation", slow_except(["tanh"], ["tanh", "relu", "softshrink", "sine30"]))
def test_networks_are_safe_on_a_real_guitar(egtr, activation):
    """Peak at most full scale, DC at most -60 dBFS, loudness within 3 LU; all activations: prove_random_overdrive."""
    _, broken = worst({"activation": activation}, range(3, 3 + len(CASES), 2), *egtr)
    assert not broken


def test_a_thousand_seeds_are_a_thousand_networks():
    first = [np.asarray(make("random_overdrive", {"seed": seed}).convs[1].weight) for seed in range(12)]
    assert all(np.abs(a - b).max() > 0.05 for a, b in combinations(first, 2))
    np.testing.assert_array_equal(make("random_overdrive", {"seed": 7}).convs[1].weight, first[7])


def test_all_inits_differ_and_have_the_spread_that_they_are_named_after():
    draw = jax.jit(lambda s: _weights(s, _key(s, 42))[0], static_argnums=0)
    drawn = {}
    for init in INITS:
        weights = draw(Settings(init=init, channels=24, layers=3, seed=0))
        drawn[init] = np.asarray(weights[1]).ravel()  # 24 x 24 x 3, fan 72 both ways
    want = {
        "normal": 1.0,
        "uniform_0.25": 0.25 / np.sqrt(3),
        "uniform_1": 1 / np.sqrt(3),
        "xavier_normal": np.sqrt(2 / 144),
        "xavier_uniform": np.sqrt(2 / 144),
        "kaiming_normal": np.sqrt(2 / 72),
        "kaiming_uniform": np.sqrt(2 / 72),
    }
    for init, weights in drawn.items():
        assert np.std(weights) == pytest.approx(want[init], rel=0.05)
        widest = np.abs(weights).max() / np.std(weights)
        assert widest > 2.5 if "normal" in init else widest <= np.sqrt(3) * 1.05
    for a, b in combinations(INITS, 2):
        assert abs(np.corrcoef(drawn[a], drawn[b])[0, 1]) < 0.1  # not even the same up to a factor


REFERENCES = {  # closed forms, in float64
    "linear": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: x * np.vectorize(lambda v: 0.5 * (1 + __import__("math").erf(v / np.sqrt(2))))(x),
    "rrelu": lambda x: np.where(x > 0, x, x * 11 / 48),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "sine": np.sin,
    "sine30": lambda x: np.sin(30 * x),
}


def test_activations_are_their_closed_forms():
    assert REFERENCES.keys() == ACTIVATIONS.keys()
    x = np.linspace(-4, 4, 801)
    for name, reference in REFERENCES.items():
        got = ACTIVATIONS[name](jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(got, reference(x), atol=2e-5, err_msg=name)


def plain_network(box, x):
    """The stack of convolutions in numpy, float64, from silence."""
    h = np.asarray(x, float)[None]
    for n, conv in enumerate(box.convs):
        w = np.asarray(conv.weight, float)
        outputs, per_group, width = w.shape
        y = np.zeros((outputs, h.shape[1]))
        for o in range(outputs):
            for i in range(per_group):
                for k in range(width):
                    lag = (width - 1 - k) * conv.dilation
                    y[o, lag:] += w[o, i, k] * h[o // (outputs // conv.groups) * per_group + i, : h.shape[1] - lag]
        h = y if n == len(box.convs) - 1 else REFERENCES[box.settings.activation](y)
    return h[0]


SHAPES = [{"dilation_growth": 3}, {"depthwise": True, "kernel_size": 4}, {"layers": 1}]


@pytest.mark.parametrize("settings", slow_except(SHAPES[1:], SHAPES))
def test_the_network_is_a_plain_stack_of_convolutions(settings):
    box = make("random_overdrive", {"layers": 3, "activation": "elu"} | settings, channels=2)
    x = np.random.default_rng(0).uniform(-1, 1, (300, 2)).astype(np.float32)
    pasts, _ = box.initial_state()
    y, _ = jax.jit(RandomizedOverdrive._through_network)(box, pasts, x)
    for channel in (0, 1):
        want = plain_network(box, x[:, channel])
        np.testing.assert_allclose(y[:, channel], want, atol=1e-5 * np.abs(want).max())


CHAOTIC = [("sine30", 5), ("sine30", 8), ("gelu", 8)]


@pytest.mark.parametrize("activation, layers", slow_except(CHAOTIC[:1], CHAOTIC))
def test_a_chaotic_network_is_the_same_to_the_last_bit_however_it_is_cut(activation, layers):
    """Layers of weights from N(0, 1): a rounding error in the first one is another sound in the last."""
    box = make("random_overdrive", {"layers": layers, "init": "normal", "activation": activation, "bias": True})
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (130, 1)).astype(np.float32)
    step = jax.jit(RandomizedOverdrive._through_network)
    start, _ = box.initial_state()
    whole, _ = step(box, start, x)
    for size in (1, 13):
        state, ys = start, []
        for at in range(0, 130, size):
            y, state = step(box, state, x[at : at + size])
            ys.append(y)
        np.testing.assert_array_equal(np.concatenate(ys), whole)


OFFSETS = [{"activation": "sigmoid"}, {"activation": "tanh", "bias": True}]


@pytest.mark.parametrize("settings", slow_except(OFFSETS[1:], OFFSETS))
def test_silence_in_is_silence_out_from_the_first_sample(settings):
    y = render(make("random_overdrive", {"layers": 3, "dilation_growth": 2} | settings), np.zeros(2000))
    assert np.abs(y).max() < 1e-6


POOR = {"activation": "relu", "channels": 1, "layers": 5}


@pytest.mark.slow
def test_dead_networks_are_passed_over_and_the_seed_still_decides():
    """One channel of ReLU in five layers: many draws are constant, and yet every box answers."""
    settings = POOR
    x = plucked_strings(RATE, 6000)[:, None]
    boxes = [make("random_overdrive", settings | {"seed": seed}) for seed in range(8)]
    through = jax.jit(lambda box: box._through_network(box.initial_state()[0], x)[0])
    assert all(np.ptp(through(box)) > 0 for box in boxes)
    again = make("random_overdrive", settings | {"seed": 3})
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(again), jax.tree.leaves(boxes[3]))

    s = boxes[0].architecture
    first = jax.jit(lambda seed: _measure(s, RATE, *_weights(s, jax.random.fold_in(_key(s, seed), 0)))["alive"])
    alive = [bool(first(seed)) for seed in range(8)]
    assert 0 < sum(alive) < 8  # there were dead ones to pass over


GAINS = [("normal", 16, 24), ("normal", 8, 6), ("uniform_0.25", 1, 24), ("uniform_0.25", 1, 12)]


@pytest.mark.parametrize("init, kernel_size, layers", slow_except(GAINS[1:2], GAINS))
def test_networks_of_enormous_or_no_gain_are_matched_all_the_same(init, kernel_size, layers):
    """24 linear layers: more than 500 dB louder, or 300 dB softer; a part of them, as much less."""
    settings = {"activation": "linear", "layers": layers, "channels": 16 if kernel_size > 1 else 4, "init": init}
    y = render(make("random_overdrive", settings | {"kernel_size": kernel_size}), drive=24.0)
    assert abs(20 * np.log10(np.std(y) / np.std(STRINGS))) < 3


@pytest.mark.slow
def test_where_no_network_answers_the_dry_signal_passes():
    """Softshrink silences whatever is below 0.5, and these weights leave nothing above it."""
    settings = {"activation": "softshrink", "init": "uniform_0.25", "kernel_size": 1, "layers": 6, "channels": 2}
    y, dry = render(make("random_overdrive", settings))[4800:], STRINGS[4800:]
    assert np.dot(y, dry) / np.linalg.norm(y) / np.linalg.norm(dry) > 0.99
    assert abs(20 * np.log10(np.linalg.norm(y) / np.linalg.norm(dry))) < 1


def test_drive_changes_the_colour_and_not_the_level():
    box = make("random_overdrive", {"activation": "tanh"})
    ys = {db: render(box, drive=db)[4800:] for db in (-24.0, 24.0)}
    rms = {db: 20 * np.log10(np.std(y)) for db, y in ys.items()}
    assert abs(rms[-24] - rms[24]) < 3
    assert np.abs(np.corrcoef(ys[-24], ys[24])[0, 1]) < 0.98


def test_level_and_mix_do_what_they_say():
    box, x = make("random_overdrive"), 0.1 * STRINGS
    loud, soft = render(box, x), render(box, x, level=-20.0)
    np.testing.assert_allclose(soft, 0.1 * loud, atol=1e-6)
    np.testing.assert_array_equal(render(box, x, mix=0.0, level=24.0), x)
    assert np.abs(loud - x).max() > 0.01


def test_full_scale_is_never_passed_whatever_comes_in():
    x = np.random.default_rng(0).normal(2, 3, len(STRINGS))
    assert np.abs(render(make("random_overdrive"), x, drive=24.0, level=24.0)).max() <= 1.0


def test_declared_sizes():
    box = make("random_overdrive")
    assert (box.num_parameters, box.network_receptive_field) == (3 * 8 + 4 * 3 * 64 + 3 * 8, 13)
    box = make("random_overdrive", {"bias": True, "depthwise": True, "layers": 3, "dilation_growth": 2})
    assert box.num_parameters == (24 + 8) + (24 + 8) + (24 + 1)
    assert box.network_receptive_field == 1 + 2 * (1 + 2 + 4)
    assert box.settings == Settings(bias=True, depthwise=True, layers=3, dilation_growth=2)


@pytest.mark.slow
def test_the_network_hears_as_far_as_it_says():
    box = make("random_overdrive", {"activation": "linear", "layers": 3, "kernel_size": 4, "dilation_growth": 4})

    class Bare:  # the network without the level matching, which hears everything
        knobs, channels = (), 1
        receptive_field = box.network_receptive_field
        initial_state = staticmethod(lambda knobs=None: box.initial_state()[0])
        step = staticmethod(lambda state, x, knobs: box._through_network(state, x))

    assert measured_receptive_field(Bare, box.network_receptive_field + 20) == box.network_receptive_field


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"dilation_growth": 4, "layers": 24}, "hears .* at most 96000"),
        ({"kernel_size": 64, "channels": 64, "layers": 24}, "multiplications a sample; at most 1000000"),
        ({"layers": 25}, "layers = 25: must be 1 to 24"),
        ({"activation": "swish"}, "must be one of linear, leaky_relu"),
    ],
)
def test_absurd_networks_are_refused_with_the_limit(settings, words):
    with pytest.raises(SettingError, match=words):
        make("random_overdrive", settings)


def test_the_seed_alone_compiles_nothing():
    traces = []

    @jax.jit
    def step(box, state, x, knobs):
        traces.append(1)
        return box.step(state, x, knobs)

    for seed in (1, 2, 1024):
        box = make("random_overdrive", POOR | {"seed": seed})
        assert box.settings == replace(Settings(**POOR), seed=seed)
        step(box, box.initial_state(), jnp.zeros((8, 1)), jnp.full((8, 3), 0.5))
    assert len(traces) == 1
