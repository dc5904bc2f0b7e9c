"""GuitarML's WaveNet JSON against plain numpy; no recorded output of it exists."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmodels import ModelFileError, apply, inspect, load
from tests.jaxmodels import plain
from tests.jaxmodels.streaming import streamed
from tests.variants import slow_except

CAPTURES = {"pedalnet": (16, 18_593), "ts9_fullD": (5, 1_961)}


@pytest.mark.parametrize("lengths", slow_except([[]], [[], [1, 64]]))
@pytest.mark.parametrize("name", slow_except(["ts9_fullD"], CAPTURES))
def test_real_captures_equal_plain_numpy(fixtures, name, lengths):
    """Started where silence leaves the layers; numpy gets there by hearing it."""
    path = fixtures / f"models/smartpedal_wavenet/{name}.json"
    box = load(path)
    assert box.receptive_field == 2047 and box.sample_rate == 44100
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32) * np.linspace(0, 1, 5000, dtype=np.float32)
    want = plain.guitarml_wavenet(plain.document(path), np.pad(x.astype(float), (2046, 0)))[2046:]
    assert np.abs(want).max() > 0.05
    np.testing.assert_allclose(apply(box, x), want, rtol=0, atol=1e-5)
    for length in lengths:
        got = streamed(box, x, length)
        np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=1e-5)
    facts = inspect(path)[1]
    assert (facts.architecture, facts.parameters) == (f"WaveNet {CAPTURES[name][0]}x10 k3 gated", CAPTURES[name][1])


def document(activation="gated", width=3, taps=2, dilations=(1, 2, 4), seed=0):
    """What PedalNetRT would have written."""
    rng, gates = np.random.default_rng(seed), (2 if activation in ("gated", "softgated") else 1) * width
    shapes = {(-1, "W"): (1, 1, width), (-1, "b"): (width,)}
    for n in range(len(dilations)):
        shapes |= {(n, "W_conv"): (taps, width, gates), (n, "b_conv"): (gates,)}
        shapes |= {(n, "W_out"): (1, width, width), (n, "b_out"): (width,)}
    shapes |= {(len(dilations), "W"): (1, len(dilations) * width, 1), (len(dilations), "b"): (1,)}
    variables = [
        {"layer_idx": layer, "name": name, "data": [str(v) for v in rng.uniform(-1, 1, np.prod(shape))]}
        for (layer, name), shape in shapes.items()
    ]
    return {
        "activation": activation,
        "input_channels": 1,
        "output_channels": 1,
        "residual_channels": width,
        "filter_width": taps,
        "dilations": list(dilations),
        "variables": variables,
    }


def written(folder, content, name="net.json"):
    (folder / name).write_text(json.dumps(content))
    return folder / name


ACTIVATIONS = ["softgated", "tanh", "sigmoid", "relu", "softsign", "linear"]


@pytest.mark.parametrize("activation", slow_except(["softgated", "tanh"], ACTIVATIONS))
def test_every_activation(tmp_path, activation):
    content = document(activation)
    x = np.random.default_rng(1).uniform(-1, 1, 50)
    want = plain.guitarml_wavenet(content, np.pad(x, (7, 0)))[7:]
    np.testing.assert_allclose(apply(load(written(tmp_path, content)), x), want, rtol=0, atol=3e-6)


def test_the_rate_and_the_trim(tmp_path):
    path = written(tmp_path, document() | {"level_adjust": 0.4}, "amp_48k.json")
    assert load(path).sample_rate == 48000 and load(path, sample_rate=96000).sample_rate == 96000
    assert inspect(path)[1].notes == ("level_adjust = 0.4, SmartGuitarAmp's trim, is not applied",)


def data(index, values):
    """A change of one variable's numbers."""

    def change(content):
        content["variables"][index]["data"] = values

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.update(activation="gelu"), "activation is 'gelu'; these are read: gated, softgated"),
        (lambda c: c.update(activation=None), "activation is None"),
        (lambda c: c.update(input_channels=2), "input_channels is 2; only mono networks without knobs"),
        (
            lambda c: c.update(residual_channels=10**6),
            "residual_channels is 1000000, must be a whole number of 1 to 256",
        ),
        (lambda c: c.update(filter_width="3"), "filter_width is '3'"),
        (lambda c: c.update(filter_width=3), r"conv.weight has 36 numbers, must be 54"),
        (lambda c: c.update(dilations=[]), "dilations is a list of 0"),
        (lambda c: c.update(dilations=[1, 2, 10**9]), "dilations is 1000000000"),
        (lambda c: c.update(dilations=[1, None, 2]), "dilations is 0"),
        (lambda c: c.update(dilations=[2**18] * 5), "layer_idx 3, name 'W'"),
        (lambda c: c.update(variables={}), "variables is an object of 0"),
        (lambda c: c["variables"].pop(4), "tensor 0.mix.weight is not there"),
        (lambda c: c["variables"].append(c["variables"][0]), "layer_idx -1, name 'W': twice"),
        (lambda c: c["variables"].append({}), "layer_idx None, name None: not known"),
        (lambda c: c["variables"].append([]), "a variable is a list of 0"),
        (data(0, ["1", "2"]), "input.weight has 2 numbers, must be 3"),
        (data(0, ["1", "2", "nan"]), "input.weight holds 'nan', which is no number of float32"),
        (data(0, ["1", "2", "1e39"]), "holds '1e39'"),
        (data(0, ["1", "2", 10**400]), "holds a huge whole number"),
        (data(0, ["1", [], "2"]), "holds a list of 0"),
        (data(0, None), "data is None"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    content = document()
    change(content)
    with pytest.raises(ModelFileError, match=message) as error:
        load(written(tmp_path, content))
    assert str(error.value).startswith("net.json: ")
