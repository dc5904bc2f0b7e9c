"""The page of a run: all of it is there, it can be heard, and what is missing is said."""

from __future__ import annotations

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from flax import nnx

from jaxmodels import inspect, save
from jaxmodels.effect import Knob
from jaxmodels.recurrent import LSTM
from jaxmodels.tcn import SteerableTCN
from trainer import answers, charts, config, examine, figures, finish, journal, metrics, report, runs, signals
from trainer.config import TrainerError
from trainer.data import Pair
from trainer.train import train

RATE = 16000
SECONDS = 3.0
CAPTURE = """
out = "{name}.nafx"
seed = 5
[data]
dry = "sounds/dry.wav"
wet = "sounds/wet.wav"
delay = 0
licence = "CC0-1.0 <b>"
[network]
hidden = {hidden}
[schedule]
steps = 6
seconds = 0
validate_every = 2
batch = 4
segment = 2048
chunk = 1024
warm_up = 100
"""
STEERED = """
out = "steered.nafx"
recipe = "steer"
[data]
dry = "sounds/dry.wav"
wet = "sounds/wet.wav"
delay = 0
"""


class Page(HTMLParser):
    """What a reader finds: figures, players with their labels, all words, and whatever leads elsewhere."""

    def __init__(self, path):
        super().__init__()
        self.figures, self.players, self.words, self.links, self.open = [], {}, [], [], []
        self.feed(path.read_text())
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.figures += [found["data-figure"]] if "data-figure" in found else []
        if tag == "audio":
            self.players.setdefault(found["aria-label"], []).append(found["src"])
        self.links += [found[key] for key in ("src", "href") if key in found]
        if tag not in ("meta", "polyline", "rect", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in ("rect", "circle"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)

    def sounds(self, label):
        assert all(source.startswith("data:audio/flac;base64,") for source in self.links)
        return [
            soundfile.read(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in self.players[label]
        ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A capture of a clipper, a few steps long; another one and a steered one that were never trained."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "sounds").mkdir()
    rng, time = np.random.default_rng(0), np.arange(round(SECONDS * RATE)) / RATE
    dry = np.sin(2 * np.pi * rng.uniform(100, 900, 20)[(time * 5).astype(int)] * time) * np.exp(-5 * (time % 0.2)) / 2
    soundfile.write(folder / "sounds" / "dry.wav", dry, RATE, subtype="FLOAT")
    soundfile.write(folder / "sounds" / "wet.wav", 0.5 * np.tanh(4 * dry) + 0.01, RATE, subtype="FLOAT")
    for name, hidden in (("small", 4), ("large", 5)):
        (folder / f"{name}.toml").write_text(CAPTURE.format(name=name, hidden=hidden))
    (folder / "steered.toml").write_text(STEERED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "verify_effect", lambda effect, **options: None)  # slow, and tested elsewhere
        train(config.load(folder / "small.toml"), lambda record: None)
    net = LSTM(LSTM.Settings(hidden=5), sample_rate=RATE, rngs=nnx.Rngs(0))
    save(folder / "large.nafx", net, inspect(folder / "small.nafx")[1].info)
    shutil.copy(journal.path(folder / "small.nafx"), journal.path(folder / "large.nafx"))
    tcn = SteerableTCN(SteerableTCN.Settings(blocks=2, width=3), sample_rate=RATE, rngs=nnx.Rngs(0))
    save(folder / "steered.nafx", tcn, {"recipe": "steer"})
    return folder


def made(tmp_path, *paths, **options):
    said: list[dict] = []
    place = report.make(paths, tmp_path / "page.html", said.append, **options)
    return Page(place), said


@pytest.mark.slow
def test_a_run_becomes_a_page_with_curves_sounds_and_figures(trained, tmp_path):
    pytest.importorskip("PIL")
    page, said = made(tmp_path, trained / "small.toml")
    assert page.figures == ["learning", "error", "waveform", "spectrum", "harmonics", "response", "transfer", "gain"]
    assert said[-1]["pictures"] == [f"{name}.png" for name in page.figures]
    assert all((tmp_path / "page-figures" / name).stat().st_size > 2000 for name in said[-1]["pictures"])
    assert not [record for record in said if record["event"] == "missing"]
    length = round(0.2 * SECONDS * RATE)
    sounds = {label: page.sounds(label)[0] for label in ("dry", "target", "model")}
    assert all((len(samples), rate) == (length, RATE) for samples, rate in sounds.values())
    wet = soundfile.read(trained / "sounds" / "wet.wav")[0][-length:]
    heard = sounds["target"][0]
    np.testing.assert_allclose(heard, wet * (np.abs(heard).max() / np.abs(wet).max()), atol=1e-4)
    _, facts = inspect(trained / "small.nafx")
    assert f"{facts.esr:.4f}" in page.text and f"ESR {facts.esr:.2g}" in page.text
    for words in ("seed", "5", "CC0-1.0 <b>", "dry.wav, wet.wav", "only the volume", "LSTM 1x4", "segment 2048"):
        assert words in page.text
    assert str(trained) not in page.text and str(trained) not in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_the_model_file_alone_tells_of_its_run_and_misses_what_was_moved(trained, tmp_path):
    shutil.copy(trained / "small.nafx", tmp_path / "small.nafx")
    page, said = made(tmp_path, tmp_path / "small.nafx", pictures=False)
    assert page.figures == ["harmonics", "response", "transfer", "gain"] and not page.players
    missing = " ".join(record["text"] for record in said if record["event"] == "missing")
    assert "dry.wav" in missing and "--recordings" in missing and "log.jsonl" in missing
    assert missing.split(".")[0] in page.text and "recipe" in page.text
    assert not (tmp_path / "page-figures").exists()
    page, _ = made(tmp_path, tmp_path / "small.nafx", pictures=False, recordings=trained / "sounds")
    assert "waveform" in page.figures and len(page.players) == 3


@pytest.mark.slow
def test_an_unfinished_run_is_shown_as_far_as_it_came(trained, tmp_path):
    (tmp_path / "small.toml").write_text((trained / "small.toml").read_text())
    lines = [line for line in journal.path(trained / "small.nafx").read_text().splitlines() if '"done", ' not in line]
    journal.path(tmp_path / "small.nafx").write_text("\n".join(lines[:3]) + '\n{"event": "valid')
    page, said = made(tmp_path, tmp_path / "small.toml", pictures=False)
    assert page.figures == ["learning", "error"]
    assert "There is no small.nafx yet." in page.text and "has not come to its end" in page.text


@pytest.mark.slow
def test_what_cannot_be_shown_is_refused_in_a_sentence(trained, tmp_path, capsys):
    untrained = tmp_path / "new.toml"
    untrained.write_text(CAPTURE.format(name="new", hidden=4))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "gone.toml", "there is no such file"), (untrained, "has not been trained"),
        (tmp_path / "empty", "no run in this folder"), (tmp_path / "notes.txt", "not a model file"),
    ):  # fmt: skip
        assert report.main([str(path)]) == 1
        assert words in capsys.readouterr().err
    assert report.main([str(trained / "small.toml"), "--out", str(tmp_path / "no" / "page.html")]) == 1
    assert "page.html: cannot be written" in capsys.readouterr().err
    assert report.main([str(trained), "--recordings", str(tmp_path / "gone")]) == 1
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_two_runs_are_compared(trained, tmp_path):
    page, _ = made(tmp_path, trained / "small.nafx", trained / "large.toml", trained / "small.toml", pictures=False)
    assert page.figures[:7] == ["training", "validation", "error", "esr", "harmonics", "response", "transfer"]
    assert page.figures.count("learning") == 2  # each run's own, folded
    assert {label: len(sources) for label, sources in page.players.items()} == {
        "dry": 1, "target": 1, "A  small": 1, "B  large": 1,
    }  # fmt: skip
    for words in ("2 runs compared", "LSTM 1x4", "LSTM 1x5", "Nearest to its target"):
        assert words in page.text


@pytest.mark.slow
def test_a_steered_run_has_maps_and_decays(trained, tmp_path):
    page, _ = made(tmp_path, trained / "steered.toml", pictures=False, grid=3)
    assert {"map-loudness", "map-density", "decay"} <= set(page.figures)
    assert "c1 -5, c2 -5: " in page.text and "c1 0, c2 0: " in page.text
    assert "MR-STFT (steering)" in page.text


@pytest.mark.slow
def test_a_folder_is_all_its_runs(trained):
    assert [each.name for each in runs.find(trained)] == ["large", "small", "steered"]


# --- measurements -----------------------------------------------------------------------------------------------------


def test_maps_of_a_known_effect_have_its_values():
    gain, tail = Knob("gain", "dB", -5.0, 5.0, 0.0), Knob("tail", "s", 0.1, 0.3, 0.2)
    effect = SimpleNamespace(knobs=(gain, tail), receptive_field=None)

    def play(x, knobs):
        """Louder by the first knob, and dying away by 60 dB in the time of the second."""
        from scipy.signal import lfilter

        pole = 10 ** (-3 / (tail.value(float(knobs[1])) * RATE))
        return 10 ** (gain.value(float(knobs[0])) / 20) * np.asarray(lfilter([1.0], [1, -pole], x)) + 0.3

    noise = 0.1 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    maps = examine.maps_of(play, effect, noise, RATE, 3)
    assert maps.names == ("gain", "tail") and maps.limits == ((-5.0, 5.0), (0.1, 0.3))
    np.testing.assert_allclose(np.diff(maps.lufs, axis=1), 5.0, atol=0.01)
    np.testing.assert_allclose(maps.dense - maps.dense[:, :1], 0.0, atol=0.01)
    np.testing.assert_allclose(maps.t60, np.repeat([[0.1], [0.2], [0.3]], 3, axis=1), rtol=0.01)
    decays = examine.decays_of(play, np.array([0.5, 0.5]), RATE, RATE // 2)
    assert [level for level, _ in decays] == list(examine.LEVELS_DB)
    for _, decay in decays:
        assert decay[round(0.1 * RATE)] == pytest.approx(-30, abs=0.1)


def test_spectra_and_gains_of_recordings_are_in_decibels():
    noise = 0.1 * np.random.default_rng(0).normal(size=4 * RATE)
    each = examine.Excerpt("", {}, RATE, noise, 2 * noise, 1.9 * noise)
    hz, levels = examine.spectra(each)
    np.testing.assert_allclose(levels["error"] - levels["target"], 20 * np.log10(0.05), atol=0.01)
    _, gains = examine.heard_gain(each)
    np.testing.assert_allclose(gains["target"], 20 * np.log10(2), atol=0.01)
    assert len(hz) == len(gains["model"])


def test_a_captured_device_has_answered_to_the_capture_signal():
    dry = 0.8 * signals.capture_signal(8000, 24.0)
    device = lambda x: np.tanh(4 * x) / 2 + 0.05  # noqa: E731
    pair = Pair(dry, device(dry).astype(np.float32), 8000)
    target, model = answers.recorded(pair, lambda x: 2 * x)
    levels, gains = target.gains
    assert np.diff(levels) == pytest.approx(4.0, abs=0.01) and levels[-1] == pytest.approx(20 * np.log10(0.4), abs=0.1)
    assert gains[0] == pytest.approx(20 * np.log10(2), abs=0.01) and gains[-1] < gains[0] - 1
    np.testing.assert_allclose(model.gains[1], 20 * np.log10(2), atol=0.01)
    assert target.harmonics.hz[:3] == pytest.approx([110, 220, 330]) and target.harmonics.dc == pytest.approx(0.05)
    third = metrics.harmonics(device, 8000, 110.0, levels[-1]).db[2]
    assert target.harmonics.db[2] == pytest.approx(third, abs=0.2) and model.harmonics.thd < 1e-5
    np.testing.assert_allclose(target.transfer[1], device(target.transfer[0]), atol=1e-6)
    hz, gain = model.sweep
    inside = (hz > 40) & (hz < 3000)
    np.testing.assert_allclose(gain[inside], 20 * np.log10(2), atol=0.2)
    assert not answers.is_capture(pair._replace(dry=pair.dry[::-1])) and answers.recorded(
        pair._replace(dry=pair.dry[1:], wet=pair.wet[1:]), device) is None  # fmt: skip


def test_a_clip_is_the_loudest_passage():
    loud = np.zeros(10 * RATE)
    loud[6 * RATE : 7 * RATE] = 1.0
    cut = examine.clip(examine.Excerpt("", {}, RATE, loud, loud, loud), 2.0)
    assert len(cut.dry) == len(cut.model) == 2 * RATE and cut.target.sum() == RATE


def test_errors_over_the_knob_are_those_of_the_last_part(tmp_path):
    names = {"a": 1.0, "b": 0.5, "c": 0.0}
    rows = [{"name": name, "knobs": {"gain": at}, "part": part} for part in ("validation", "test")
            for name, at in names.items()]  # fmt: skip
    parts = {"validation": {"by_name": {"a": 9, "b": 9, "c": 9}}, "test": {"by_name": {"a": 0.3, "b": 0.2, "c": 0.1}}}
    found = lambda info: runs.Found("n", tmp_path, None, None, SimpleNamespace(info=info), [], (), False)  # noqa: E731
    assert charts.errors_by_knob(found({"data": rows, "metrics": parts})) == [(0.0, 0.1), (0.5, 0.2), (1.0, 0.3)]
    for wrong in ({}, {"data": 3, "metrics": []}, {"data": [3, {}], "metrics": {"test": 1}}):
        assert charts.errors_by_knob(found(wrong)) == []


def test_a_taper_is_drawn_over_its_knob(tmp_path):
    net = LSTM(LSTM.Settings(3, 4, taper=(3, 0)), rngs=nnx.Rngs(0))
    net.tapers["0"]["heard"][...] = np.float32([0.5, -2.0, 1.0])
    found = runs.Found("n", tmp_path, None, net, None, [], (), False)
    ((drawing, words),) = charts.tapers(found)
    dots = [mark for mark in drawing.marks if isinstance(mark, figures.Dot)]
    assert drawing.name == "taper-1" and drawing.title == "Taper of drive" and len(dots) == 3 and "alike" in words
    assert charts.tapers(found._replace(effect=None)) == []


# --- what a run leaves ------------------------------------------------------------------------------------------------


def validation(step):
    return {"event": "validation", "step": step, "seconds": step, "loss": 1 / step, "validation_loss": 1, "esr": 1}


def test_the_records_of_a_run_taken_up_again_are_those_of_one(tmp_path):
    seen: list[dict] = []
    keep = journal.keeping(tmp_path / "m.nafx", seen.append)
    first = [{"event": "start", "step": 0, "resumed": False}, *map(validation, (1, 2, 3, 4))]
    again = [{"event": "start", "step": 2, "resumed": True}, *map(validation, (3, 4, 5)), {"event": "done"}]
    for record in (*first, *again):
        keep(record)
    assert seen == [*first, *again]
    with open(journal.path(tmp_path / "m.nafx"), "a") as file:
        file.write('{"event": "vali')
    assert journal.curve(journal.read(tmp_path / "m.nafx"))["step"] == [1, 2, 3, 4, 5]
    for record in first:
        journal.keeping(tmp_path / "m.nafx", seen.append)(record)
    assert journal.read(tmp_path / "m.nafx") == first and journal.read(tmp_path / "other.nafx") == []


def test_a_model_file_starts_no_program_and_puts_no_code_on_the_page(tmp_path):
    sign = tmp_path / "ran"
    settings = {"out": "x.nafx", "recipe": "conditioning",
                "data": {"dry": "dry.wav", "effect": f"command:touch {sign} {{in}} {{out}}"}}  # fmt: skip
    info = {"settings": settings, "licence": "<script>alert(1)</script>", "metrics": [], "data": {"a": 1}, "esr": "x"}
    net = LSTM(LSTM.Settings(inputs=2, hidden=4), knobs=(Knob("amount"),), sample_rate=RATE, rngs=nnx.Rngs(0))
    save(tmp_path / "x.nafx", net, info)
    soundfile.write(tmp_path / "dry.wav", np.zeros(RATE), RATE)
    page, said = made(tmp_path, tmp_path / "x.nafx", pictures=False)
    assert not sign.exists() and "may not start" in json.dumps(said)
    assert "alert(1)" in page.text and "<script>alert" not in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_too_many_runs_are_refused(trained, monkeypatch):
    monkeypatch.setattr(report, "MOST_RUNS", 1)
    with pytest.raises(TrainerError, match="3 runs are too many"):
        report.make([trained], None, print)
