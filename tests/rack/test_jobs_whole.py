"""A training job with the real trainer, workshop and engine: what it wrote last is what its slot plays."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rack import connect

from . import test_whole
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
checkpoint_every = 0.5
learning_rate = 3e-6
rise = 0.0
batch = 2
segment = 1024
chunk = 512
warm_up = 100
"""

# On a machine that tests keep busy a polite trainer would wait for ever: this one is not, and nothing makes it rest. On
# one core nothing waits for another.
SERVER = """
from rack.server import __main__, calm, trainee
trainee.NICE, trainee.own_cores, calm.LEAST = 0, lambda: [0], 1 << 60
__main__.main([])
"""


def test_a_slot_plays_what_a_job_learns_through_a_kill_of_its_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    monkeypatch.setenv("NAFX_RACK_SERVER", shlex.join([sys.executable, "-c", SERVER]))
    monkeypatch.setattr(test_whole, "PATIENCE_S", 300)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "racks.toml").write_text(RACKS)
    (tmp_path / "run.toml").write_text(RUN)
    dry = np.random.default_rng(0).normal(0, 0.1, 2 * 48000).astype(np.float32)
    soundfile.write(tmp_path / "dry.wav", dry, 48000, subtype="FLOAT")
    soundfile.write(tmp_path / "wet.wav", np.tanh(3 * dry), 48000, subtype="FLOAT")
    with connect.start() as rack:
        try:
            id = rack.set("jobs.start", {"run": str(tmp_path / "run.toml"), "slot": "gain", "title": "fuzz"})
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
        finally:
            connect.stop()


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
