"""Jobs that are no single training: sweeps in the queue, and the SuperKnob's trainings beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from rack import protocol
from rack.cli import main
from rack.jobs import Job, JobRecord
from rack.server.jobsweep import as_training
from rack.server.superjobs import Superjobs

from .running import alive, wait
from .test_jobs import RACKS, Rig, job

SWEEP = """
out = "made/best.nafx"
trials = {trials}
prune_after = 1.0
[run]
data = {{ dry = "d.wav", wet = "w.wav" }}
[space]
seed = [0, 1, 2, 3, 4, 5]
"""


class Sweeping(Rig):
    """Sweeps, whose trials reach an ESR that follows from their seed."""

    def sweep(self, trials: int, held: int | None = None) -> str:
        """A sweep file, and which of its trials waits half done."""
        if held is not None:
            self.gate(f"best-{held:04d}", 2)
        path = self.home / "sweep.toml"
        path.write_text(SWEEP.format(trials=trials))
        return str(path)

    def seeds(self, id: str) -> list[int]:
        """Those of its trials, in order."""
        runs = sorted((self.home / "data" / "jobs" / id / "best-sweep").glob("*.toml"))
        return [tomllib.loads(run.read_text())["seed"] for run in runs]


@pytest.fixture
def rig(tmp_path):
    rig = Sweeping(tmp_path / "home", RACKS)
    soundfile.write(tmp_path / "home" / "d.wav", np.zeros(4800, np.float32), 48000)
    shutil.copy(tmp_path / "home" / "d.wav", tmp_path / "home" / "w.wav")
    yield rig
    rig.stop()


# --- sweeps -----------------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_sweep_is_a_job_whose_steps_are_trials(rig, monkeypatch, capsys):
    monkeypatch.setenv("NAFX_RACK_HOME", str(rig.home))
    client = rig.start()
    id = rig.order(client, {"run": rig.sweep(trials=3), "slot": "gain"})
    assert id == "sweep-1"
    done = job(client, id, "done")
    best = 0.02 / (1 + max(rig.seeds(id)))
    assert (done.kind, done.title, done.network) == ("sweep", "best", "3 trials, by esr")
    assert done.esr == done.last.best == pytest.approx(best) and done.last.step == 3 and done.last.done == 1
    history = client.get(f"jobs.{id}.history")
    assert [each["step"] for each in history] == [1, 2, 3]
    assert [each["esr"] for each in history] == sorted((each["esr"] for each in history), reverse=True)
    assert [each["validation"] for each in history] == pytest.approx([0.02 / (1 + seed) for seed in rig.seeds(id)])
    rig.line(["finished4", "delay", "limiter"])
    assert (rig.home / "made" / "best.nafx").read_text() == Path(done.model).read_text(), "where its file wants it"
    assert "is a sweep" in client.set("jobs.continue", id)
    assert main(["jobs", "log", id]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("best: 3 trials, by esr") and said[-1].startswith("best: trial ")
    client.requests += 1
    saved = client.ask(protocol.Set("jobs.save", {"id": id}, client.requests)).value
    assert saved.endswith("models/best.nafx")


@pytest.mark.engine
def test_a_sweep_rests_is_killed_and_goes_on_with_its_trials(rig):
    client = rig.start()
    id = rig.order(client, rig.sweep(trials=4, held=0))
    job(client, id, "running")
    first = wait(rig.began)[0]
    wait(lambda: '"step":2' in client.get(f"jobs.{id}.log"))
    assert client.set("jobs.pause", id) == ""
    wait(lambda: '"paused"' in client.get(f"jobs.{id}.log"))
    assert job(client, id).state == "paused" and alive(first["pid"]), "the trial rests"
    os.kill(rig.process.pid, signal.SIGKILL)
    rig.process.wait()
    wait(lambda: not alive(first["pid"]))  # it does not train on without anybody

    client = rig.start()
    assert job(client, id).state == "paused"
    rig.gate("best-0000", None)
    assert client.set("jobs.resume", id) == ""
    done = job(client, id, "done")
    assert done.last.step == 4 and len(client.get(f"jobs.{id}.history")) == 4
    assert rig.seeds(id)[0] in rig.seeds(id)[1:], "the trial that was lost was made again"


@pytest.mark.engine
def test_a_sweep_that_is_stopped_keeps_its_best_and_can_go_on(rig):
    client = rig.start()
    id = rig.order(client, rig.sweep(trials=5, held=1))
    job(client, id, "running", that=lambda job: job.last)
    assert client.set("jobs.stop", id) == ""
    stopped = job(client, id, "stopped")
    assert stopped.note.startswith("stopped by hand") and stopped.last.step == 1
    assert json.loads(Path(stopped.model).read_text()) and stopped.checkpoints
    rig.gate("best-0001", None)
    assert client.set("jobs.resume", id) == ""
    assert job(client, id, "done").last.step == 5


@pytest.mark.engine
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('out = "m.nafx"\nrun = "none.toml"\n[space]\nseed = [1]', "none.toml: cannot be read"),
        ('out = "m.nafx"\n[space]\nseed = [1]', "needs run, a run file"),
        ('run = "r.toml"\n[space]\nseed = [1]', "needs out"),
    ],
)
def test_a_sweep_file_that_cannot_be_is_refused_in_words(rig, text, said):
    client = rig.start()
    (rig.home / "s.toml").write_text(text)
    assert said in client.set("jobs.start", str(rig.home / "s.toml"))


def test_what_a_sweep_says_is_said_as_a_training_would():
    ended = {"event": "ended", "number": 4, "state": "done", "value": 0.3, "measure": "esr", "seconds": 10.0}
    ended |= {"text": "", "ended": 2, "trials": 6}
    before = JobRecord(step=1, seconds=10.0, best=0.2)
    [figure] = as_training(ended, before)
    assert (figure["step"], figure["seconds"], figure["eta"], figure["done"]) == (2, 20.0, 40.0, pytest.approx(1 / 3))
    assert (figure["validation_loss"], figure["esr"], figure["best"]) == (0.3, 0.2, 0.2), "the best is the model"
    [other] = as_training(ended | {"measure": "mr_stft", "value": 0.1}, before)
    assert other["esr"] is None and other["best"] == 0.1
    warning, figure = as_training(ended | {"state": "failed", "value": None, "text": "no memory"}, None)
    assert warning["text"] == "trial 4: no memory" and figure["best"] is None
    assert as_training(ended | {"state": "lost"}, before) == [] == as_training({"event": "trial"}, None)
    assert as_training(ended | {"state": "pruned", "value": 0.1}, before)[0]["best"] == 0.2
    trials = [{"state": "done", "value": 0.2}, {"state": "failed", "value": None}, {"state": "lost", "value": None}]
    table = {"event": "table", "measure": "esr", "wanted": 3, "trials": trials}
    assert as_training(table, before) == [{"event": "done", "esr": 0.2, "stopped": True}]


# --- the SuperKnob ----------------------------------------------------------------------------------------------------


def examples(client, *names: str) -> None:
    """Examples at even distances, each with another gain."""
    for n, name in enumerate(names):
        place = n / max(1, len(names) - 1)
        assert client.set("superknob.mode", "teach") == "" and client.set("superknob", place) == ""
        assert client.set("gain.gain", 6 * place) == "" and client.set("superknob.add", name) == ""


@pytest.mark.engine
def test_the_superknobs_training_is_listed_and_waits_for_nobody(rig):
    client = rig.start()
    long = rig.order(client, rig.run("1", gate=2, steps=4))
    job(client, long, "running")
    examples(client, "dark", "bright")
    assert client.set("superknob.train") == ""
    done = job(client, "superknob-1", "done")
    assert done.kind == "superknob" and done.title == "SuperKnob of one" and done.rack == "one" and done.place == -1
    assert done.note == "rmse 0.0000 over 2 examples, 0.10 s" and done.last.done == 1
    assert [each["id"] for each in client.get("jobs")] == [long, "superknob-1"]
    assert job(client, long).state == "running" and job(client, long).place == 0
    assert client.get("jobs.superknob-1.history")[0]["step"] == 1 and client.get("jobs.superknob-1.log") == ""
    assert "it can be stopped or removed" in client.set("jobs.listen", {"id": "superknob-1", "slot": "gain"})
    assert "is done already" in client.set("jobs.stop", "superknob-1")

    assert client.set("superknob.clear") == ""
    examples(client, "dark", "fails")
    assert client.set("superknob.train") == ""
    failed = job(client, "superknob-2", "failed")
    assert "the examples cannot be learned" in failed.note
    assert [each["id"] for each in client.get("jobs")] == [long, "superknob-2"], "one for each rack"
    assert client.set("jobs.remove", "superknob-2") == "" and len(client.get("jobs")) == 1


@pytest.mark.engine
def test_the_superknobs_training_can_be_stopped_as_a_job(rig):
    rig.environment["NAFX_FAKE_DELAY"] = "1"
    client = rig.start()
    examples(client, "dark", "bright")
    assert client.set("superknob.train") == ""
    assert job(client, "superknob-1").state == "running"
    assert client.set("jobs.stop", "superknob-1") == ""
    stopped = job(client, "superknob-1", "stopped")
    assert "training is cancelled" in stopped.note and client.get("superknob.train") == "no model"


def test_a_curve_becomes_figures():
    async def cancel():
        pass

    listed = Superjobs(lambda: None, cancel)
    listed.begin("one", 3)
    taught = protocol.Taught(-1, None, (0.0, 0.001, 0.0), 0.002, 500, 0.1, tuple(np.geomspace(0.1, 1e-6, 20).tolist()))
    listed.done("one", taught)
    points = msgspec.convert(listed.get("superknob-1", "history"), list[JobRecord])
    assert [points[0].step, points[-1].step] == [25, 500] and points[-1].done == 1
    assert msgspec.convert(listed.get("superknob-1", ""), Job).last.validation == pytest.approx(0.002**2)
