"""What we write for other programs: the same weights when read back, the same sound in plain numpy."""

from __future__ import annotations

import os

import jax
import numpy as np
import pytest

from jaxmodels import ModelFileError, apply, export, inspect, load
from jaxmodels.effect import Knob
from jaxmodels.formats import Facts
from jaxmodels.layers import Scaled
from jaxmodels.recurrent import GRU, LSTM, Settings
from jaxmodels.tcn import MicroTCN
from tests.jaxmodels import plain

FAMILIES = {"rtneural": plain.keras, "aidax": plain.aidax, "guitarml": plain.guitarml}
NETWORKS = {
    "LSTM 1x16": (LSTM, Settings(1, 16, 1, True, False)),
    "LSTM 2x5, knobs": (LSTM, Settings(3, 5, 2, True, True)),
    "LSTM 1x8, no bias": (LSTM, Settings(1, 8, 1, False, False)),
    "GRU 1x16": (GRU, Settings(1, 16, 1, True, False)),
    "GRU 2x5, a knob": (GRU, Settings(2, 5, 2, False, True)),
}


def made(name, **options):
    cls, settings = NETWORKS[name]
    return cls(settings, sample_rate=48000, **options)


def equal(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return one.settings == other.settings and all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_written_reads_and_plays_the_same(tmp_path, family, name):
    network, path = made(name), tmp_path / "net_48k.json"
    if family == "rtneural" and network.settings.skip:
        with pytest.raises(ModelFileError, match="net_48k.json: not written: RTNeural's JSON cannot say that the dry"):
            export(path, network, family)
        assert not path.exists()
        return
    export(path, network, family)
    back = load(path)
    assert type(back) is type(network) and equal(network, back) and back.sample_rate == 48000
    x = np.random.default_rng(0).uniform(-1, 1, (80, network.settings.inputs)).astype(np.float32)
    want = FAMILIES[family](plain.document(path), x.astype(float))
    np.testing.assert_allclose(apply(network, x[:, :1], x[:, 1:])[:, 0], want, rtol=0, atol=3e-6)
    again = tmp_path / "again_48k.json"
    export(again, back, family)
    if family != "guitarml" or not network.knobs:
        assert again.read_bytes() == path.read_bytes()


def test_nam_takes_an_lstm(tmp_path):
    network, path = made("LSTM 1x16"), tmp_path / "net.nam"
    facts = Facts(name="Plexi", author="me", gear="a Plexi", esr=0.01, date="2026-11-21T10:00:00", licence="CC0")
    assert export(path, network, "nam", facts=facts) == ()
    document, x = plain.document(path), np.random.default_rng(0).uniform(-1, 1, (80, 1)).astype(np.float32)
    np.testing.assert_allclose(apply(network, x)[:, 0], plain.nam_lstm(document, x), rtol=0, atol=3e-6)
    assert document["metadata"]["modeled_by"] == "me" and document["metadata"]["training"] == {"validation_esr": 0.01}
    assert document["metadata"]["date"]["month"] == 11 and inspect(path)[1].name == "Plexi"


def test_aidax_carries_metadata_and_a_self_test(tmp_path):
    path, network = tmp_path / "net.aidax", made("LSTM 2x5, knobs")
    facts = Facts(name="Plexi", author="me", gear="a Plexi", tone_type="clean", licence="CC0", esr=0.02)
    notes = export(path, network, "aidax", facts=facts)
    assert "one layer of 8, 12, 16" in notes[0] and "drive (0 to 1), tone (0 to 1) are PARAM1 and so on" in notes[1]
    told = inspect(path)[1]
    assert (told.name, told.author, told.gear, told.esr, told.sample_rate) == ("Plexi", "me", "a Plexi", 0.02, 48000)
    document = plain.document(path)
    x, y = (np.array(document[key]) for key in ("input_batch", "output_batch"))
    assert x.shape == y.shape == (2048,) and 0.2 < np.abs(x).max() < 1 and document["in_skip"] == 1
    want = plain.aidax(document, np.column_stack([x, np.zeros((2048, 2))]))
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(apply(network, x, np.zeros(2)), y, rtol=0, atol=2e-6)


def test_guitarml_keeps_the_knobs(tmp_path):
    knobs = (Knob("gain", "dB", 0.0, 30.0, 12.0), Knob("bright"))
    network, path = LSTM(Settings(3, 4), knobs=knobs, sample_rate=44100), tmp_path / "net.json"
    notes = export(path, network, "guitarml")
    assert [(k.name, k.low, k.high, k.default) for k in load(path).knobs] == [
        ("gain", 0, 30, 12),
        ("bright", 0, 1, 0.5),
    ]
    assert notes == ("knob gain: the file tells its range, but not its unit, curve and labels",)


@pytest.mark.parametrize(
    "effect, family, message",
    [
        (MicroTCN(MicroTCN.Settings(1, 2, 2)), "aidax", "a MicroTCN is no LSTM or GRU, which is all that aidax holds"),
        (Scaled(LSTM(), 2.0, 1.0), "rtneural", "a Scaled is no LSTM or GRU"),
        (GRU(), "nam", "NAM has no GRU"),
        (LSTM(Settings(2)), "nam", "NAM has no knobs, this network has 1"),
        (LSTM(Settings(4)), "aidax", "3 knobs; AIDA-X has 2 at most"),
        (LSTM(Settings(2), knobs=(Knob("gain", high=30.0),)), "aidax", r"knob gain goes 0 to 30 \(linear\)"),
    ],
)
def test_what_a_family_cannot_hold_is_refused(tmp_path, effect, family, message):
    with pytest.raises(ModelFileError, match=f"^net.x: not written: .*{message}"):
        export(tmp_path / "net.x", effect, family)
    assert not os.listdir(tmp_path)


def test_what_a_family_cannot_say_is_told(tmp_path):
    network = LSTM(Settings(1, 4, skip=False), sample_rate=96000)
    network.initial[...] = network.initial[...] + 0.5
    notes = export(tmp_path / "net.json", network, "rtneural", facts=Facts(name="x"))
    assert [note.split(";")[0][:44] for note in notes] == [
        "the file does not tell its 96000 Hz",
        "the file does not hold the state that the ne",
        "the file has no place for a name, an author ",
    ]
    assert "dry signal" in export(tmp_path / "net.json", network, "guitarml")[0]


@pytest.mark.parametrize("family", ["aidax", "guitarml", "rtneural"])
@pytest.mark.parametrize("cls", [LSTM, GRU])
def test_a_taper_becomes_a_straight_way_through_all_that_it_makes(tmp_path, cls, family):
    network = cls(Settings(2, 8, skip=family != "rtneural", taper=(4,)), sample_rate=48000)
    network.tapers["0"]["heard"][...] = np.float32([1.5, -0.5, 3.5, 0.5])
    (note,) = [n for n in export(tmp_path / "a.json", network, family) if "taper" in n]
    assert note.startswith("knob drive has a learned taper")
    written = load(tmp_path / "a.json", sample_rate=48000)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 300).astype(np.float32)
    for value, place in ((-0.5, 1 / 3), (0.5, 1), (1.5, 0), (3.5, 2 / 3)):
        even = np.float32([(value + 0.5) / 4])
        np.testing.assert_allclose(apply(written, x, even), apply(network, x, np.float32([place])), atol=2e-6)


def test_weights_that_are_not_finite_leave_the_old_file(tmp_path):
    path, network = tmp_path / "net.json", LSTM(Settings(1, 4))
    export(path, network, "guitarml")
    good = path.read_bytes()
    network.layers[0]["bias"][...] = network.layers[0]["bias"][...] * np.nan
    for family in ("guitarml", "aidax", "nam"):
        with pytest.raises(ModelFileError, match="not written: a weight is not"):
            export(path, network, family)
    assert path.read_bytes() == good and os.listdir(tmp_path) == ["net.json"]
    with pytest.raises(KeyError, match="no family 'vst'; there are: aidax, guitarml, nam, rtneural"):
        export(path, network, "vst")
