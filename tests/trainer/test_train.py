"""The loop: it learns, it can be killed and goes on as if nothing had happened, and what it leaves plays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from jaxmodels import apply, inspect, load
from trainer import batches, config, data, finish, machine, schedule
from trainer.train import Progress, train
from trainer.train import _clock as clock
from trainer.train import _due as due

from .test_recipes import plucked

pytestmark = pytest.mark.usefixtures("remembered")

RATE = 44100
CAPTURE = """
out = "{out}"
[data]
dry = "{folder}/dry.wav"
wet = "{folder}/wet.wav"
delay = 0
licence = "CC0-1.0"
[network]
{network}
[schedule]
steps = {steps}
seconds = 0
validate_every = {every}
checkpoint_every = {checkpoint}
batch = 4
segment = 4096
chunk = 1024
warm_up = 300
average = 0.2
"""


@pytest.fixture(autouse=True)
def the_laws_hold(monkeypatch):
    """What every finished run is checked by; one of them is, and else it is half of the time of a short run."""
    monkeypatch.setattr(finish, "verify_effect", lambda effect, **options: None)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Four seconds of plucked notes through a soft clipper."""
    folder = tmp_path_factory.mktemp("recording")
    dry = plucked(4 * RATE, np.random.default_rng(0))
    soundfile.write(folder / "dry.wav", dry, RATE, subtype="FLOAT")
    soundfile.write(folder / "wet.wav", 0.6 * np.tanh(4 * dry), RATE, subtype="FLOAT")
    return folder


def written(folder, recording, name="capture", steps=40, checkpoint=1000.0, every=5, network="hidden = 8", more=""):
    path = folder / f"{name}.toml"
    text = CAPTURE.format(
        out=f"{name}.nafx", folder=recording, steps=steps, checkpoint=checkpoint, every=every, network=network
    )
    path.write_text(text + more)
    return path


def started(path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def curve(lines):
    """What a run learned, to the last bit."""
    return {line["step"]: (line["loss"], line["esr"]) for line in lines if line["event"] == "validation"}


@pytest.fixture(scope="module")
def learned(recording, tmp_path_factory):
    """The folder of a run of 120 steps, and its records."""
    folder, lines = tmp_path_factory.mktemp("learned"), []
    train(config.load(written(folder, recording, steps=120)), lines.append)
    return folder, lines


@pytest.fixture(scope="module")
def halfway(recording, tmp_path_factory):
    """The folder of the same run, stopped after 40 steps, a copy of it, and its records."""
    folder, lines = tmp_path_factory.mktemp("halfway"), []
    run = config.load(written(folder, recording, steps=120))
    train(run, lines.append, stop=lambda: len(curve(lines)) >= 8)
    return folder, shutil.copytree(folder, tmp_path_factory.mktemp("kept") / "copy"), lines


@pytest.fixture
def stopped(halfway):
    """Its run file and its records. It is in its own folder, which a checkpoint remembers, and as it was stopped."""
    folder, kept, lines = halfway
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    return folder / "capture.toml", lines


def test_a_run_learns_and_leaves_a_file_that_plays_and_tells_its_story(recording, learned):
    folder, lines = learned
    done = lines[-1]
    first, best = next(iter(curve(lines).values()))[1], min(esr for _, esr in curve(lines).values())
    assert done["event"] == "done"
    assert done["esr"] == pytest.approx(best, rel=0.05) and done["esr"] < 0.3 * first and done["esr"] < 0.1
    capture = load(folder / "capture.nafx")
    dry, wet = (soundfile.read(recording / f"{name}.wav", dtype="float32")[0] for name in ("dry", "wet"))
    at = round(len(dry) * 0.8)
    y = np.asarray(apply(capture, jnp.asarray(dry)))[at:]
    esr = np.sum((y - wet[at:]) ** 2) / np.sum(wet[at:] ** 2)
    assert done["esr"] == pytest.approx(esr, rel=0.02)
    _, facts = inspect(folder / "capture.nafx")
    assert facts.licence == "CC0-1.0" and facts.esr == pytest.approx(done["esr"])
    assert facts.info["settings"]["seed"] == 0 and facts.info["data"][0]["part"] == "train"
    assert str(recording) not in str(facts.info) and str(folder) not in str(facts.info)
    assert list(facts.info["metrics"]["validation"]["by_name"]) == ["wet.wav"] == [facts.info["data"][0]["name"]]
    assert not (folder / "capture.nafx.checkpoint").exists()


def test_recordings_of_one_name_stay_apart_without_their_folders():
    silence = np.zeros(1, np.float32)
    a, b, c = (data.Pair(silence, silence, RATE, name=name) for name in ("/me/x/wet.wav", "/me/y/wet.wav", "z.wav"))
    parts = finish.without_folders(data.Split([a, b, c], [c, b], []))
    assert [pair.name for pair in parts.train] == ["wet.wav", "wet (2).wav", "z.wav"]
    assert [pair.name for pair in parts.validation] == ["z.wav", "wet (2).wav"] and parts.test == []


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(stopped, learned):
    path, before = stopped
    after, (folder, whole) = [], learned
    train(config.load(path), after.append, resume=True)
    assert after[0]["resumed"] and after[0]["step"] == before[-1]["steps"] < 120
    assert curve(before) | curve(after) == curve(whole)
    a, b = (apply(load(place / "capture.nafx"), np.ones(50, np.float32)) for place in (path.parent, folder))
    assert (a == b).all()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["hidden = 8", 'kind = "steerable_tcn"\nblocks = 2\nwidth = 16'])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(network, recording, tmp_path):
    lines = ended(started(written(tmp_path, recording, "whole", 20, network=network)))
    whole = curve(lines)
    assert len(lines[0]["devices"]) == (1 if "tcn" in network else min(machine.cores(), machine.MOST_DEVICES))
    path = written(tmp_path, recording, "killed", 20, 0.0, network=network)
    process = started(path)
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "checkpoint" and seen[-1]["step"] >= 8:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=30)
    process.stdout.close()
    process.stderr.close()
    lines = ended(started(path, "--resume"))
    assert lines[0]["resumed"] and lines[0]["step"] >= seen[-1]["step"]
    joined = curve(seen) | curve(lines)
    assert joined.keys() == whole.keys() and joined == whole
    a, b = (apply(load(tmp_path / f"{name}.nafx"), jnp.ones(50)) for name in ("whole", "killed"))
    assert (a == b).all()


def test_a_damaged_checkpoint_is_set_aside_and_the_run_begins_again_from_its_model(stopped):
    path, first = stopped
    again, saved = [], path.parent / "capture.nafx.checkpoint"
    saved.write_bytes(saved.read_bytes()[:1000])
    train(config.load(path), again.append, resume=True, stop=lambda: len(curve(again)) >= 1)
    assert [line["event"] for line in again[:2]] == ["start", "warning"] and not again[0]["resumed"]
    assert "capture.nafx.checkpoint cannot be read" in again[1]["text"] and "from the model" in again[1]["text"]
    assert (path.parent / "capture.nafx.checkpoint.damaged").exists()
    before, now = (next(iter(curve(lines).values()))[1] for lines in (first, again))
    assert now < 0.9 * before, "it does not begin from nothing"


@pytest.mark.slow
def test_a_run_told_to_stop_keeps_what_it_has(recording, tmp_path):
    process = started(written(tmp_path, recording, steps=1_000_000))
    seen = next(line for line in process.stdout if json.loads(line)["event"] == "validation")
    process.send_signal(signal.SIGTERM)
    lines = ended(process)
    assert json.loads(seen)["step"] == 5
    assert lines[-1]["event"] == "done" and lines[-1]["stopped"] and lines[-1]["steps"] < 1_000_000
    assert load(tmp_path / "capture.nafx").sample_rate == RATE
    assert (tmp_path / "capture.nafx.checkpoint").exists()


def test_a_file_pauses_a_run_and_another_ends_it(recording, tmp_path):
    pause, stop = (tmp_path / f"capture.nafx.{what}" for what in ("pause", "stop"))
    pause.touch()
    lines = []

    def report(line):
        lines.append(line)
        if line["event"] == "paused":
            began.append(time.monotonic())
        if line["event"] == "validation":
            stop.touch()

    def asked():
        if began and time.monotonic() - began[0] > 0.5:
            pause.unlink(missing_ok=True)
        return False

    began = []
    done = train(config.load(written(tmp_path, recording, steps=100_000)), report, stop=asked)
    said = [line["event"] for line in lines]
    assert said.index("paused") < said.index("continued") < said.index("validation")
    assert done["stopped"] and done["steps"] == 5


def test_a_model_begins_a_run_and_a_target_ends_it(recording, learned, tmp_path):
    path, lines = written(tmp_path, recording, steps=1000), []
    path.write_text(f'target_esr = 0.2\nstart_from = "{learned[0]}/capture.nafx"\n' + path.read_text())
    done = train(config.load(path), lines.append)
    assert done["steps"] < 1000 and any(line["event"] == "target" for line in lines)
    assert next(iter(curve(lines).values()))[1] < 0.25


@pytest.mark.slow
def test_a_target_ends_a_run_and_a_model_begins_another(recording, tmp_path):
    path = written(tmp_path, recording, "first", 1000)
    path.write_text("target_esr = 0.2\n" + path.read_text())
    lines = []
    done = train(config.load(path), lines.append)
    assert done["steps"] < 1000 and any(line["event"] == "target" for line in lines)
    path = written(tmp_path, recording, "second", 5)
    path.write_text('start_from = "first.nafx"\n' + path.read_text())
    lines = []
    train(config.load(path), lines.append)
    assert next(iter(curve(lines).values()))[1] < 0.25


def test_a_run_that_diverges_goes_on_from_its_best_weights(recording, tmp_path):
    path = written(tmp_path, recording, steps=60)
    path.write_text(path.read_text() + "learning_rate = 1.0\nclip = 1e6\nrise = 0.0\n")
    lines = []
    try:
        train(config.load(path), lines.append)
    except config.TrainerError as error:
        assert "learning_rate" in str(error)
    finite = [line for line in lines if line["event"] == "validation"]
    assert finite and np.isfinite(finite[0]["esr"])


def test_every_sample_is_learned_from_and_none_from_before_its_recording():
    rng = np.random.default_rng(0)
    made = [
        batches.Piece(rng.normal(size=(n, 2)).astype(np.float32), np.arange(n, dtype=np.float32), 0, "a")
        for n in (1000, 700)
    ]
    plan = config.Schedule(segment=200, warm_up=100, chunk=100, batch=3)
    cut = batches.layout(made, plan, 0, True)
    assert (cut.chunks, cut.before, cut.segment, cut.epoch) == (2, 100, 200, 2)
    for number in range(6):
        x, y = batches.batch(made, cut, 7, number, False)
        assert x.shape == (3, 300, 2) and y.shape == (3, 200) and (np.diff(y) == 1).all()
        again = batches.batch(made, cut, 7, number, False)
        assert (again[0] == x).all() and (again[1] == y).all()
    cut = batches.layout(made, plan, 500, False)
    seen = np.concatenate([batches.batch(made, cut, 0, number, False)[1].ravel() for number in range(20)])
    assert seen.min() < 60 and seen.max() > 940
    middles = {int(y[0]) // 20 for number in range(60) for y in batches.batch(made, cut, 0, number, False)[1]}
    assert middles >= set(range(40)), "segments begin anywhere"
    held = batches.take(np.ones((50, 2), np.float32), -3, 2)
    assert held[:3].tolist() == [[0, 1]] * 3 and len(held) == 5


def test_rates_of_the_schedules():
    plan = config.Schedule(steps=100, decay="drops", rise=0.0, learning_rate=1.0)
    assert [schedule.rate(plan, done) for done in (0, 0.79, 0.8, 0.95)] == pytest.approx([1, 1, 0.1, 0.01])
    plan = config.Schedule(steps=100, decay="cosine", rise=0.1, learning_rate=1.0)
    assert schedule.rate(plan, 0.0) < 0.01 and schedule.rate(plan, 1.0) == pytest.approx(0.01)
    assert schedule.progress(plan, 50, 1e9) == 0.5
    mean, tenth, last = 0.0, config.Schedule(average=0.1), config.Schedule()
    for step in range(2000):
        mean += schedule.share(tenth, step) * (step - mean)
        assert schedule.share(last, step) == 1
    assert mean == pytest.approx(2000 / 1.1, rel=0.01)
    assert schedule.progress(config.Schedule(seconds=10), 50, 2.0) == pytest.approx(0.2)


def test_a_run_can_be_timed_by_the_work_done_and_validates_for_a_tenth_of_it_at_most():
    now = clock(config.Schedule(clock="cpu"))
    before, process = now(), time.process_time()
    time.sleep(0.3)
    assert 0 <= now() - before <= time.process_time() - process + 1e-3
    plan, at = config.Schedule(seconds=60.0), Progress(elapsed=10.0)
    assert due(plan, at, 8.9, None) and not due(plan, at, 9.1, None)
    assert due(plan, at, 4.0, 0.5) and not due(plan, at, 8.0, 0.5)


GOOD = 'out = "c"\n[data]\ndry = "a.wav"\nwet = "b.wav"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('out = "c"\n[data]\ndry = "a.wav"', "dry and wet, or folder"),
        (GOOD + "second = 3", "second"),
        (GOOD + "[schedule]\nseconds = -3", "seconds = -3"),
        (GOOD + "[schedule]\nsecond = 3", "second"),
        (GOOD + "[schedule]\nseconds = 0", "needs an end"),
        (GOOD + '[network]\nkind = "rnn"', "a.wav|rnn"),
        ('preset = "x"\n' + GOOD, "preset 'x'"),
        ('recipe = "x"\n' + GOOD, "recipe"),
        ("out = ", "run.toml"),
    ],
)
def test_a_run_that_cannot_start_says_why(tmp_path, text, said):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(config.TrainerError, match=said):
        train(config.load(path), lambda line: None)
