"""The queue of jobs, with a trainer that learns nothing: order, pauses, kills, restarts, and what is heard of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from rack import protocol
from rack.cli import main
from rack.jobs import Job, JobLine
from rack.server.calm import Calm
from rack.server.trainee import launched

from .running import ROOT, Running, alive, wait

pytestmark = pytest.mark.engine

RACKS = """\
rack = "one"
[racks.one]
channels = 1
[[racks.one.slots]]
type = "gain"
[[racks.one.slots]]
type = "delay"
[racks.two]
[[racks.two.slots]]
type = "low_pass"
"""


class Rig(Running):
    """A server with a client, run files, and gates that hold trainers at a step."""

    def run(self, name: str, gate: int | None = None, **fake) -> str:
        """A run file; the n-th job of a test with a gate waits at that step."""
        if gate is not None:
            self.gate(f"steer-{name}", gate)
        path = self.home / f"{name}.toml"
        said = "".join(f"{key} = {json.dumps(value)}\n" for key, value in fake.items())
        path.write_text(
            f'out = "made/{name}.nafx"\nrecipe = "steer"\n[data]\ndry = "d.wav"\nwet = "w.wav"\n[fake]\n{said}'
        )
        return str(path)

    def gate(self, job: str, step: int | None) -> None:
        """Hold a job's trainer at this step, or let it go."""
        path = self.home / f"gate-{job}"
        if step is None:
            path.unlink(missing_ok=True)
            return
        path.with_suffix(".new").write_text(str(step))
        os.replace(path.with_suffix(".new"), path)

    def order(self, client, value) -> str:
        """Start a job; answers its id."""
        client.requests += 1
        reply = client.ask(protocol.Set("jobs.start", value, client.requests))
        assert not reply.error, reply.error
        return reply.value

    def began(self) -> list[dict]:
        return self.lines("trainer")


def job(client, id: str, *states: str, that=lambda job: True) -> Job:
    """A job as soon as it is in one of these states."""

    def there():
        found = [each for each in client.get("jobs") if each["id"] == id]
        made = msgspec.convert(found[0], Job) if found else None
        return made if made and (not states or made.state in states) and that(made) else None

    return wait(there, 120)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "home", RACKS)
    soundfile.write(tmp_path / "home" / "d.wav", np.zeros(4800, np.float32), 48000)
    shutil.copy(tmp_path / "home" / "d.wav", tmp_path / "home" / "w.wav")
    yield rig
    rig.stop()


def test_one_runs_and_the_others_wait_in_an_order_that_can_be_changed(rig):
    client = rig.start()
    first, second, third = (rig.order(client, rig.run(str(n), gate=2)) for n in (1, 2, 3))
    assert (first, second, third) == ("steer-1", "steer-2", "steer-3")
    assert client.set("jobs.move", f"{third} 1") == ""
    assert client.set("jobs.pause", second) == ""
    job(client, first, "running", that=lambda job: job.last and job.last.step == 2)
    assert [(each["id"], each["state"], each["place"]) for each in client.get("jobs")] == [
        (first, "running", 0), (third, "queued", 1), (second, "paused", 2)
    ]  # fmt: skip
    line = client.receive(JobLine) if not (told := [m for m in client.heard if isinstance(m, JobLine)]) else told[0]
    assert (line.id, line.record.step, line.record.esr, line.record.best) == (first, 1, 0.5, None)
    began = rig.began()[0]
    assert launched("x")[-2:] == ("19", "x") and began["session"] and began["job"] == first

    assert client.set("jobs.pause", first) == ""  # makes room for the next
    stuck = job(client, third, "running", that=lambda job: job.last and job.last.step == 2)
    assert stuck.warnings == ("the model plays upside down", "no better since step 1")
    assert not alive(rig.began()[0]["pid"])
    rig.gate(third, None)
    done = job(client, third, "done")
    assert done.place == -1 and done.esr == 0.02
    assert done.warnings == ("the model plays upside down",) and done.network == "Fake, 7 parameters"
    assert [each["step"] for each in client.get(f"jobs.{third}.history")] == [1, 2, 3, 4]
    assert json.loads(client.get(f"jobs.{third}.log").splitlines()[-1])["event"] == "done"
    assert (rig.home / "made" / "3.nafx").read_text() == Path(done.model).read_text(), "where its run file wants it"
    rig.gate(first, None)
    assert client.set("jobs.resume", {"id": first}) == "" and client.set("jobs.resume", second) == ""
    job(client, first, "done")
    rig.gate(second, None)
    job(client, second, "done")
    assert [each["job"] for each in rig.began()] == [first, third, first, second]
    assert [each["step"] for each in rig.began()] == [0, 0, 2, 0], "the first went on from its checkpoint"


def test_a_killed_trainer_goes_on_from_its_checkpoint_and_is_given_up_when_it_dies_of_what_it_does(rig):
    client = rig.start()
    id = rig.order(client, rig.run("1", gate=3, steps=6))
    job(client, id, "running", that=lambda job: job.last and job.last.step == 3)
    os.kill(rig.began()[0]["pid"], signal.SIGKILL)
    wait(lambda: len(rig.began()) == 2)
    rig.gate(id, None)
    done = job(client, id, "done")
    assert done.restarts == 1 and rig.began()[1]["step"] == 2
    steps = [each["step"] for each in client.get(f"jobs.{id}.history")]
    assert steps == [1, 2, 3, 4, 5, 6], "what was done twice counts once"

    deadly = rig.order(client, rig.run("2", steps=6, dies=[3, 1], every=2))
    failed = job(client, deadly, "failed")
    assert "killed again and again" in failed.note and failed.restarts == 3
    wrong = rig.order(client, rig.run("3", fails="w.wav: is silent; record it again"))
    assert job(client, wrong, "failed").note == "w.wav: is silent; record it again"
    assert job(client, wrong).restarts == 0 and len([x for x in rig.began() if x["job"] == wrong]) == 1


def test_jobs_survive_the_server_and_its_death(rig):
    client = rig.start()
    first = rig.order(client, rig.run("1", gate=3, steps=5))
    second = rig.order(client, rig.run("2", steps=2))
    assert client.set("jobs.listen", {"id": first, "slot": "gain"}) == ""
    job(client, first, "running", that=lambda job: job.last and job.last.step == 3)
    trainer = rig.began()[0]["pid"]
    rig.process.kill()
    rig.process.wait()
    wait(lambda: not alive(trainer))  # it does not train on without anybody

    client = rig.start()
    assert [(each["id"], each["slot"]) for each in client.get("jobs")] == [(first, "gain"), (second, "")]
    assert wait(lambda: rig.began()[1:])[0]["step"] == 2
    job(client, first, "running", that=lambda job: job.last and job.last.step == 3 and job.note == "")
    client.set("stop")
    rig.process.wait(10)
    assert not alive(rig.began()[1]["pid"])

    rig.gate(first, None)
    client = rig.start()
    assert job(client, first, "done").slot == "gain" and job(client, second, "done").esr == 0.02
    assert rig.began()[2]["step"] == 3, "a server that ends in peace has a checkpoint made first"
    assert rig.line(["finished5", "delay", "limiter"])


def test_checkpoints_are_heard_and_can_be_gone_back_to(rig):
    client = rig.start()
    id = rig.order(client, {"run": rig.run("1", gate=2, steps=8), "slot": "gain", "title": "comp"})
    rig.line(["trained2", "delay", "limiter"])
    run = (rig.home / "data" / "jobs" / id / "run.toml").read_text()
    assert "rate = 48000" in run, "it learns at the rack's rate"
    view = client.view(lambda view: view.slots[0].knobs and view.slots[0].knobs[0].name == "c1")
    assert view.slots[0].type == "model" and view.xy == ("gain.c1", "gain.c2") and view.undo == 1
    assert client.set("gain.c1", 0.75) == ""
    rig.gate(id, 4)
    rig.line(["trained4", "delay", "limiter"])
    assert client.get("gain.c1") == 0.75, "the knob stays where the hand put it"
    assert client.get("undo") == 2, "a new checkpoint is no step to be undone"
    targets = [x for x in rig.lines("workshop", "Build") if x["box"]["model"].endswith("0002.nafx")]
    assert targets[-1]["box"]["positions"] == [0.75, 0.5], "its knobs were known before it was read"

    assert client.set("jobs.undo_checkpoint", id) == ""
    rig.line(["trained2", "delay", "limiter"], after=len(rig.lines("engine", "Line")) - 1)
    rig.gate(id, 6)
    held = job(client, id, that=lambda job: len(job.checkpoints) == 3)
    assert held.playing == 1 and not held.following and client.get("gain.model").endswith("0001.nafx")
    assert "no earlier checkpoint" in client.set("jobs.undo_checkpoint", id)
    assert client.set("jobs.listen", {"id": id, "slot": "gain"}) == ""
    rig.line(["trained6", "delay", "limiter"])

    assert client.set("undo") == "" and client.get("gain.c1") == 0.5
    assert client.get("gain.model").endswith("0003.nafx"), "undoing a turned knob does not bring back an old checkpoint"
    assert client.set("jobs.stop", id) == ""
    stopped = job(client, id, "stopped")
    assert stopped.note.startswith("stopped by hand") and stopped.checkpoints[-1].words == "finished"
    rig.line(["finished6", "delay", "limiter"])
    assert "plays a model of steer-1" in client.set("jobs.remove", id)
    client.requests += 1
    saved = client.ask(protocol.Set("jobs.save", {"id": id, "name": "My comp"}, client.requests)).value
    assert saved == str(rig.home / "data" / "models" / "My-comp.nafx") == client.get("gain.model")
    assert client.set("jobs.remove", id) == "" and client.get("jobs") == []
    assert not (rig.home / "data" / "jobs" / id).exists()


def test_a_checkpoint_that_is_being_built_is_heard_before_a_newer_one(rig):
    client = rig.start()
    id = rig.order(client, {"run": rig.run("1", gate=2, steps=8), "slot": "gain"})
    rig.line(["trained2", "delay", "limiter"])
    (rig.home / "held").touch()
    rig.gate(id, 4)
    wait(lambda: client.get("gain.model").endswith("0002.nafx"))
    rig.gate(id, 6)
    job(client, id, that=lambda job: len(job.checkpoints) == 3)
    assert client.get("gain.model").endswith("0002.nafx")
    (rig.home / "held").unlink()
    rig.line(["trained4", "delay", "limiter"])
    rig.line(["trained6", "delay", "limiter"])


def test_rerolls_and_continuations_are_checkpoints_of_the_same_job(rig):
    client = rig.start()
    id = rig.order(client, {"run": rig.run("1", gate=2, steps=4), "slot": "gain"})
    rig.line(["trained2", "delay", "limiter"])
    assert client.set("jobs.reroll", {"id": id, "seed": 7}) == "", "it stops the training first"
    rig.line(["rolled7", "delay", "limiter"])
    rolled = job(client, id, "done")
    assert [each.words for each in rolled.checkpoints] == ["", "finished", "re-rolled, seed 7"]
    assert client.set("jobs.undo_checkpoint", id) == ""
    rig.line(["finished2", "delay", "limiter"])
    rig.gate(id, None)
    assert client.set("jobs.continue", {"id": id, "minutes": 2}) == ""
    longer = job(client, id, "done", that=lambda job: job.last.step == 6)
    assert [each["step"] for each in client.get(f"jobs.{id}.history")] == [1, 2, 3, 4, 5, 6]
    run = (rig.home / "data" / "jobs" / id / "run-3.toml").read_text()
    assert "seconds = 120" in run and 'start_from = "' in run and longer.following


def test_what_cannot_be_is_said_and_the_sound_goes_on(rig):
    client = rig.start()
    said = [
        ("jobs.start", "/nowhere/run.toml", "cannot be read"),
        ("jobs.start", {"recipe": "steer"}, "choose a dry and a wet recording"),
        ("jobs.start", {"recipe": "cook", "dry": "/a", "wet": "/b"}, "must be one of"),
        ("jobs.start", {"dry": "/nowhere.wav", "wet": "/b"}, "there is no such file"),
        ("jobs.start", {"spoon": 1}, "unknown field"),
        ("jobs.pause", "steer-9", "no such job; there are: none"),
        ("jobs.puase", "steer-9", "did you mean jobs.pause?"),
        ("jobs.check", {"dry": "/nowhere.wav"}, "there is no such file"),
        ("jobs.record_pair", {"what": "wet", "name": "x"}, "record the dry side first"),
    ]
    for key, value, words in said:
        assert words in client.set(key, value), key


def test_a_slot_that_goes_away_or_plays_something_else_is_left_alone(rig):
    client = rig.start()
    id = rig.order(client, {"run": rig.run("1", gate=2, steps=8), "slot": "gain"})
    rig.line(["trained2", "delay", "limiter"])
    assert client.set("slots.remove", "gain") == ""
    client.receive(protocol.Notice, lambda notice: "slot gain is gone; 1 goes on unheard" in notice.text)
    rig.gate(id, 4)
    assert job(client, id, "running", that=lambda job: len(job.checkpoints) == 2).playing == -1
    assert client.set("undo") == ""
    rig.line(["trained4", "delay", "limiter"])  # it is back, and hears the newest
    assert client.set("rack", "two") == ""
    rig.gate(id, 6)
    job(client, id, "running", that=lambda job: len(job.checkpoints) == 3)
    assert client.get("slots") == ["low_pass"]
    assert client.set("rack", "one") == ""
    rig.line(["trained6", "delay", "limiter"])

    os.rename(rig.home / "data" / "jobs" / id, rig.home / "elsewhere")  # the ground is taken away from under it
    rig.gate(id, None)
    assert job(client, id, "failed").note
    assert client.get("status")["audio"]["backend"] == "null"
    assert ROOT.is_dir()


def test_everything_can_be_done_from_the_command_line(rig, monkeypatch, capsys):
    monkeypatch.setenv("NAFX_RACK_HOME", str(rig.home))
    monkeypatch.chdir(rig.home)

    def jobs(*words: str, status: int = 0) -> str:
        assert main(["jobs", *words]) == status
        said = capsys.readouterr()
        return (said.err if status else said.out).strip()

    assert "no server is running" in jobs("list", status=1)
    client = rig.start()
    assert "there are no jobs" in jobs()
    rig.run("1", gate=2)
    assert jobs("start", "1.toml", "--slot", "gain", "--title", "my comp") == "steer-1"
    rig.line(["trained2", "delay", "limiter"])
    assert "my comp" in jobs("list") and "in gain" in jobs("list")
    assert json.loads(jobs("list", "--json"))[0]["checkpoints"][0]["step"] == 2
    assert "no such job" in jobs("pause", "steer-7", status=1)
    assert jobs("stop", "steer-1") == ""
    job(client, "steer-1", "stopped")
    shown = jobs("show", "steer-1")
    assert "warning      the model plays upside down" in shown and "finished  plays" in shown
    assert jobs("log", "steer-1").splitlines()[-1].startswith("done: ")
    assert jobs("save", "steer-1").endswith("models/my-comp.nafx")
    assert jobs("remove", "steer-1", "--json") == "null" and client.get("jobs") == []


def test_a_job_rests_while_the_sound_comes_late_but_for_what_would_be_late_anyway():
    calm, counters = Calm(), [0, 0]

    def looks(count: int, late_each: int, training: bool = True) -> list[bool]:
        answers = []
        for _ in range(count):
            counters[0], counters[1] = counters[0] + 750, counters[1] + late_each
            answers.append(calm.look(*counters, training))
        return answers

    assert not any(looks(20, 1)), "one late block of 750 is no reason"
    rests = looks(3, 30)
    assert rests[-1] and calm.why.startswith("paused while late blocks rise: ")
    assert looks(2, 0)[-1] and not any(looks(40, 0)[20:]), "it goes on after a while"
    assert any(looks(3, 30)) and not looks(60, 0)[-1]
    looks(90, 30, training=False)
    calm.begin()
    assert not any(looks(60, 60)), "the machine is late without it, too"
    assert any(looks(12, 120)), "but it makes that worse"
    counters[:] = [0, 0]
    calm.begin()
    assert not any(looks(3, 0)), "a new stream counts from nothing"


def test_late_blocks_put_the_trainer_to_rest_and_calm_ones_wake_it(rig):
    client = rig.start()
    id = rig.order(client, rig.run("1", gate=3, steps=5))
    job(client, id, "running", that=lambda job: job.last and job.last.step == 3)
    (rig.home / "late").touch()
    rested = job(client, id, "paused")
    assert rested.auto_paused and rested.note.startswith("paused while late blocks rise") and rested.place == 0
    assert client.get("jobs")[0]["restarts"] == 0 and alive(rig.began()[0]["pid"]), "its process waits"
    assert client.set("jobs.resume", id) == "", "a hand is stronger"
    rig.gate(id, None)
    (rig.home / "late").unlink()
    assert len(rig.began()) == 1 and job(client, id, "done")
