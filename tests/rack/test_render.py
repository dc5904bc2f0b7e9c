"""Offline rendering: right by an independent network, and exactly what the live engine plays."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import soundfile

from rack.errors import RackError
from rack.protocol import Source, Trouble
from rack.workshop import render
from tests.variants import slow_except

from .harness import Bench, EngineProcess


def arguments(input, output, **options):
    defaults = dict(rack=None, model=None, knob=[], block=512, rate=None)
    return argparse.Namespace(input=str(input), output=str(output), **defaults | options)


def numpy_lstm(path, x, knobs):
    """A GuitarML capture in float64, a sample at a time, written from the description of the format."""
    tensors = {name: np.array(value, np.float64) for name, value in json.loads(path.read_text())["state_dict"].items()}
    bias = tensors["rec.bias_ih_l0"] + tensors["rec.bias_hh_l0"]
    hidden = len(bias) // 4
    h, c, y = np.zeros(hidden), np.zeros(hidden), np.zeros(len(x))

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    for n, sample in enumerate(x):
        gates = tensors["rec.weight_ih_l0"] @ np.array([sample, *knobs]) + tensors["rec.weight_hh_l0"] @ h + bias
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        y[n] = tensors["lin.weight"][0] @ h + tensors["lin.bias"][0] + sample
    return y


def test_a_capture_renders_as_an_independent_network_plays_it(fixtures, tmp_path):
    model = fixtures / "models/neuralpi/TS9.json"
    x, rate = soundfile.read(fixtures / "audio/dry/egtr.wav", dtype="float32")
    x = (x if x.ndim == 1 else x[:, 0])[:rate]
    soundfile.write(tmp_path / "in.wav", x, rate, subtype="FLOAT")
    expected = numpy_lstm(model, x, [0.7])
    for block in (512, 17):
        out = tmp_path / f"{block}.wav"
        options = dict(model=str(model), knob=["drive=0.7"], block=block)
        assert render.main(arguments(tmp_path / "in.wav", out, **options)) == 0
        info = soundfile.info(out)
        assert (info.samplerate, info.channels, info.subtype) == (rate, 1, "FLOAT")
        np.testing.assert_allclose(soundfile.read(out)[0], expected, atol=1e-5)


@pytest.fixture(scope="module")
def phrase(tmp_path_factory):
    """One second of decaying notes at 48 kHz."""
    t = np.arange(48000) / 48000
    x = 0.3 * np.sin(2 * np.pi * 196 * t) * np.exp(-3 * (t % 0.25))
    path = tmp_path_factory.mktemp("phrase") / "in.wav"
    soundfile.write(path, x.astype(np.float32), 48000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("name", slow_except(["klon"], ["klon", "nemo"]))
def test_render_is_what_the_live_engine_plays(phrase, tmp_path, name):
    """A shipped rack, sample for sample after the latency, slot by slot and fused; only the first fade-in differs."""
    rack = render.find_rack(name)
    x, rate = render.read(str(phrase))
    x = render.to_channels(x, rack.channels)
    row = render.row_of(rack, rate, rack.channels)
    offline = render.to_channels(render.render(row, x, rate, block=256), 2)  # a mono rack plays on both sides
    latency = sum(placed.effect.latency for placed in row)
    with EngineProcess() as engine:
        bench = Bench(tmp_path, engine.shared, block=64, channels=rack.channels, rate=rate)
        slots = []
        for placed in row:
            slots.append(bench.slot(placed.effect, placed.positions))
            engine.shared.targets[slots[-1].row, 0] = placed.on
        engine.send(Source(False))
        for fused in (False, True):
            engine.send(bench.files(tmp_path, x))
            engine.send(bench.line(*slots, fused=fused))
            engine.wait(Trouble, 60)
            live = np.load(tmp_path / "out.npy")[latency:]
            faded = int(0.06 * rate)
            np.testing.assert_allclose(live[faded:], offline[faded : len(live)], atol=1e-5)
    assert np.abs(offline).max() > 0.05


def test_the_declared_latency_is_trimmed(phrase, tmp_path):
    """A rack of nothing but its limiter gives the file back, in place."""
    x, rate = render.read(str(phrase))
    row = render.row_of(render.config.Rack(channels=1), rate, 1)
    assert row[0].effect.latency > 0
    np.testing.assert_allclose(render.render(row, x, rate), x, atol=1e-6)


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        ("drive", "NAME=VALUE"),
        ("dirve=0.5", "no knob 'dirve'"),
        ("drive=2", "0 to 1"),
        ("drive=loud", "drive = 'loud'"),
    ],
)
def test_a_wrong_knob_is_named(fixtures, phrase, tmp_path, knob, said):
    model = str(fixtures / "models/neuralpi/TS9.json")
    with pytest.raises(RackError, match=said):
        render.main(arguments(phrase, tmp_path / "out.wav", model=model, knob=[knob]))
    assert not (tmp_path / "out.wav").exists()


def test_what_is_no_sound_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("not a sound")
    for path, said in ((tmp_path / "missing.wav", "missing.wav"), (tmp_path / "text.wav", "cannot be read as sound")):
        with pytest.raises(RackError, match=said):
            render.read(str(path))
    with pytest.raises(RackError, match="no rack is called 'nimo'"):
        render.find_rack("nimo")
    with pytest.raises(RackError, match="cannot be written"):
        render.write(str(tmp_path / "nowhere" / "out.wav"), np.zeros((10, 1), np.float32), 48000)
