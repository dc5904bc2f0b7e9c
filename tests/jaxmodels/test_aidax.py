"""AIDA-X captures: their own self-tests, gains and the dry signal, and what they say of themselves."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from jaxmodels import ModelFileError, apply, inspect, load
from jaxmodels.formats.aidax import USUAL_RATE
from jaxmodels.layers import Layers, Scaled
from jaxmodels.recurrent import GRU, LSTM
from tests.jaxmodels import plain
from tests.jaxmodels.streaming import streamed
from tests.jaxmodels.test_keras import network, written
from tests.jaxmodels.test_layers import stack
from tests.variants import slow_except

CAPTURES = ("blues_deluxe", "british_lead", "california_clean")


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], [1, 64]]))
@pytest.mark.parametrize("name", slow_except(["british_lead"], CAPTURES))
def test_real_captures_pass_their_own_tests(fixtures, name, lengths):
    path = fixtures / f"models/aidax/tw40_{name}_deerinkstudios.json"
    box, document = load(path), plain.document(path)
    x, want = np.array(document["input_batch"]).reshape(-1), np.array(document["output_batch"]).reshape(-1)
    assert type(box) is LSTM and box.sample_rate == 48000 and len(x) == 2048
    np.testing.assert_allclose(apply(box, x), want, rtol=0, atol=2e-6)
    for length in lengths:
        got = streamed(box, x, length)
        np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=2e-6)


def test_what_a_capture_says_of_itself(fixtures):
    family, facts = inspect(fixtures / "models/aidax/tw40_british_lead_deerinkstudios.json")
    assert family.startswith("an AIDA-X capture") and (facts.architecture, facts.sample_rate) == ("LSTM 1x12", 48000)
    assert (facts.author, facts.gear, facts.tone_type) == ("deer ink studios", "Egnater Tweaker 40", "high gain")
    assert facts.licence == "CC BY-NC-ND 4.0" and 0.144 < facts.esr < 0.145 and facts.notes == ("carries a self-test",)


def with_self_test(document, error=0.0, dry=False):
    """The document with a self-test that is off by `error`."""
    x = np.random.default_rng(9).uniform(-1, 1, 300)
    columns = np.column_stack([x, *[np.zeros_like(x)] * (document["in_shape"][-1] - 1)])
    y = plain.keras(document, columns) + (x if dry else 0)
    y[200] += error
    return {**document, "input_batch": x.tolist(), "output_batch": [[v] for v in y]}


@pytest.mark.parametrize("cell, inputs", [("lstm", 1), ("gru", 3)])
@pytest.mark.parametrize("gain_in, gain_out", [(0, 0), (12.5, 0), (0, -7), (6, 3.25)])
@pytest.mark.parametrize("skip", [0, 1])
def test_gains_and_dry_signal(tmp_path, cell, inputs, gain_in, gain_out, skip):
    document = {
        **with_self_test(network(cell, 4, inputs)),
        "in_gain": gain_in,
        "out_gain": str(gain_out),
        "in_skip": skip,
    }
    box = load(written(tmp_path, document))
    plain_network = {"lstm": LSTM, "gru": GRU}[cell]
    assert type(box) is (Scaled if skip and (gain_in or gain_out) else plain_network)
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (100, inputs)).astype(np.float32)
    want = plain.aidax({**document, "out_gain": gain_out}, x.astype(float))
    got = apply(box, x[:, :1], x[:, 1:])[:, 0]
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-6 * np.abs(want).max())
    notes = inspect(written(tmp_path, document))[1].notes
    assert ("adds the dry signal" in notes) == bool(skip) and (f"input gain {gain_in:+.1f} dB" in notes) == (
        gain_in > 0
    )


def test_any_stack_of_layers_is_taken_and_its_self_test_played(tmp_path):
    for cell, old in (("gru", False), ("gru", True), ("lstm", False)):
        document = stack(np.random.default_rng(2), cell, old)[1] | {"metadata": {}}
        good = json.loads(json.dumps(with_self_test(document), default=np.ndarray.tolist))
        assert type(load(written(tmp_path, good))) is Layers
        good["layers"][5]["weights"][0][0][0] += 0.5
        with pytest.raises(ModelFileError, match="self-test failed"):
            load(written(tmp_path, good))


@pytest.mark.parametrize("error, good", [(0, True), (5e-4, True), (2e-3, False), (1e30, False)])
def test_a_network_that_is_not_what_was_recorded_is_refused_with_the_figure(tmp_path, error, good):
    path = written(tmp_path, with_self_test(network("lstm", 4), error))
    if good:
        assert type(load(path)) is LSTM
    else:
        with pytest.raises(
            ModelFileError, match=rf"self-test failed: the network differs by {error:.2g}".replace("+", ".")
        ):
            load(path)


def test_a_self_test_may_have_the_dry_signal_in_it(tmp_path):
    for dry in (True, False):
        assert load(written(tmp_path, with_self_test(network("lstm", 4), dry=dry) | {"in_skip": 1})).settings.skip
    with pytest.raises(ModelFileError, match="self-test failed"):
        load(written(tmp_path, with_self_test(network("lstm", 4), dry=True)))


@pytest.mark.parametrize(
    "said, rate",
    [
        ({"samplerate": "44100"}, 44100),
        ({"samplerate": 96000.0}, 96000),
        ({"metadata": {"samplerate": "44100"}, "samplerate": 48000}, 44100),
        ({"metadata": {"samplerate": "fast"}}, USUAL_RATE),
        ({"metadata": {"samplerate": 12}}, USUAL_RATE),
        ({"metadata": [], "samplerate": None}, USUAL_RATE),
        ({"metadata": {"samplerate": [44100]}}, USUAL_RATE),
        ({"in_gain": None}, USUAL_RATE),
    ],
)
def test_the_rate_is_read_as_text_or_number(tmp_path, said, rate):
    path = written(tmp_path, network("gru", 3) | said)
    assert load(path).sample_rate == rate and load(path, sample_rate=32000).sample_rate == 32000


@pytest.mark.parametrize(
    "said, message",
    [
        ({"in_skip": 2}, "in_skip is 2, must be 0 or 1"),
        ({"in_skip": [1]}, "in_skip is a list of 1"),
        ({"in_gain": 61}, "in_gain is 61, must be -60 to 60 dB"),
        ({"out_gain": "loud"}, "out_gain is 'loud'"),
        ({"out_gain": 10**400}, "out_gain is a huge whole number"),
        ({"input_batch": [1.0], "output_batch": []}, "a self-test of 1 samples in and 0 out"),
        ({"input_batch": "x", "output_batch": [1.0]}, "input_batch holds 'x'"),
        ({"metadata": {}, "layers": []}, "layers is a list of 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, said, message):
    with pytest.raises(ModelFileError, match=message) as error:
        load(written(tmp_path, copy.deepcopy(network("gru", 3)) | said))
    assert str(error.value).startswith("net.json: ")
