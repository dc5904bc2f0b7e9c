"""RTNeural's Keras JSON: its own test models, engines' recorded output, and every way a file can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmodels import ModelFileError, apply, inspect, load
from jaxmodels.layers import Layers
from jaxmodels.recurrent import GRU, LSTM, Settings
from tests.jaxmodels import plain
from tests.jaxmodels.streaming import streamed
from tests.jaxmodels.test_layers import BLOCKS, stack
from tests.variants import slow_except

MODELS = ("dense", "conv", "conv_stateless", "gru", "gru_1d", "lstm", "lstm_1d")  # full_model has no recording


def recorded(fixtures, name):
    """What RTNeural's tests give Keras, and what it answered; a valid convolution answers less."""
    return (np.loadtxt(fixtures / f"vectors/rtneural/{name}_{n}_python.csv").reshape(-1) for n in "xy")


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], [1, 64]]))
@pytest.mark.parametrize("name", MODELS)
def test_rtneurals_own_models(fixtures, name, lengths):
    box = load(fixtures / f"models/rtneural_keras/{name}.json")
    x, want = recorded(fixtures, name)
    y = np.asarray(apply(box, x))[-len(want) :]
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-6)
    if name in ("conv", "gru"):  # 100 samples
        for length in lengths:
            got = streamed(box, x, length)
            np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=1e-6)


def test_the_model_without_a_recording_equals_plain_numpy(fixtures):
    path = fixtures / "models/rtneural_keras/full_model.json"
    x = np.random.default_rng(0).uniform(-1, 1, 200)
    np.testing.assert_allclose(apply(load(path), x), plain.keras(plain.document(path), x[:, None]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", slow_except([[64]], [[64], BLOCKS]))
@pytest.mark.parametrize(
    "model, output, cls, knobs",
    [
        ("lstm16_in1", "lstm16", LSTM, ()),
        ("gru16_in1", "gru16", GRU, ()),
        ("lstm32_in3", "lstm32_in3", LSTM, (0.3, -0.6)),
    ],
)
def test_what_rtneural_itself_played(fixtures, model, output, cls, knobs, lengths):
    folder = fixtures / "vectors/engines"
    box = load(folder / f"rtneural_{model}.json")
    assert type(box) is cls and [knob.name for knob in box.knobs] == ["PARAM1", "PARAM2"][: len(knobs)]
    x, want = np.load(folder / "input.npy"), np.load(folder / f"rtneural_{output}_output.npy").reshape(-1)
    knobs = np.array(knobs, np.float32)
    np.testing.assert_allclose(apply(box, x, knobs), want, rtol=0, atol=1e-6)
    for length in lengths:
        got = streamed(box, x[: 20 * 2048], length, knobs)
        np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=1e-6)


STACKS = [("gru", False), ("gru", True), ("lstm", False)]


@pytest.mark.parametrize("cell, old", slow_except(STACKS[:1], STACKS))
def test_every_layer_is_read(tmp_path, cell, old):
    """Both biases of a GRU, groups, dilation, normalisation, knobs: a stack of all layers, played by plain numpy."""
    _, document = stack(np.random.default_rng(3), cell, old)
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(document, default=np.ndarray.tolist))
    box = load(path)
    assert type(box) is Layers and [knob.name for knob in box.knobs] == ["PARAM1"]
    x = np.random.default_rng(1).uniform(-1, 1, (350, 2)).astype(np.float32)
    want = plain.keras(document, x.astype(float))
    np.testing.assert_allclose(apply(box, x[:, :1], x[:, 1:])[:, 0], want, rtol=0, atol=3e-6)


def test_layers_of_equal_size_are_one_network(tmp_path):
    document = network("lstm", 5, layers=3)
    path = written(tmp_path, document)
    box = load(path)
    assert type(box) is LSTM and box.settings == Settings(1, 5, 3, True, False)
    x = np.random.default_rng(1).uniform(-1, 1, 60)
    np.testing.assert_allclose(apply(box, x), plain.keras(document, x[:, None]), rtol=0, atol=3e-6)
    assert inspect(path)[1].architecture == "LSTM 3x5"
    document["layers"][1:3] = network("lstm", 4, inputs=5)["layers"][:1]
    document["layers"][-1] = network("lstm", 4)["layers"][-1]
    box = load(written(tmp_path, document))
    assert type(box) is Layers and box.settings.layers == ("lstm 5", "lstm 4", "dense 1")
    np.testing.assert_allclose(apply(box, x), plain.keras(document, x[:, None]), rtol=0, atol=3e-6)


def test_many_knobs(tmp_path):
    document = network("gru", 3, inputs=6)
    box = load(written(tmp_path, document))
    assert [knob.name for knob in box.knobs] == ["PARAM1", "PARAM2", "PARAM3", "PARAM4", "PARAM5"]
    x = np.random.default_rng(1).uniform(0, 1, (30, 6)).astype(np.float32)
    np.testing.assert_allclose(apply(box, x[:, :1], x[:, 1:])[:, 0], plain.keras(document, x), rtol=0, atol=3e-6)


def test_the_rate_is_48000_unless_told(tmp_path):
    path = written(tmp_path, network("gru", 3))
    assert load(path).sample_rate == 48000 and load(path, sample_rate=44100).sample_rate == 44100
    family, facts = inspect(path)
    assert family == "RTNeural Keras JSON" and facts.sample_rate is None and "48000 Hz is assumed" in facts.notes[0]
    assert (facts.architecture, facts.parameters) == ("GRU 1x3", 9 + 27 + 12 + 4)
    assert load(written(tmp_path, network("gru", 3), "amp_44.1k.json")).sample_rate == 44100


def network(cell, hidden, inputs=1, layers=1):
    """RTNeural's JSON of a recurrent network."""
    rng, gates, made = np.random.default_rng(hidden), {"lstm": 4, "gru": 3}[cell], []
    for n in range(layers):
        shapes = [(hidden if n else inputs, gates * hidden), (hidden, gates * hidden), (gates * hidden,)]
        shapes[2] = (2, *shapes[2]) if cell == "gru" else shapes[2]
        weights = [rng.uniform(-1, 1, shape).tolist() for shape in shapes]
        made.append({"type": cell, "activation": "tanh", "shape": [None, None, hidden], "weights": weights})
    head = [rng.uniform(-1, 1, shape).tolist() for shape in ((hidden, 1), (1,))]
    made.append({"type": "dense", "activation": "", "shape": [None, None, 1], "weights": head})
    return {"in_shape": [None, None, inputs], "layers": made}


def written(folder, document, name="net.json"):
    path = folder / name
    path.write_text(json.dumps(document))
    return path


# --- what is refused ---


def test_the_deliberately_bad_files_are_refused_for_their_reason(fixtures):
    for path, message in (
        ("models/rtneural_keras/bad_lstm.json", r"layer 0 \(lstm\): shape says 16 outputs, its weights 20"),
        ("models/rtneural_keras/conv2d.json", "layer 0 is 'conv2d', which is not read; these are: dense, "),
        ("vectors/nam_core/models/keras_unsupported.json", "layers is a list of 0, so there is no network in this"),
    ):
        for reader in (load, inspect):
            with pytest.raises(ModelFileError, match=message):
                reader(fixtures / path)


def changed(path, value, cell="gru"):
    """A small network with one value of it changed; `path` are keys and indices."""
    document = network(cell, 3)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


ZEROS = [[0.0] * 9] * 3


TAPS = [[[[1.0]] * 3] * 3]


@pytest.mark.parametrize(
    "path, value, message",
    [
        (["layers"], {}, "layers is an object of 0"),
        (["layers"], [1], "layer 0 is 1, must be an object"),
        (["layers"], [{}] * 65, "65 layers; at most 64"),
        (["layers"], [{"type": "activation"}], "layers that do nothing"),
        (["in_shape"], [None, None, None], "in_shape is a list of 3, must be a list that ends in 1 to 16 inputs"),
        (["in_shape"], [None, 10**9], "in_shape is .*, must be a list that ends in 1 to 16"),
        (["in_shape"], 1, "in_shape is 1"),
        (["in_shape"], [2], r"layer 0 \(gru\): tensors of shapes \[\[1, 9\], .*, must be \[2, any\]"),
        (["layers", 0, "type"], "rnn", "layer 0 is 'rnn', which is not read"),
        (["layers", 0, "type"], ["gru"], "layer 0 is a list of 1, which is not read"),
        (["layers", 0, "weights"], 7, r"layer 0 \(gru\): weights is 7"),
        (["layers", 0, "weights"], [], r"layer 0 \(gru\): tensors of shapes none"),
        (["layers", 0, "weights", 0, 0, 3], "a", r"layer 0 \(gru\) weights\[0\] holds 'a', which is no number"),
        (["layers", 0, "weights", 0, 0, 3], 1e39, r"weights\[0\] holds a number too large for float32"),
        (["layers", 0, "weights", 1], ZEROS[:2], "weights of shapes .* do not fit 2 units and 3 gates"),
        (["layers", 0, "weights", 2], [0.0] * 8, "a bias of 8 for 3 units, must be 9"),
        (["layers", 0, "weights", 2], [[3e38] * 9] * 2, "biases too large for float32"),
        (["layers", 1, "weights", 0], [[1.0, 2.0]] * 3, r"layer 1 \(dense\): a bias of 1 for 2 outputs"),
        (["layers", 1, "weights"], [[[1.0, 2.0]] * 3], "shape says 1 outputs, its weights 2"),
        (["layers", 1, "activation"], "gelu", "activation 'gelu' is not read; these are: tanh"),
        (["layers", 1, "activation"], None, "activation None is not read"),
        (["layers", 1, "shape"], [None, 3], r"layer 1 \(dense\): shape says 3 outputs, its weights 1"),
        (["layers", 1], {"type": "prelu", "weights": [[1.0, 1.0]]}, "must be one tensor of 1 or 3"),
        (["layers", 1], {"type": "prelu", "weights": [[1.0]]}, "the last layer has 3 outputs; a mono effect has 1"),
        (["layers", 1], {"type": "activation", "weights": [[1.0]]}, "must be none"),
        (["layers", 1], {"type": "batchnorm", "weights": [[1.0] * 3] * 3}, "3 tensors, must be mean and variance"),
        (["layers", 1], {"type": "batchnorm", "weights": [[-1.0] * 3] * 2}, "a variance that is not positive"),
        (["layers", 1], {"type": "batchnorm", "weights": [[1.0] * 3] * 2, "epsilon": -1}, "epsilon is -1"),
        (["layers", 1], {"type": "conv1d", "weights": [[[[1.0]] * 3]], "strides": 2}, "strides other than 1"),
        (["layers", 1], {"type": "conv1d", "weights": [[[[1.0]] * 3]], "groups": 2}, "2 groups cannot share 3"),
        (["layers", 1], {"type": "conv1d", "weights": [[[[1.0]] * 3]], "kernel_size": [2]}, "the weights have 1 taps"),
        (["layers", 1], {"type": "conv1d", "weights": [[[1.0]]]}, r"must be \[any, 3, any\] \[any\]"),
        (["layers", 1], {"type": "conv1d", "weights": TAPS, "dilation": 10**9}, "dilation is 1000000000"),
        (["layers", 1], {"type": "conv1d", "weights": TAPS, "dilation": 2**20}, "which is more than can"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, path, value, message):
    with pytest.raises(ModelFileError, match=message) as error:
        load(written(tmp_path, changed(path, value)))
    assert str(error.value).startswith("net.json: ")
