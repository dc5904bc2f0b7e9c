"""NAM captures: the C++ engine's outputs, plain numpy, the envelope, containers, knobs, and what is written."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels.convnet import ConvNet, Linear
from jaxmodels.effect import Chain, Knob, apply, positions
from jaxmodels.files import ModelFileError, inspect, load
from jaxmodels.formats import Source, nam, nam_lstm
from jaxmodels.recurrent import GRU, LSTM, Settings
from jaxmodels.wavenet import PRESETS, WaveNet
from tests.jaxmodels.plain_nam import container, fast_sigmoid, fast_tanh, linear, lstm, played
from tests.jaxmodels.streaming import streamed
from tests.jaxmodels.test_convnet import golden
from tests.variants import slow_except

LSTMS = {"lstm_official": "lstm", "lstm_1x10": "lstm_1x10", "lstm_3x8": "lstm_3x8", "lstm_1x16": "BossLSTM-1x16"}
NOISE = np.random.default_rng(3).uniform(-0.8, 0.8, 300).astype(np.float32)
RATES = [(2000, 1024), (None, 64), (-1, 64), (2000.4, 1024)]  # of a file, and the samples of silence before it
REFUSED = {"mock_a2.nam": "layers\\[0\\].input_size is missing", "keras_unsupported.json": "layers is a list of 0"}


@pytest.fixture
def written(tmp_path):
    def write(document, name="capture.nam"):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


# --- what plays ---


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], [1, 64, 2048]]))
@pytest.mark.parametrize("name", slow_except(["lstm_official", "lstm_3x8"], LSTMS))
def test_the_engine_from_the_first_sample_whole_and_in_blocks(fixtures, name, lengths):
    network = load(fixtures / f"vectors/nam_core/models/{LSTMS[name]}.nam")
    x, want = golden(fixtures, name)
    assert type(network) is LSTM and network.sample_rate == 48000 and not network.settings.skip
    np.testing.assert_allclose(apply(network, x), want, rtol=0, atol=3e-5)
    for length in lengths:
        y = streamed(network, x[:300] if length == 1 else x, length)
        np.testing.assert_allclose(y, want[: len(y)], rtol=0, atol=3e-5)


def test_two_seconds_of_the_engine_from_the_state_in_the_file(fixtures):
    folder = fixtures / "vectors/engines"
    y = apply(load(folder / "nam_lstm16.nam"), np.load(folder / "input.npy"), state=jnp.zeros((1, 2, 16)))
    np.testing.assert_allclose(y, np.load(folder / "nam_lstm16_output_noprewarm.npy"), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate, settle", slow_except(RATES[:2], RATES))
def test_an_lstm_hears_half_a_second_of_silence_first(written, rate, settle):
    """In whole blocks of 64 samples; one block where the file says no rate."""
    document = lstm(sample_rate=rate)
    network = load(written(document))
    np.testing.assert_allclose(apply(network, NOISE), played(document, NOISE[:, None], settle), rtol=0, atol=2e-6)
    assert network.sample_rate == (2000 if rate and rate > 0 else 48000)


def test_the_plug_ins_tanh_is_an_option(written):
    document = lstm(hidden=6, sample_rate=2000)
    want = played(document, NOISE[:, None], 1024, fast_tanh, fast_sigmoid)
    assert np.abs(want - played(document, NOISE[:, None], 1024)).max() > 1e-3
    np.testing.assert_allclose(apply(load(written(document), fast_tanh=True), NOISE), want, rtol=0, atol=2e-6)


def test_captures_of_one_architecture_are_settled_by_one_program(written):
    load(written(lstm(hidden=11)))
    programs = nam_lstm._settled._cache_size()
    load(written(lstm(hidden=11, seed=1)))
    assert nam_lstm._settled._cache_size() == programs


def test_every_capture_loads_or_is_refused_for_its_reason(fixtures):
    paths = [*(fixtures / "models/nam").glob("*.nam"), *(fixtures / "vectors/nam_core/models").iterdir()]
    assert len(paths) > 30
    for path in paths:
        if path.name in REFUSED:
            for reader in (load, inspect):
                with pytest.raises(ModelFileError, match=REFUSED[path.name]):
                    reader(path)
            continue
        network, (family, facts) = load(path), inspect(path)
        assert (network.sample_rate, network.channels, network.knobs) == (48000, 1, ())
        assert "NAM capture" in family and facts.parameters and facts.sample_rate == 48000
        kind = {LSTM: "LSTM", ConvNet: "ConvNet", Linear: "Linear", WaveNet: "WaveNet"}[type(network)]
        assert facts.architecture.startswith(kind), path.name


# --- containers ---


def test_a_container_plays_its_largest_network_or_the_one_asked_for(fixtures):
    path = fixtures / "vectors/nam_core/models/a2_example.nam"
    x, want = golden(fixtures, "a2_example")
    np.testing.assert_allclose(apply(load(path), x), want, rtol=0, atol=3e-5)
    small = apply(load(path, submodel=0), x)
    assert np.abs(small - want).max() > 1e-3
    assert inspect(path)[1].submodels == ("WaveNet 3x23, size up to 0.5", "WaveNet 8x23, size up to 1")
    with pytest.raises(ModelFileError, match="there is no submodel 2; choose one of 0 to 1"):
        load(path, submodel=2)


def test_submodels_of_every_kind(fixtures, written):
    path = fixtures / "models/nam/core_slimmable_container.nam"
    assert [type(load(path, submodel=n)) for n in (0, 1, 2)] == [LSTM, WaveNet, WaveNet]
    assert inspect(path)[1].name.startswith("Atrisan")  # the largest one's, where the container is silent
    both = container(linear(0.5), linear(0.25, sample_rate=44100), sample_rate=96000)
    assert [load(written(both), submodel=n).sample_rate for n in (0, 1)] == [96000, 44100]
    assert [float(apply(load(written(both), submodel=n), np.ones(1))[0]) for n in (0, 1)] == [0.5, 0.25]


def test_widths_of_a_slimmable_wavenet_are_submodels(fixtures):
    path = fixtures / "models/nam/core_slimmable_wavenet.nam"
    assert inspect(path)[1].submodels == ("1 channels", "2 channels", "3 channels")
    outputs = [np.asarray(apply(load(path, submodel=n), NOISE)) for n in (0, 1, 2)]
    assert (outputs[2] == apply(load(path), NOISE)).all()
    assert (outputs[0] != outputs[1]).any() and (outputs[1] != outputs[2]).any()


def test_a_sequence_is_a_chain(written):
    first, second = lstm(), linear(0.5, 0.25)
    config = {"models": [first, second]}
    path = written({"version": "0.7.0", "architecture": "Sequential", "config": config, "weights": []})
    box = load(path)
    assert isinstance(box, Chain)
    want = np.convolve(played(first, NOISE[:, None], 64), [0.5, 0.25])[: len(NOISE)]
    # The second one begins as after silence, not as after what silence makes of the first.
    np.testing.assert_allclose(apply(box, NOISE)[1:], want[1:], rtol=0, atol=3e-6)
    facts = inspect(path)[1]
    assert facts.architecture == "Sequential of LSTM 2x4, Linear 2"
    assert facts.parameters == len(first["weights"]) + 2


# --- knobs ---

PARAMS = [
    {"name": "gain", "min": 0, "max": 10, "default": 2.5, "type": "continuous"},
    {"name": "voice", "type": "switch", "enum_names": ["dark", "flat", "bright"], "default": 1},
    {"name": "tone", "min": -1.0, "max": 1.0, "default": 0.0, "normalized_min": -1.0, "normalized_max": 1.0},
]


def concat(params=PARAMS):
    document = lstm(inputs=6)
    document["config"] |= {"params": params, "train_burn_in": None}
    return document | {"version": "1.0.0", "architecture": "ConcatLSTM"}


def test_an_lstm_of_the_parametric_fork_turns_its_knobs(written):
    path = written(concat())
    box = load(path)
    assert box.knobs == (
        Knob("gain", "", 0.0, 10.0, 2.5),
        Knob("voice", "", 0.0, 2.0, 1.0, labels=("dark", "flat", "bright")),
        Knob("tone", "", -1.0, 1.0, 0.0),
    )
    encoded = {"default": ({}, [-0.5, 0, 1, 0, 0]), "turned": ({"gain": 10, "voice": 2, "tone": -1}, [1, 0, 0, 1, -1])}
    for values, columns in encoded.values():
        rows = np.column_stack([NOISE, np.tile(columns, (len(NOISE), 1))])
        state = box.initial_state()
        y = apply(box, NOISE, positions(box, values), state=state)
        settled = played(concat(), np.concatenate([np.tile([0, *encoded["default"][1]], (64, 1)), rows]))[64:]
        np.testing.assert_allclose(y, settled, rtol=0, atol=3e-6)
    assert inspect(path)[1].knobs == ("gain", "voice", "tone") and inspect(path)[1].architecture == "ConcatLSTM 2x4"


def test_a_wavenet_of_the_parametric_fork_turns_its_knobs(written):
    array = {"input_size": 3, "condition_size": 3, "head_size": 1, "channels": 1, "kernel_size": 1, "dilations": [1]}
    config = {"layers": [array | {"activation": "ReLU", "gated": False, "head_bias": False}], "head_scale": 2.0}
    config["params"] = [PARAMS[0], PARAMS[2]]
    # rechannel [audio, gain, tone]; conv, bias; mix-in [audio, gain, tone]; residual, bias; head; head_scale
    weights = [0.5, 0.25, -0.25, 1.0, 0.1, 0.3, 0.2, 0.7, 0.0, 0.0, 1.5, 2.0]
    path = written({"version": "1.0.0", "architecture": "ConcatWaveNet", "config": config, "weights": weights})
    box = load(path)
    for gain, tone in ((2.5, 0.0), (10.0, -1.0)):
        g, t = gain / 5 - 1, tone
        inner = 0.5 * NOISE + 0.25 * g - 0.25 * t + 0.1 + 0.3 * NOISE + 0.2 * g + 0.7 * t
        y = apply(box, NOISE, positions(box, {"gain": gain, "tone": tone}))
        np.testing.assert_allclose(y, 3.0 * np.maximum(inner, 0), rtol=0, atol=1e-6)
    assert inspect(path)[1].architecture == "ConcatWaveNet 1x1"


@pytest.mark.parametrize(
    "params, message",
    [
        (None, "config.params is None, must be a list of 1 to 16 objects"),
        ([], "config.params is a list of 0"),
        ([{"name": ""}], r"config.params\[0\].name = '', must be a text"),
        ([{"name": "a", "min": 0, "max": "1"}], r"config.params\[0\].max = '1', must be a number"),
        ([{"name": "a", "min": 1, "max": 0}], r"config.params\[0\] has min 1, default 1, max 0, which must rise"),
        (
            [{"name": "a", "type": "switch", "enum_names": ["x"]}],
            r"params\[0\].enum_names is a list of 1, must be",
        ),
        ([{"name": "a", "type": "knurl"}], r"params\[0\].type = 'knurl', must be continuous or switch"),
        ([PARAMS[0], PARAMS[0]], "config.params names a knob twice"),
        ([PARAMS[0] | {"normalized_min": 0}], r"params\[0\] is encoded from 0 to 1"),
        ([PARAMS[0]], "config.input_size = 6, must be a whole number of 2 to 2"),
    ],
)
def test_knobs_that_cannot_be_are_named(written, params, message):
    with pytest.raises(ModelFileError, match=message):
        load(written(concat(params)))


# --- the envelope ---


@pytest.mark.parametrize(
    "version, message",
    [
        ("0.5.0", None),
        ("0.6.9", None),
        ("0.7.12", None),
        ("0.4.9", "format 0.4.9 is older than 0.5.0; export it again"),
        ("0.8.0", "format 0.8.0 is newer than 0.7.x, which this version reads; re-export it or update nafx-rack"),
        ("1.0.0", "format 1.0.0 is newer"),
        ("0.5", "version = '0.5', must be like 0.5.4"),
        ("0.5.4 ", "version = '0.5.4 ', must be"),
        ("٠.٥.٤", "version = "),
        (0.5, "version is 0.5, must be a text"),
    ],
)
def test_version_rules(written, version, message):
    path = written(linear(1.0, version=version))
    if message:
        with pytest.raises(ModelFileError, match=message):
            load(path)
        return
    load(path)
    assert any("newer" in note for note in inspect(path)[1].notes) == (version == "0.7.12")


def test_facts_are_the_files(fixtures):
    facts = inspect(fixtures / "models/nam/core_wavenet.nam")[1]
    assert (facts.name, facts.author) == ("Test Model", "Steve")
    assert (facts.gear, facts.gear_type) == ("Darkglass Electronics Microtubes 900 v2", "amp")
    assert (facts.date, facts.tone_type, facts.parameters) == ("2024-10-09T18:32:27", "clean", 131)
    assert (facts.input_level_dbu, facts.output_level_dbu) == (18.3, 12.3)
    assert round(facts.loudness_db, 3) == -20.021 and round(facts.gain, 3) == 0.196 and round(facts.esr, 5) == 0.13345
    old = inspect(fixtures / "models/nam/core_my_model.nam")[1]
    assert old.sample_rate == 48000 and "no sample rate" in old.notes[0] and old.loudness_db is None


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        [],
        "words",
        {"name": 7, "loudness": "loud", "gain": None, "date": {"year": 2024}, "training": [1], "gear_make": {}},
        {"date": {"year": 10**30, "month": 13, "day": 0}, "loudness": 10**400, "esr": True, "training": {"x": 1}},
    ],
)
def test_metadata_of_any_kind_is_no_reason_to_refuse(written, metadata):
    facts = inspect(written(linear(1.0, metadata=metadata, notes=["unknown"])))[1]
    assert (facts.name, facts.loudness_db, facts.esr, facts.gear, facts.date) == (None,) * 5


def test_texts_of_metadata_are_one_short_line(written):
    facts = inspect(written(linear(1.0, metadata={"name": "a\nb\x1b[2J" + "x" * 9999, "gear_model": " "})))[1]
    assert facts.name.startswith("a b[2Jxx") and len(facts.name) == 200 and facts.gear is None


def changed(path, value):
    document = copy.deepcopy(lstm())
    *holders, last = path.split(".")
    target = document
    for key in holders:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return document


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("version", ..., "version is missing, must be a text"),
        ("config", ..., "config is missing, must be an object"),
        ("config", [], "config is a list of 0, must be an object"),
        ("weights", {}, "weights is an object of 0, must be a list of numbers"),
        ("weights", [], "LSTM of 0 weights, but its config wants 261"),
        ("weights", [0.1] * 260, "LSTM of 260 weights, but its config wants 261"),
        ("weights", [0.1] * 260 + ["0.1"], "weights holds '0.1', which is no number"),
        ("weights", [0.1] * 260 + [True], "weights holds True, which is no number"),
        ("weights", [[0.1]] * 261, "weights must be one list of finite numbers"),
        ("weights", [0.1] * 260 + [[1]], "weights has rows of unequal length"),
        ("weights", [0.1] * 260 + [1e39], "weights holds a number too large"),
        ("weights", [0] * (2**20 + 1), "1048577 weights are more than 1048576"),
        ("architecture", "Transformer", "architecture 'Transformer' is not read; these are: Linear, ConvNet"),
        ("architecture", "HyperWaveNet", "bake it to a WaveNet"),
        ("architecture", 3, "architecture is 3, must be a text"),
        ("sample_rate", "48k", "sample_rate = '48k', must be 1000 to 1000000 Hz"),
        ("sample_rate", 0, "sample_rate = 0, must be"),
        ("sample_rate", 10**12, "sample_rate = 1000000000000, must be"),
        ("sample_rate", True, "sample_rate = True, must be"),
        ("config.hidden_size", ..., "config.hidden_size = None, must be a whole number of 1 to 1024"),
        ("config.hidden_size", -4, "config.hidden_size = -4"),
        ("config.hidden_size", 10**9, "config.hidden_size = 1000000000"),
        ("config.hidden_size", 4.5, "config.hidden_size = 4.5"),
        ("config.hidden_size", True, "config.hidden_size = True"),
        ("config.num_layers", 0, "config.num_layers = 0"),
        ("config.num_layers", 9, "config.num_layers = 9"),
        ("config.input_size", 2, "config.input_size = 2, must be a whole number of 1 to 1"),
        ("config.out_channels", 2, "config.out_channels = 2"),
    ],
)
def test_what_is_wrong_is_named(written, path, value, message):
    file = written(changed(path, value))
    with pytest.raises(ModelFileError, match=message) as error:
        load(file)
    assert str(error.value).startswith("capture.nam: ")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(written, literal):
    text = json.dumps(linear(1.0, 0.125)).replace("0.125", literal)
    with pytest.raises(ModelFileError, match="capture.nam: it holds -?(NaN|Infinity), which is not a number"):
        load(written(text))


def nested(depth):
    model = linear(1.0)
    for _ in range(depth):
        model = {"version": "0.7.0", "architecture": "Sequential", "config": {"models": [model]}, "weights": []}
    return model


@pytest.mark.parametrize(
    "document, message",
    [
        (
            container(linear(1.0), linear(1.0), sizes=(1.0, 0.5)),
            r"submodels\[1\].max_value = 0.5, must be a number",
        ),
        (container(linear(1.0), linear(1.0), sizes=(0.2, 0.5)), "the last submodel goes to 0.5, must be 1 or more"),
        (container(sizes=()), "config.submodels is a list of 0, must be a list of 1 to 16"),
        (container({}, sizes=(1,)), r"capture.nam: submodels\[0\]: version is missing"),
        (container(linear(1.0, version="0.9.0"), sizes=(1,)), r"submodels\[0\]: format 0.9.0 is newer"),
        (container("x", sizes=(1,)), r"submodels\[0\]: a model is 'x', must be an object"),
        (nested(5), "models are nested more than 4 deep"),
        ({**nested(1), "config": {"models": [linear(1.0)] * 17}}, "config.models is a list of 17"),
        (
            {**nested(1), "config": {"models": [linear(1.0, sample_rate=44100), linear(1.0, sample_rate=48000)]}},
            r"boxes at \[44100, 48000\] Hz cannot follow",
        ),
    ],
)
def test_containers_that_cannot_be_are_named(written, document, message):
    with pytest.raises(ModelFileError, match=message):
        load(written(document))


def test_a_file_of_one_network_has_no_other_submodel(written):
    path = written(lstm())
    assert load(path, submodel=0).settings.hidden == 4
    with pytest.raises(ModelFileError, match="there is no submodel 1: it holds one network"):
        load(path, submodel=1)


def test_the_caller_overrules_the_rate(fixtures, written):
    document = lstm(sample_rate=2000)
    assert load(written(document), sample_rate=44100).sample_rate == 44100
    assert (load(written(document)).initial[...] == load(written(document), sample_rate=44100).initial[...]).all()
    assert load(fixtures / "models/nam/core_wavenet_condition_dsp.nam", sample_rate=96000).sample_rate == 96000


# --- writing ---


def again(network, **options):
    data = nam.write(network, **options)
    return nam.read(Source(Path("a.nam"), data, json.loads(data))), json.loads(data)


def equal(one, other):
    same = jax.tree.map(lambda a, b: bool((a == b).all()), nnx.split(one)[1], nnx.split(other)[1])
    return one.settings == other.settings and all(jax.tree.leaves(same))


def trained(settings, rate=44100):
    """A network with a state of its own, and weights large enough that every mistake is heard."""
    network = LSTM(settings, sample_rate=rate)
    rng = np.random.default_rng(0)
    network.initial[...] = jnp.asarray(rng.uniform(-0.5, 0.5, network.initial.shape), jnp.float32)
    for layer in network.layers:
        layer.bias[...] = jnp.asarray(rng.normal(size=layer.bias.shape), jnp.float32)
    return network


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("hidden, layers, bias", [(1, 1, True), (5, 1, False), (4, 3, True)])
def test_an_lstm_is_written_exactly_and_others_play_it_the_same(hidden, layers, bias, skip):
    network = trained(Settings(hidden=hidden, layers=layers, bias=bias, skip=skip))
    back, document = again(network, metadata={"name": "mine"})
    assert equal(network, back) and back.sample_rate == 44100
    assert (document["version"], document["metadata"], document["sample_rate"]) == ("0.5.4", {"name": "mine"}, 44100)
    np.testing.assert_allclose(played(document, NOISE[:, None]), apply(network, NOISE), rtol=0, atol=1e-6)


def test_what_was_read_is_written_as_it_plays(written):
    network = load(written(lstm()))
    assert equal(network, again(network)[0])


@pytest.mark.parametrize("preset, version", [("nano", "0.5.4"), ("a2_lite", "0.6.0")])
def test_a_wavenet_is_written_exactly_in_the_oldest_words_that_do(preset, version):
    network = WaveNet(PRESETS[preset], sample_rate=48000)
    back, document = again(network)
    assert equal(network, back) and document["version"] == version
    assert ("gated" in document["config"]["layers"][0]) == (version == "0.5.4")


def test_a_written_carrier_that_was_meddled_with_is_refused():
    document = again(trained(Settings(hidden=3)))[1]
    document["weights"][0] = document["weights"][3] = 0.25
    document["weights"][11 * 5] += 1.0  # the input's weight into the carrier's g
    with pytest.raises(ModelFileError, match="its last hidden unit does not carry the dry signal"):
        nam.read(Source(Path("a.nam"), b"", document))


def test_what_nam_cannot_hold_is_not_written():
    broken = trained(Settings(hidden=2))
    broken.head[...] = broken.head[...].at[0].set(jnp.nan)
    for box, options, message in [
        (GRU(Settings(hidden=2)), {}, "NAM has no GRU"),
        (LSTM(Settings(inputs=2, hidden=2)), {}, "NAM has no knobs, this network has 1"),
        (broken, {}, "a weight is not a finite number"),
        (trained(Settings(hidden=2)), {"metadata": {"name": {1}}}, "metadata is no JSON"),
        (trained(Settings(hidden=2)), {"metadata": {"gain": float("nan")}}, "metadata is no JSON"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            nam.write(box, **options)
