"""Recipes: what each makes of small recordings, and networks in training against the networks that stream."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx

from jaxmodels import apply, inspect, load
from jaxmodels.convnet import ConvNet
from jaxmodels.convolution import num_parameters
from jaxmodels.convstack import ConvStack
from jaxmodels.effect import first_state, hold, one_step
from jaxmodels.recurrent import LSTM, Settings
from jaxmodels.tcn import MicroTCN, SteerableTCN
from jaxmodels.wavenet import WaveNet
from jaxmodels.xla import QUICKLY
from tests.variants import slow_except
from trainer import config, data, forward, recipes, tcn
from trainer.train import train

pytestmark = pytest.mark.usefixtures("remembered")

RATE = 44100
NOISE = np.random.default_rng(0)


def small(kind):
    if kind in recipes.WAVENETS:
        return WaveNet(recipes.WAVENETS[kind], rngs=nnx.Rngs(0))
    if kind == "conv_net":
        return ConvNet(ConvNet.Settings(4, (1, 2, 4)), rngs=nnx.Rngs(0))
    if kind == "conv_stack":
        return ConvStack(ConvStack.Settings(3, (4, 6, 1), 3), rngs=nnx.Rngs(0))
    if kind == "lstm":
        net = LSTM(Settings(3, 4, taper=(5, 2)), rngs=nnx.Rngs(0))
        net.tapers["0"]["heard"][...] = jnp.asarray([0.0, 3.0, -2.0, 1.0, 5.0])
        return net
    cls = {"steerable_tcn": SteerableTCN, "micro_tcn": MicroTCN}[kind]
    return cls(cls.Settings(blocks=2, width=4, kernel_size=3, dilation_growth=5), rngs=nnx.Rngs(0))


KINDS = ["steerable_tcn", "micro_tcn", "nano", "a2_lite", "conv_net", "conv_stack", "lstm"]


@pytest.mark.parametrize("kind", slow_except(["micro_tcn", "nano", "conv_net", "conv_stack", "lstm"], KINDS))
def test_a_segment_with_its_past_is_what_the_network_streams(kind):
    net = small(kind)
    way = forward.of(net)
    knobs = np.linspace(0.2, 0.8, len(net.knobs), dtype=np.float32)
    x = NOISE.normal(0, 0.3, (2, way.context + 400)).astype(np.float32)
    columns = np.broadcast_to(knobs, (*x.shape, len(knobs)))
    first = jax.jit(way.first, static_argnums=1)(net, 2)
    y, _ = jax.jit(way.run)(net, first, np.concatenate([x[..., None], columns], axis=2))
    assert y.shape == (2, 400)
    start = first_state(net, knobs)
    for got, signal in zip(y, x, strict=True):
        want, _ = one_step(net, start, signal[:, None], hold(knobs, len(signal)))
        np.testing.assert_allclose(got, want[way.context :, 0], atol=2e-5)


def plucked(length, rng):
    """Notes of many pitches, four a second."""
    t = np.arange(length) / RATE
    pitch = rng.uniform(100, 800, 100)[(t / 0.25).astype(int)]
    return np.sin(2 * np.pi * pitch * (t % 0.25)) * np.exp(-8 * (t % 0.25)) / 2 + rng.normal(0, 3e-3, length)


@pytest.mark.parametrize("kind", slow_except(["steerable_tcn"], ["steerable_tcn", "micro_tcn"]))
def test_blocks_with_held_knobs_have_the_derivative_of_plain_ones(kind):
    net = small(kind)
    x = jnp.asarray(NOISE.normal(0, 0.3, (2, net.receptive_field + 299, 1 + len(net.knobs))), jnp.float32)
    x = x.at[:, :, 1:].set(0.7)
    weight = jnp.asarray(NOISE.normal(size=(2, 300)), jnp.float32)
    structure, weights, rest = nnx.split(net, nnx.Param, ...)
    run = {"steerable_tcn": tcn.steerable, "micro_tcn": tcn.micro}[kind]

    def gradients(held):
        def total(weights, x):
            return jnp.sum(weight * run(nnx.merge(structure, weights, rest), x, held))

        slope = jax.jit(jax.value_and_grad(total), compiler_options=QUICKLY)
        return jax.tree.leaves(slope(weights, x))

    for got, want in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * float(jnp.abs(want).max()) + 1e-6)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """Three seconds of plucked notes through a hard clipper."""
    folder = tmp_path_factory.mktemp("fuzz")
    dry = plucked(3 * RATE, NOISE)
    soundfile.write(folder / "dry.wav", dry, RATE, subtype="FLOAT")
    soundfile.write(folder / "wet.wav", np.clip(6 * dry, -0.5, 0.5), RATE, subtype="FLOAT")
    return folder


def run_file(folder, text):
    path = folder / "run.toml"
    path.write_text(text)
    return config.load(path)


@pytest.mark.slow
def test_steering_keeps_the_polarity_and_leaves_controls_to_turn(fuzz, tmp_path):
    lines = []
    run = run_file(
        tmp_path,
        f"""
out = "steered.nafx"
recipe = "steer"
[data]
dry = "{fuzz}/dry.wav"
wet = "{fuzz}/wet.wav"
delay = 0
validation = 0.25
[network]
blocks = 3
width = 8
[schedule]
steps = 60
seconds = 0
segment = 16384
learning_rate = 1e-2
validate_every = 20
""",
    )
    done = train(run, lines.append)
    assert done["metrics"]["validation"]["polarity"] > 0 and done["esr"] < 1
    model = load(tmp_path / "steered.nafx")
    x = jnp.asarray(soundfile.read(fuzz / "dry.wav", dtype="float32")[0][:4000])
    turned = np.array([1.0, 0.2], np.float32)
    neutral, other = apply(model, x), apply(model, x, turned)
    assert float(jnp.abs(neutral - other).max()) > 1e-3

    again = tmp_path / "again.toml"
    again.write_text(
        'out = "again.nafx"\nrecipe = "steer"\nreroll = true\nseed = 5\nstart_from = "steered.nafx"\n[data]\n'
    )
    train(config.load(again), lines.append)
    rolled = load(tmp_path / "again.nafx")
    np.testing.assert_allclose(apply(rolled, x), neutral, atol=1e-6)
    assert float(jnp.abs(apply(rolled, x, turned) - other).max()) > 1e-3
    assert inspect(tmp_path / "again.nafx")[1].info["start_from"] == "steered.nafx"


@pytest.mark.slow
def test_conditioning_learns_where_the_knob_stands(fuzz, tmp_path):
    lines = []
    run = run_file(
        tmp_path,
        f"""
out = "gain.nafx"
recipe = "conditioning"
strategy = "inverse"
[data]
dry = "{fuzz}/dry.wav"
effect = "box:level"
test = 0.2
leave_out = {{ amount = 0.5 }}
[network]
hidden = 4
[schedule]
steps = 40
seconds = 0
batch = 16
segment = 4096
validate_every = 20
""",
    )
    done = train(run, lines.append)
    names = done["metrics"]["test"]["by_name"]
    assert len(lines[1]["by_name"]) == 10 and len(names) == 11
    assert load(tmp_path / "gain.nafx").knobs[0].name == "amount"
    said = [line["esr"] for line in lines if line["event"] == "validation"]
    assert said[-1] < said[0]


@pytest.mark.slow
def test_every_preset_can_be_made_ready(fuzz):
    for recipe, presets in recipes.PRESETS.items():
        for name in presets:
            source = {"effect": "box:gain"} if recipe == "conditioning" else {"wet": f"{fuzz}/wet.wav", "delay": 0}
            run = config.Run("x", config.Data(dry=f"{fuzz}/dry.wav", **source), recipe, name)
            job = recipes.prepare(run)
            assert job.effect.sample_rate == RATE and job.pairs.train, (recipe, name)


def test_an_lfo_is_a_further_input(fuzz):
    run = config.Run("x", config.Data(dry=f"{fuzz}/dry.wav", wet=f"{fuzz}/wet.wav"))
    pair = data.Pair(np.zeros(1000, np.float32), np.zeros(1000, np.float32), RATE, control=np.ones((1000, 1)))
    net = recipes.network({"kind": "lstm", "hidden": 4}, {}, 1, RATE, 0)
    assert [knob.name for knob in net.knobs] == ["lfo"] and net.settings.inputs == 2
    assert recipes.divided([pair], run, 10).train[0].control.shape == (800, 1)


def test_the_comparison_network_is_as_large_as_the_papers():
    net = recipes.network({"kind": "conv_stack"}, {"amount": np.linspace(0, 1, 11)}, 0, RATE, 0)
    assert num_parameters(net) == 26007 and [knob.name for knob in net.knobs] == ["amount"]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_taper_has_a_point_where_there_is_a_recording(kind):
    places = {"gain": np.array([0.0, 0.3, 1.0]), "tone": np.array([0.5])}
    net = recipes.network({"kind": kind, "hidden": 4, "taper": True}, places, 1, RATE, 3)
    assert net.settings.taper == (3, 1, 0) and [knob.name for knob in net.knobs] == ["gain", "tone", "lfo"]
    for k, where in enumerate(places.values()):
        for what in ("places", "heard"):
            np.testing.assert_allclose(net.tapers[str(k)][what], where, rtol=1e-6)
    assert recipes.network({"kind": kind, "taper": True}, {}, 1, RATE, 3).settings.taper == ()


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({"kind": "rnn"}, "kind = 'rnn'"),
        ({"kind": "lstm", "hiden": 3}, "hiden"),
        ({"kind": "lstm", "hidden": 0}, "hidden"),
        ({"kind": "conv_stack", "widths": []}, "widths"),
        ({"kind": "lstm", "taper": "many"}, "taper = 'many': must be true or false"),
        ({"kind": "conv_stack", "taper": True}, "taper"),
        ({"kind": "wavenet", "size": "huge"}, "size"),
    ],
)
def test_networks_that_cannot_be_say_why(network, said):
    with pytest.raises(config.TrainerError, match=said):
        recipes.network(network, {}, 0, RATE, 0)
