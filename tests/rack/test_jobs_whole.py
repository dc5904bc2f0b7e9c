"""A training job with the real trainer, workshop and engine: its slot plays what it wrote last, whatever is killed."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rack import connect

from . import test_whole
from .harness import alive
from .test_whole import playing, until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

RACKS = """
rack = "one"
[audio]
backend = "null"
[racks.one]
channels = 1
[[racks.one.slots]]
type = "gain"
[[racks.one.slots]]
type = "level"
"""
# On a busy machine the rack takes minutes to be ready: the run gets better all the time, and its curve stays whole.
RUN = """
out = "made.nafx"
[data]
dry = "dry.wav"
wet = "wet.wav"
delay = 0
[network]
hidden = 2
[schedule]
steps = 1000000
seconds = 0
validate_every = 50
checkpoint_every = 4.0
learning_rate = 3e-6
rise = 0.0
batch = 2
segment = 1024
chunk = 512
warm_up = 100
"""

# On a machine that tests keep busy a polite trainer would wait for ever: this one is not, and nothing makes it rest. It
# keeps to the cores that the tests may use.
SERVER = """
import os
from rack.server import __main__, calm, trainee
trainee.NICE, trainee.own_cores, calm.LEAST = 0, lambda: sorted(os.sched_getaffinity(0)), 1 << 60
__main__.main([])
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's folders, and a run file that learns a soft clipper."""
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    monkeypatch.setenv("NAFX_RACK_SERVER", shlex.join([sys.executable, "-c", SERVER]))
    monkeypatch.setattr(test_whole, "PATIENCE_S", 300)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "racks.toml").write_text(RACKS)
    (tmp_path / "run.toml").write_text(RUN)
    dry = np.random.default_rng(0).normal(0, 0.1, 2 * 48000).astype(np.float32)
    soundfile.write(tmp_path / "dry.wav", dry, 48000, subtype="FLOAT")
    soundfile.write(tmp_path / "wet.wav", np.tanh(3 * dry), 48000, subtype="FLOAT")
    yield tmp_path
    connect.stop()


def test_a_slot_plays_what_a_job_learns_through_a_kill_of_its_trainer(home):
    with connect.start() as rack:
        id = rack.set("jobs.start", {"run": str(home / "run.toml"), "slot": "gain", "title": "fuzz"})
        first = until(lambda: rack.get(f"jobs.{id}")["checkpoints"], "a checkpoint")
        until(lambda: rack.get("gain")["type"] == "model", "the slot takes it")
        os.kill(_trainer(id), signal.SIGKILL)
        until(lambda: rack.get(f"jobs.{id}")["restarts"], "another trainer")
        after = rack.get(f"jobs.{id}")["checkpoints"][-1]["number"]
        until(lambda: rack.get(f"jobs.{id}")["checkpoints"][-1]["number"] > max(after, first[-1]["number"]), "more")
        until(lambda: len(rack.get(f"jobs.{id}.history")) > 1, "a curve")
        rack.set("jobs.pause", id)  # its end would take half a minute of looking the model over
        until(lambda: '"paused"' in rack.get(f"jobs.{id}.log"), "the trainer rests")
        job = rack.get(f"jobs.{id}")
        assert (job["state"], job["kind"], job["restarts"]) == ("paused", "capture", 1), job["note"]
        until(lambda: rack.get("gain.model") == job["checkpoints"][-1]["path"], "the slot takes the last one")
        assert Path(rack.get("gain.model")).read_bytes() == Path(job["model"]).read_bytes()
        slot = until(lambda: _ready(rack.get("gain")), "the last one plays")
        assert slot["sample_rate"] == 48000 and slot["settings"]["level"] == "matched"
        assert until(lambda: playing(rack), "sound")["errors"] == 0
        steps = [each["step"] for each in rack.get(f"jobs.{id}.history")]
        assert steps == sorted(set(steps)) and len(steps) > 1
        spectrum = rack.get(f"jobs.{id}.spectrum")
        assert len(spectrum["hz"]) == len(spectrum["model_db"]) == 40 and spectrum["step"] in steps
        assert rack.get(f"jobs.{id}.pair")["rate"] == 48000


def test_when_all_processes_are_killed_at_once_the_next_start_has_rack_examples_and_the_best_checkpoint(home):
    with connect.start() as rack:
        for place, level_db in ((0.0, -20.0), (1.0, -6.0)):
            rack.set("superknob", place)
            rack.set("level.level", level_db)
            rack.set("superknob.add", f"at {place:.0f}")
        id = rack.set("jobs.start", {"run": str(home / "run.toml"), "slot": "gain", "title": "fuzz"})
        until(lambda: len(rack.get(f"jobs.{id}")["checkpoints"]) >= 2, "two checkpoints")
        until(lambda: rack.get(f"jobs.{id}")["playing"] >= 2, "the slot follows")
        before = rack.get(f"jobs.{id}")
        time.sleep(0.5)  # the journal is written within a tenth of a second
    ours = _processes(f"NAFX_RACK_HOME={home}")
    assert len(ours) >= 4, "server, engine, workshop and trainer"
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(alive, ours)), "nobody is left")
    with connect.start() as rack:
        assert rack.get("level.level") == -6.0
        assert [each["name"] for each in rack.get("superknob.status")["examples"]] == ["at 0", "at 1"]
        after = rack.get(f"jobs.{id}")
        assert (after["title"], after["slot"]) == ("fuzz", "gain") and after["state"] in ("queued", "running")
        numbers = [[each["number"] for each in job["checkpoints"]] for job in (before, after)]
        assert numbers[1][: len(numbers[0])] == numbers[0] and after["last"]["step"] >= before["last"]["step"]
        assert rack.get("gain.model") in [each["path"] for each in after["checkpoints"]]
        assert all(Path(each["path"]).is_file() for each in after["checkpoints"]), "the best is among them"
        until(lambda: rack.telemetry().output_db[0] > -60, "the rack is heard again")
        until(lambda: rack.get(f"jobs.{id}")["checkpoints"][-1]["number"] > numbers[1][-1], "it learns on")
        said = (home / "data" / "jobs" / id / "log.jsonl").read_text()  # all of it, not only what is shown
        assert '"resumed":true' in said and rack.get(f"jobs.{id}")["state"] == "running"
        steps = [each["step"] for each in rack.get(f"jobs.{id}.history")]
        assert steps == sorted(set(steps)) and steps[0] == 50, "the curve goes on where it was"


def _processes(said: str) -> list[int]:
    """The processes with this in their environment, but not this one."""
    found = [path for path in Path("/proc").glob("[0-9]*/environ") if said.encode() in _read(path).split(b"\0")]
    return [pid for path in found if (pid := int(path.parent.name)) != os.getpid()]


def _trainer(id: str) -> int:
    """The process that trains this job."""
    named = [path for path in Path("/proc").glob("[0-9]*/cmdline") if f"/{id}/run.toml".encode() in _read(path)]
    return int(named[0].parent.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _ready(slot: dict) -> dict | None:
    return slot if slot["status"] == "ready" and slot["sample_rate"] else None
