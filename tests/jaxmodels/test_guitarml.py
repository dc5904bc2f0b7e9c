"""CoreAudioML and GuitarML JSON: real captures against plain numpy, and every way a file can be wrong."""

from __future__ import annotations

import copy
import gzip
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from jaxmodels.effect import apply, default_positions, positions
from jaxmodels.files import ModelFileError, load
from jaxmodels.formats.guitarml import rate_of
from jaxmodels.recurrent import GRU, LSTM, Settings
from tests.jaxmodels.test_recurrent import reference, torch_tensors
from tests.variants import slow_except

CAPTURES = {
    "neuralpi/BluesJR_FullD.json": (LSTM, 1, 20, 44100),
    "neuralpi/TS9.json": (LSTM, 2, 20, 44100),
    "neuralpi/tl_ProCoRat.json": (LSTM, 1, 20, 44100),
    "proteus/6505Plus_Red_DirectOut.json": (LSTM, 1, 40, 44100),
    "proteus/TS9_DriveKnob.json": (LSTM, 2, 40, 44100),
    "proteus/XComp_Pedal.json": (LSTM, 1, 40, 44100),
    "guitarml_other/chameleon_gold.json": (LSTM, 1, 32, 44100),
    "guitarml_other/princepedal_od.json": (LSTM, 3, 40, 44100),
    "guitarml_other/tsm1n3_model_ts9_48k_cond2.json": (LSTM, 3, 32, 48000),
    "neuralseed/gru4_ts9_pytorch.json": (GRU, 1, 4, 48000),
    "neuralseed/lstm4_ts9_pytorch.json": (LSTM, 1, 4, 48000),
    "neuralseed/ts9_gru7_gain10_loss003_TEST.json": (GRU, 1, 7, 48000),
    "coreaudioml/DS1_Parameterized-RNN3-DS1_Parameterized_model_best.json": (LSTM, 3, 20, 44100),
    "coreaudioml/ht1-ht11_model_best.json": (LSTM, 1, 32, 44100),
    "coreaudioml/ht1-ht13_model_best.json": (GRU, 1, 32, 44100),
}
USUAL = [
    # One of each trainer and each cell.
    "neuralpi/TS9.json",
    "proteus/6505Plus_Red_DirectOut.json",
    "guitarml_other/princepedal_od.json",
    "neuralseed/gru4_ts9_pytorch.json",
    "coreaudioml/ht1-ht13_model_best.json",
]


def stored(path):
    """The tensors of a file under PyTorch's names, read without our reader."""
    names = {"lin.weight": "head", "lin.bias": "head_bias"}
    tensors = json.loads(path.read_text())["state_dict"]
    return {names.get(key, key.removeprefix("rec.")): np.array(value) for key, value in tensors.items()}


@pytest.fixture(scope="module")
def guitar(fixtures):
    """One second of a dry electric guitar, from where it plays."""
    signal, rate = soundfile.read(fixtures / "audio/dry/egtr.wav", frames=3 * 48000, dtype="float32")
    energy = np.convolve(signal**2, np.ones(rate), "valid")
    start = int(energy.argmax())
    return signal[start : start + rate]


def test_every_capture_of_the_collection_is_listed(fixtures):
    folders = ("neuralpi", "proteus", "guitarml_other", "neuralseed", "coreaudioml")
    there = {f"{folder}/{path.name}" for folder in folders for path in (fixtures / "models" / folder).iterdir()}
    assert there == set(CAPTURES)


@pytest.mark.parametrize("name", slow_except(USUAL, CAPTURES))
def test_real_captures_load_and_play(fixtures, guitar, name):
    cls, inputs, hidden, rate = CAPTURES[name]
    network = load(fixtures / "models" / name)
    assert type(network) is cls and network.sample_rate == rate
    assert network.settings == Settings(inputs, hidden)
    assert [knob.name for knob in network.knobs] == ["drive", "tone", "level"][: inputs - 1]
    x = guitar[2000:4000]
    knobs = default_positions(network)
    assert (knobs == 0.5).all()
    y = apply(network, x)
    want = reference(stored(fixtures / "models" / name), np.column_stack([x, *(np.full_like(x, k) for k in knobs)]))
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5)
    assert np.abs(y - x).max() > 0.05 * np.abs(x).max()


def test_a_second_of_guitar_through_a_tube_screamer_whole_and_in_blocks_of_17(fixtures, guitar):
    path = fixtures / "models/neuralpi/TS9.json"
    network = load(path)
    knobs = positions(network, {"drive": 0.7})
    want = reference(stored(path), np.column_stack([guitar, np.full_like(guitar, 0.7)]))
    assert np.abs(want).max() > 0.05
    np.testing.assert_allclose(apply(network, guitar, knobs), want, rtol=0, atol=1e-5)

    step = jax.jit(network.step)
    state, length, ys = network.initial_state(), len(guitar) // 17 * 17, []
    for at in range(0, length, 17):
        y, state = step(state, jnp.asarray(guitar[at : at + 17, None]), jnp.full((17, 1), 0.7))
        ys.append(np.asarray(y[:, 0]))
    np.testing.assert_allclose(np.concatenate(ys), want[:length], rtol=0, atol=1e-5)


def document(gates=4, inputs=2, layers=1, bias=True, skip=1, **extra):
    """What a trainer would have written."""
    tensors = torch_tensors(gates, 3, inputs, layers, bias)
    names = {"head": "lin.weight", "head_bias": "lin.bias"}
    return {
        "model_data": {
            "model": "SimpleRNN",
            "input_size": inputs,
            "skip": skip,
            "output_size": 1,
            "unit_type": {4: "LSTM", 3: "GRU"}[gates],
            "num_layers": layers,
            "hidden_size": 3,
            "bias_fl": bias,
        },
        "state_dict": {names.get(key, f"rec.{key}"): tensor.tolist() for key, tensor in tensors.items()},
        **extra,
    }


@pytest.fixture
def written(tmp_path):
    def write(content, name="capture.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


@pytest.mark.parametrize("gates", [4, 3])
@pytest.mark.parametrize("layers, bias, skip", [(2, False, 0), (1, True, False)])
def test_layers_bias_and_skip_are_the_files(written, gates, layers, bias, skip):
    network = load(written(document(gates, 2, layers, bias, skip)))
    assert network.settings == Settings(2, 3, layers, bias, False)
    x = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    want = reference(torch_tensors(gates, 3, 2, layers, bias), x, skip=False)
    np.testing.assert_allclose(apply(network, x[:, :1], x[:, 1:])[:, 0], want, rtol=0, atol=3e-6)


PACKINGS = {
    "gzip": gzip.compress,
    "gzip twice": lambda data: gzip.compress(gzip.compress(data)),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "leading space": lambda data: b"\n\t " + data,
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_packing_and_extension_change_nothing(written, packing):
    text = json.dumps(document()).encode()
    plain, packed = load(written(text)), load(written(PACKINGS[packing](text), "capture.nam"))
    assert plain.settings == packed.settings and (plain.head[...] == packed.head[...]).all()


@pytest.mark.parametrize(
    "name, rate",
    [
        ("Plexi.json", 44100),
        ("ts9_48k_cond2.json", 48000),
        ("Plexi 48 kHz.json", 48000),
        ("Plexi-96K.json", 96000),
        ("amp_44.1k.json", 44100),
        ("amp_88_2khz.json", 88200),
        ("amp_48000.json", 48000),
        ("JCM148k.json", 44100),
        ("48king.json", 44100),
        ("neuralseed/tiny.json", 48000),
        ("NeuralSeed_ts9.json", 48000),
        ("neural seed/tiny_44.1k.json", 44100),
    ],
)
def test_the_rate_is_told_by_the_name_and_overruled_by_the_caller(written, name, rate):
    path = written(document(), name)
    assert load(path).sample_rate == rate == rate_of(path)
    assert load(path, sample_rate=32000).sample_rate == 32000


def test_knobs_are_the_files_where_it_names_them(written):
    knobs = load(written(document(inputs=3, knobs=["gain", "bright"]))).knobs
    assert [(k.name, k.low, k.high, k.default) for k in knobs] == [("gain", 0, 1, 0.5), ("bright", 0, 1, 0.5)]
    full = document()
    full["model_data"]["params"] = [{"name": "bias", "min": -1, "max": 1, "default": 0.25}]
    (knob,) = load(written(full)).knobs
    assert (knob.name, knob.low, knob.high, knob.default) == ("bias", -1, 1, 0.25)
    for noise in (1933, {"n": 1}, [], [0.5], None):  # left over from the training's configuration
        assert load(written(document(params=noise))).knobs[0].name == "drive"


def test_what_the_description_leaves_out_is_read_off_the_tensors(written):
    network = load(written({"model_data": {}, "state_dict": document(3)["state_dict"], "epochs": 9, "val_loss": None}))
    assert type(network) is GRU and network.settings == Settings(2, 3)


class Gone:
    """Marks a field to take out."""


@pytest.mark.parametrize(
    "where, value, message",
    [
        ("model_data", [1], "model_data is a list of 1, must be an object"),
        ("state_dict", None, "state_dict is None, must be an object"),
        ("state_dict", {}, "state_dict has no lin.weight"),
        ("model_data.model", "RecNet", "model_data.model is 'RecNet'; only SimpleRNN"),
        ("model_data.unit_type", "RNN", "model_data.unit_type is 'RNN'; only cells LSTM and GRU"),
        ("model_data.unit_type", ["LSTM"], "model_data.unit_type is a list of 1"),
        ("model_data.unit_type", "GRU", "model_data.unit_type is 'GRU', but the tensors say 'LSTM'"),
        ("model_data.hidden_size", 4, "model_data.hidden_size is 4, but the tensors say 3"),
        ("model_data.hidden_size", "3", "model_data.hidden_size is '3', but the tensors say 3"),
        ("model_data.hidden_size", 10**60, "hidden_size is a huge whole number"),
        ("model_data.input_size", 1, "model_data.input_size is 1, but the tensors say 2"),
        ("model_data.num_layers", True, "model_data.num_layers is True, but the tensors say 1"),
        ("model_data.output_size", 2, "model_data.output_size is 2, but the tensors say 1"),
        ("model_data.bias_fl", False, "model_data.bias_fl is False, but there is lin.bias"),
        ("state_dict.lin.bias", Gone, "model_data.bias_fl is True, but there is no lin.bias"),
        ("model_data.bias_fl", "yes", "model_data.bias_fl is 'yes', must be 0 or 1"),
        ("model_data.skip", 2, "model_data.skip is 2, must be 0 or 1"),
        ("model_data.skip", 1.0, "model_data.skip is 1.0, must be 0 or 1"),
        ("state_dict.lin.weight", Gone, "state_dict has no lin.weight"),
        ("state_dict.lin.weight", [[1, 2]], r"head has shape \[1, 2\], must be \[1, 3\]"),
        ("state_dict.rec.weight_hh_l0", Gone, "there is no tensor weight_hh_l0"),
        ("state_dict.rec.bias_ih_l0", [0.0] * 11, r"bias_ih_l0 has shape \[11\], must be \[12\]"),
        ("state_dict.rec.bias_ih_l0", [0.0] * 11 + ["0.5"], "rec.bias_ih_l0 holds '0.5', which is no number"),
        ("state_dict.rec.bias_ih_l0", [0.0] * 11 + [True], "holds True, which is no number"),
        ("state_dict.rec.bias_ih_l0", [0.0] * 11 + [None], "holds None, which is no number"),
        ("state_dict.rec.bias_ih_l0", {"a": 1}, "holds an object of 1, which is no number"),
        ("state_dict.rec.bias_ih_l0", [0.0] * 11 + [1e39], "holds a number too large for float32"),
        ("state_dict.rec.bias_ih_l0", [0.0] * 11 + [10**400], "holds a number too large for float32"),
        ("state_dict.rec.bias_ih_l0", [[0.0], 0.0], "has rows of unequal length"),
        ("state_dict.rec.bias_ih_l0", [[[[[[[[[[1.0]]]]]]]]]], "nested more than 8 deep"),
        ("state_dict.rec.weight_ih_l0_reverse", [[1.0]], "weight_ih_l0_reverse"),
        ("state_dict.conv.weight", [1.0], "state_dict has 'conv.weight', which no SimpleRNN has"),
        ("knobs", ["a", "b"], "a network of 2 inputs has 1 knobs, not 2"),
        ("knobs", ["a", "a"], "knobs names a knob twice"),
        ("knobs", [{"name": "a", "min": 1, "max": 0}], "knob 'a' has no sound name, min, max and default"),
        ("knobs", [{"name": "a", "min": "low"}], "knob 'a' has no sound name"),
        ("knobs", [" "], "knob ' ' has no sound name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(written, where, value, message):
    wrong = copy.deepcopy(document())
    holder, _, field = where.partition(".")
    target, field = (wrong[holder], field) if field else (wrong, holder)
    if value is Gone:
        del target[field]
    else:
        target[field] = value
    path = written(wrong)
    with pytest.raises(ModelFileError, match=message) as error:
        load(path)
    assert str(error.value).startswith("capture.json: ")
