"""NAM's WaveNet against the outputs of NAM's own engine, and against plain numpy after the format's description."""

from __future__ import annotations

import copy
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels import wavenet_layers
from jaxmodels.effect import Knob, apply, first_state, one_step
from jaxmodels.files import ModelFileError, load, save
from jaxmodels.formats.nam_wavenet import architecture, flatten, read_wavenet
from jaxmodels.wavenet import PRESETS, WaveNet, encode
from jaxmodels.xla import QUICKLY
from tests.jaxmodels.plain_wavenet import np_wavenet
from tests.jaxmodels.streaming import streamed
from tests.jaxmodels.test_convnet import golden
from tests.variants import slow_except
from tests.wavenets import EVERYTHING, NESTED, SMALL, settings

GOLDENS = {
    # golden: its model, and how far float32 may be off
    "a2_dynamic_gated_ch8": ("a2_dynamic_gated_ch8", 1e-6),
    "a2_example": ("a2_example", 1e-6),
    "wavenet_a1_standard": ("wavenet_a1_standard", 1e-5),
    "wavenet_a1_standard_v2_48000": ("wavenet_a1_standard", 3e-5),
    "wavenet_a2_film_input_mixin_pre": ("wavenet_a2_film_input_mixin_pre", 1e-6),
    "wavenet_a2_full": ("wavenet_a2_full", 1e-6),
    "wavenet_a2_lite": ("wavenet_a2_lite", 1e-6),
    "wavenet_condition_dsp": ("wavenet_condition_dsp", 1e-6),
    "wavenet_nano": ("BossWN-nano", 1e-6),
    "wavenet_official": ("wavenet_official", 1e-6),
    "wavenet_standard": ("BossWN-standard", 1e-5),
    "wavenet_standard_v2_48000": ("BossWN-standard", 3e-5),
}
USUAL = ["wavenet_a2_lite", "wavenet_condition_dsp", "wavenet_official"]
OLD_BUG = "wavenet_a2_film_full"  # its golden lacks a FiLM, which NAM's engine left out by mistake until August 2026


# --- playing ---


def document(fixtures, model):
    found = json.loads((fixtures / f"vectors/nam_core/models/{model}.nam").read_text())
    while "submodels" in found["config"]:
        found = found["config"]["submodels"][-1]["model"]
    return found["config"], np.array(found["weights"], np.float32)


def read(config, weights, name="capture.nam", **more):
    return read_wavenet(name, config, weights, **({"sample_rate": 48000} | more))


def weights_for(config, seed=0, scale=0.5):
    """Random weights, as many as the config wants, and the nested network's put into a copy of it."""
    config = copy.deepcopy(config)
    if config.get("condition_dsp"):
        inner, flat = weights_for(config["condition_dsp"]["config"], seed + 1, scale)
        config["condition_dsp"] |= {"config": inner, "weights": flat.tolist()}
    with pytest.raises(ModelFileError, match="0 weights, but its config wants") as error:
        read(config, np.zeros(0, np.float32), outputs=4, knobs=KNOBS)
    count = int(str(error.value).split("wants ")[1].split(";")[0])
    return config, np.random.default_rng(seed).normal(0, scale, count).astype(np.float32)


KNOBS = (Knob("drive"), Knob("voice", labels=("a", "b", "c")))


# --- goldens ---


def test_every_golden_of_a_wavenet_is_listed(fixtures):
    there = {path.stem.removeprefix("golden_") for path in (fixtures / "vectors/nam_core").glob("golden_*.bin")}
    assert {name for name in there if name.startswith(("a2", "wavenet"))} == GOLDENS.keys() | {OLD_BUG}


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], [1, 64, 2048]]))
@pytest.mark.parametrize("name", slow_except(USUAL, GOLDENS))
def test_nams_own_engine_plays_the_same(fixtures, name, lengths):
    model, allowed = GOLDENS[name]
    net = read(*document(fixtures, model))
    x, want = golden(fixtures, name)
    if len(x) > 2048:
        np.testing.assert_allclose(apply(net, x), want, rtol=0, atol=allowed)
        return
    for length in lengths:
        some = x[:200] if length == 1 else x
        got = streamed(net, some, length)
        np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=allowed, err_msg=f"in blocks of {length}")


def test_films_follow_the_corrected_rule(fixtures):
    """Where NAM's engine had the bug, the description's rule decides; without that FiLM both agree."""
    config, weights = document(fixtures, OLD_BUG)
    x, with_bug = golden(fixtures, OLD_BUG)
    net, silent = read(config, weights), np.zeros(7000, np.float32)
    want = np_wavenet(config, weights, np.concatenate([silent, x[:300]])[None].astype(np.float64))[0, len(silent) :]
    np.testing.assert_allclose(streamed(net, x[:300], 50), want, rtol=0, atol=3e-6)
    assert np.abs(want - with_bug[:300]).max() > 0.05


@pytest.mark.parametrize("lengths", slow_except([[64]], [[64], [1, 17, 2048]]))
@pytest.mark.parametrize("prewarmed", [True, False])
def test_random_weights_on_a_long_signal(fixtures, prewarmed, lengths):
    folder = fixtures / "vectors/engines"
    found = json.loads((folder / "nam_wavenet_standard_random.nam").read_text())
    net = read(found["config"], np.array(found["weights"], np.float32))
    suffix = "" if prewarmed else "_noprewarm"
    x, want = np.load(folder / "input.npy"), np.load(folder / f"nam_wavenet_standard_output{suffix}.npy")
    state = first_state(net, None)
    state = state if prewarmed else jax.tree.map(np.zeros_like, state)
    np.testing.assert_allclose(apply(net, x, state=state), want, rtol=0, atol=1e-5)
    for length in lengths:
        got = streamed(net, x[: max(300, 2 * length)], length, state=state)
        np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=1e-5, err_msg=f"in blocks of {length}")


# --- every field ---


def variant(array=None, **top):
    config = copy.deepcopy(SMALL)
    config["layers"][0].update(array or {})
    for key in [key for key, value in config["layers"][0].items() if value is None]:
        del config["layers"][0][key]
    return config | top


TWO = [
    {"input_size": 1, "condition_size": 1, "channels": 6, "head_size": 3, "head_bias": True, "kernel_size": 2,
     "dilations": [1, 3, 9], "activation": "Tanh", "gated": True},
    {"input_size": 6, "condition_size": 1, "channels": 3, "head_size": 1, "head_bias": False, "kernel_size": 3,
     "dilations": [2, 5], "activation": "ReLU", "gated": False},
]  # fmt: skip
FIELDS = {
    "plain": variant(),
    "two arrays, legacy spelling": {"layers": TWO, "head": None, "head_scale": 0.5},
    "thirteen channels": variant({"channels": 13, "kernel_size": 4}),
    "no kernel": variant({"kernel_size": 1, "head": {"out_channels": 1, "kernel_size": 1, "bias": False}}),
    "old 1x1 keys": variant({"1x1": {"active": False}, "head_1x1": {"active": True, "out_channels": 6, "groups": 2}}),
    "head behind the stack": variant(
        head={"channels": 5, "out_channels": 1, "kernel_sizes": [2, 1, 3], "activation": "SiLU", "in_channels": None}
    ),
    "blended": variant({"gating_mode": "blended", "secondary_activation": "Hardswish", "bottleneck": 3}),
}


@pytest.mark.parametrize("name", slow_except(set(FIELDS) - {"thirteen channels", "plain", "no kernel"}, FIELDS))
def test_fields_mean_what_the_format_says(name):
    config, weights = weights_for(FIELDS[name])
    net = read(config, weights)
    rng = np.random.default_rng(1)
    x = rng.normal(0, 0.3, 150).astype(np.float32)
    past = net.receptive_field + 10
    want = np_wavenet(config, weights, np.concatenate([np.zeros(past), x])[None])[0, past:]
    got = streamed(net, x, 150)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * max(1, np.abs(want).max()))
    assert np.ptp(want) > 1e-3


POSITIONS = np.array([0.3, 0.5], np.float32)
COLUMNS = [2 * 0.3 - 1, 0, 1, 0]  # what KNOBS become there


def test_everything_at_once_with_knobs(tmp_path):
    config, weights = weights_for(EVERYTHING, scale=0.4)
    net = read(config, weights, knobs=KNOBS)
    x = np.random.default_rng(1).normal(0, 0.3, 128).astype(np.float32)
    past = net.receptive_field + 10
    inputs = np.stack([np.concatenate([np.zeros(past), x]), *(np.full(past + len(x), v) for v in COLUMNS)])
    want = np_wavenet(config, weights, inputs)[0, past:]
    np.testing.assert_allclose(streamed(net, x, 64, POSITIONS), want, rtol=0, atol=3e-6 * np.abs(want).max())
    path = tmp_path / "everything.safetensors"
    save(path, net)
    again = load(path)
    assert again.settings == net.settings and again.knobs == net.knobs
    np.testing.assert_array_equal(flatten(again)[1], weights)


@pytest.mark.slow
def test_the_plain_way_and_the_streaming_way_are_one():
    """Training differentiates `whole`; what plays is `stream`."""
    net = read(*weights_for(EVERYTHING, scale=0.4), knobs=KNOBS)
    (past, inner), knobs = first_state(net, POSITIONS), np.tile(POSITIONS, (64, 1))
    x = np.random.default_rng(2).normal(0, 0.3, (64, 1)).astype(np.float32)
    want, (moved, nested) = one_step(net, (past, inner), x, knobs)
    columns = jnp.concatenate([x.T, jnp.tile(jnp.array(COLUMNS)[:, None], (1, 64))])
    c, _ = jax.jit(type(net.condition).run)(net.condition, inner, columns)
    whole = jax.jit(wavenet_layers.whole, static_argnums=0)
    plain, after = whole(net.plan, net.weights[...], net.head_scale[...][0], past, columns, c)
    limit = 3e-6 * float(jnp.abs(want).max())
    np.testing.assert_allclose(plain.T, want, rtol=0, atol=limit)
    then = [one_step(net, (state, nested), x, knobs)[0] for state in (after, moved)]
    np.testing.assert_allclose(*then, rtol=0, atol=limit)


def test_gradients_are_those_of_the_output():
    net = WaveNet(settings(variant({"activation": "SiLU"})), rngs=nnx.Rngs(3))
    x = jnp.asarray(np.random.default_rng(0).normal(0, 0.5, (40, 1)), jnp.float32)
    graph, state = nnx.split(net)

    def loss(state):
        box = nnx.merge(graph, state)
        return 1e3 * (box.step(box.initial_state(), x, jnp.zeros((40, 0)))[0] ** 2).mean()

    quick = jax.jit(loss, compiler_options=QUICKLY)
    gradient = np.asarray(jax.jit(jax.grad(loss), compiler_options=QUICKLY)(state)["weights"][...])
    at = int(np.abs(gradient).argmax())

    def moved(by):
        step = by * (np.arange(gradient.size) == at).astype(np.float32)
        return float(quick(jax.tree.map(lambda leaf: leaf + step if leaf.size > 1 else leaf, state)))

    slope = (moved(1e-2) - moved(-1e-2)) / 2e-2
    assert abs(slope - gradient[at]) < 2e-2 * abs(slope) and np.isfinite(gradient).all()


def test_fast_tanh_is_an_option():
    config, weights = weights_for(variant())
    x = np.random.default_rng(1).normal(0, 1, 64).astype(np.float32)
    exact, fast = (streamed(read(config, weights, fast_tanh=fast), x, 64) for fast in (False, True))
    assert 1e-6 < np.abs(exact - fast).max() < 0.02 * np.abs(exact).max()


def test_what_one_hears_of_the_past_is_declared():
    assert WaveNet(PRESETS["standard"]).receptive_field == 4093
    assert WaveNet(PRESETS["a2_full"]).receptive_field == 6347


def test_knobs_are_encoded_as_the_fork_does():
    positions = jnp.array([[0.0, 0.0], [0.25, 0.5], [1.0, 1.0]])
    want = [[-1, 1, 0, 0], [-0.5, 0, 1, 0], [1, 0, 0, 1]]
    np.testing.assert_array_equal(encode(KNOBS, positions), want)


# --- presets, descriptions, writing ---


@pytest.mark.parametrize(
    "name, described, count",
    [
        ("standard", "WaveNet 16x10 + 8x10", 13802),
        ("lite", "WaveNet 12x7 + 6x13", 6554),
        ("feather", "WaveNet 8x7 + 4x13", 3026),
        ("nano", "WaveNet 4x7 + 2x13", 842),
        ("a2_full", "WaveNet 8x23", 12146),
        ("a2_lite", "WaveNet 3x23", 1871),
    ],
)
def test_presets_are_nams_and_start_as_pytorch_does(name, described, count):
    config, weights = flatten(WaveNet(PRESETS[name], rngs=nnx.Rngs(1)))
    assert architecture(config) == described and len(weights) == count
    assert np.float32(config["head_scale"]) == weights[-1] == np.float32(0.02)
    channels = config["layers"][0]["channels"]
    taps = config["layers"][0].get("kernel_size", 6)
    conv = weights[channels : channels + channels * channels * taps]
    bound = (channels * taps) ** -0.5
    assert bound / 2 < np.abs(conv).max() <= bound


@pytest.mark.parametrize("preset, model", [("standard", "BossWN-standard"), ("a2_full", "wavenet_a2_full")])
def test_captures_of_a_preset_share_its_settings(fixtures, preset, model):
    assert read(*document(fixtures, model)).settings == PRESETS[preset]


def test_captures_of_one_architecture_share_one_program():
    traces = []

    @jax.jit
    def step(net, state, x):
        traces.append(x.shape)
        return net.step(state, x, jnp.zeros((8, 0)))

    for seed in (0, 1):
        config, weights = weights_for(variant(), seed)
        net = read(config | {"head_scale": seed}, weights)
        step(net, net.initial_state(), jnp.zeros((8, 1)))
    assert len(traces) == 1


@pytest.mark.parametrize("name", [*FIELDS, "everything"])
def test_what_is_written_is_read_the_same(name):
    config, weights = weights_for(EVERYTHING if name == "everything" else FIELDS[name])
    knobs = KNOBS if name == "everything" else ()
    written, flat = flatten(read(config, weights, knobs=knobs))
    np.testing.assert_array_equal(flat, weights)
    again = json.loads(json.dumps(written))
    second, other = flatten(read(again, flat, knobs=knobs))
    assert second == written
    np.testing.assert_array_equal(other, weights)
    x = np.random.default_rng(0).normal(0, 0.3, (len(KNOBS) + 3 if knobs else 1, 40))
    np.testing.assert_allclose(np_wavenet(written, flat, x), np_wavenet(config, weights, x), rtol=0, atol=1e-12)


# --- what is refused ---


def slimmable(counts):
    return {"method": "slice_channels_uniform", "kwargs": {"allowed_channels": counts}}


@pytest.mark.parametrize(
    "where, value, message",
    [
        ((), [], "config is a list of 0, must be an object"),
        (("layers",), None, "layers is None, must be a list"),
        (("layers",), [], "layers is a list of 0, must be a list of 1"),
        (("layers", 0), 3, r"layers\[0\] is 3, must be an object"),
        (("layers", 0, "channels"), KeyError, r"layers\[0\].channels is missing"),
        (("layers", 0, "channels"), True, "channels is True, must be a whole number"),
        (("layers", 0, "channels"), 4.0, "channels is 4.0, must be a whole number"),
        (("layers", 0, "channels"), 10**30, "channels is a huge whole number"),
        (("layers", 0, "channels"), 1 << 12, f"config wants {4 * (4 * 4096**2 + 3 * 4096) + 4096 + 3 * 4096 + 2}"),
        (("layers", 0, "channels"), 1 << 20, "it would have to remember 226492416 numbers, at most"),
        (("layers", 0, "dilations"), [1 << 20] * 20, "it would have to remember 167772168 numbers, at most"),
        (("layers", 0, "dilations"), [], "dilations is a list of 0"),
        (("layers", 0, "dilations"), [1] * 1000, "dilations is a list of 1000"),
        (("layers", 0, "dilations"), [1, 2, "4", 3], r"dilations\[2\] is '4'"),
        (("layers", 0, "kernel_sizes"), [3], "must have either kernel_size or kernel_sizes"),
        (("layers", 0, "kernel_size"), 0, "kernel_size is 0, must be a whole number of 1 to 512"),
        (("layers", 0, "kernel_size"), 100000, "kernel_size is 100000"),
        (("layers", 0, "input_size"), 2, r"layers\[0\].input_size is 2, must be 1"),
        (("layers", 0, "condition_size"), 2, "condition_size is 2, must be 1"),
        (("layers", 0, "activation"), KeyError, "activation is None: must be a name"),
        (("layers", 0, "activation"), ["Tanh"], "activation is a list of 1 for 4 layers"),
        (("layers", 0, "activation"), "Softsigmoid", "'Softsigmoid' is none of"),
        (("layers", 0, "activation"), {"type": "PReLU", "negative_slopes": [1, 2]}, "2 slopes of a PReLU for 4"),
        (("layers", 0, "gating_mode"), "open", "gating_mode is 'open', must be none, gated or blended"),
        (("layers", 0, "gating_mode"), ["gated"] * 3, "gating_mode is a list of 3 for 4 layers"),
        (("layers", 0, "secondary_activation"), ["ReLU"], "secondary_activation is a list of 1 for 4 layers"),
        (("layers", 0, "groups_input"), 3, "groups_input is 3, must divide 4 and 4"),
        (("layers", 0, "groups_input_mixin"), 2, "groups_input_mixin is 2, must divide 1 and 4"),
        (("layers", 0, "layer1x1"), {"active": False}, None),
        (("layers", 0, "layer1x1"), {"active": "no"}, "layer1x1.active is 'no', must be true or false"),
        (("layers", 0, "bottleneck"), 2, "weights, but its config wants"),
        (("layers", 0, "layer1x1_post_film"), {"groups": 3}, "layer1x1_post_film.groups is 3, must divide 1 and 8"),
        (("layers", 0, "head1x1_post_film"), {}, "head1x1_post_film is active, but what it follows is not"),
        (("layers", 0, "head"), {"out_channels": 1}, "head.kernel_size is missing"),
        (("layers", 0, "head"), {"out_channels": 2, "kernel_size": 3, "bias": True}, "but its config wants"),
        (("layers", 0, "head"), None, "head_size is missing"),
        (("layers", 0, "slimmable"), {"method": "other"}, "must be an object of the method slice_channels_uniform"),
        (("layers", 0, "slimmable"), slimmable([1, 2]), "allowed_channels must rise to the array's own 4"),
        (("head",), {"channels": 1}, "head.out_channels is missing"),
        (("in_channels",), 2, r"layers\[0\].input_size is 1, must be 2"),
        (("condition_dsp",), {"architecture": "WaveNet"}, "condition_dsp must have an architecture and a config"),
        (("condition_dsp",), {"architecture": "LSTM", "config": {}}, "a condition_dsp of kind 'LSTM' is not read"),
        (("condition_dsp",), {"architecture": "WaveNet", "config": SMALL}, "condition_dsp.weights"),
        (("condition_dsp",), {"architecture": "WaveNet", "config": NESTED}, "condition_dsp: in_channels is 5, must be"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(where, value, message):
    config, weights = weights_for(variant())
    if not where:
        config = value
    else:
        *path, last = where
        target = config
        for key in path:
            target = target[key]
        if value is KeyError:
            del target[last]
        else:
            target[last] = value
    with pytest.raises(ModelFileError, match=message) as error:
        read(config, weights)
    assert str(error.value).startswith("capture.nam: ")


def test_weights_that_do_not_fit_are_refused():
    config, weights = weights_for(variant())
    for wrong in (weights[:-1], np.append(weights, 0), weights[None]):
        with pytest.raises(ModelFileError, match=f"capture.nam: {wrong.size} weights, but its config wants"):
            read(config, wrong)
    with pytest.raises(ModelFileError, match="knobs make 5 columns of input; the network wants 1"):
        read(config, weights, knobs=KNOBS)
    with pytest.raises(ModelFileError, match="submodel 1 of a network that has one width"):
        read(config, weights, submodel=1)


def test_the_condition_runs_at_the_same_rate(fixtures):
    config, weights = document(fixtures, "wavenet_condition_dsp")
    config["condition_dsp"]["sample_rate"] = 44100
    with pytest.raises(ModelFileError, match="condition_dsp.sample_rate is 44100, must be 48000"):
        read(config, weights)


def test_a_fixture_that_is_no_network_is_refused(fixtures):
    with pytest.raises(ModelFileError, match=r"layers\[0\].condition_size is missing|is missing"):
        read(*document(fixtures, "mock_a2"))
