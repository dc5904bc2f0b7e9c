"""A pair recorded through a device: played out while the rack is silent, looked at, given up, and what goes wrong."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from rack.config import Audio, SourceChoice
from rack.server import pairs
from rack.server.jobfiles import JobError
from rack.server.pairs import Pairs

PLAYS = """
import json, pathlib, shutil, sys
folder, signal = pathlib.Path(sys.argv[1]), sys.argv[sys.argv.index("--signal") + 1]
folder.mkdir(parents=True, exist_ok=True)
for name in ("dry", "wet"):
    shutil.copy(signal, folder / f"{name}.wav")
print(json.dumps({"latency": 300}))
"""
FAILS = "import sys; sys.exit('nafx-rack: cannot open hw:0: it is in use; close the other program')"
HANGS = "import time; time.sleep(600)"


class Rack:
    """What `Pairs` needs of a server."""

    def __init__(self, source: Path):
        self.state = SimpleNamespace(
            mute=False, audio=Audio(), source=SourceChoice("file", str(source)), recording="", bypass=False
        )
        self.changed: list[tuple[str, Any]] = []
        self.said: list[str] = []
        self.pairs = Pairs(lambda: self.state, self.set, lambda level, text: self.said.append(f"{level}: {text}"))

    async def set(self, key: str, value: Any, gesture: tuple = ()) -> None:
        self.changed.append((key, value))
        if key == "record":
            self.state.recording = value

    async def looked(self) -> dict[str, str]:
        """The pair, as soon as there is one."""
        while not (found := await self.pairs.record({"what": "look"}))["wet"]:
            await asyncio.sleep(0.02)
        return found


@pytest.fixture
def rack(tmp_path, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path / "home"))
    (tmp_path / "riff.wav").write_bytes(b"a riff")
    return Rack(tmp_path / "riff.wav")


def device(monkeypatch, script: str) -> None:
    monkeypatch.setattr(pairs, "CAPTURE", (sys.executable, "-c", script))


async def test_the_source_is_played_out_while_the_rack_is_silent(rack, monkeypatch):
    device(monkeypatch, PLAYS)
    assert (await rack.pairs.record({"what": "look"}))["wet"] == "", "nothing was begun"
    begun = await rack.pairs.record({"what": "both", "name": "my pedal"})
    assert begun["signal"] == rack.state.source.path
    found = await asyncio.wait_for(rack.looked(), 60)
    assert found == {side: begun[side] for side in ("dry", "wet")}
    assert Path(found["wet"]).read_bytes() == b"a riff" and "my-pedal" in found["wet"]
    assert rack.changed == [("mute", True), ("mute", False)]
    assert rack.said[-1].endswith("dry.wav and wet.wav are ready to learn from")


async def test_a_device_that_cannot_be_opened_is_said_to_be(rack, monkeypatch):
    device(monkeypatch, FAILS)
    await rack.pairs.record({"what": "both"})
    with pytest.raises(JobError, match="no pair was recorded: cannot open hw:0: it is in use"):
        await asyncio.wait_for(rack.looked(), 60)
    assert rack.changed[-1] == ("mute", False)


async def test_a_recording_that_is_given_up_leaves_the_rack_as_it_was(rack, monkeypatch):
    device(monkeypatch, HANGS)
    await rack.pairs.record({"what": "both"})
    await asyncio.sleep(0)
    with pytest.raises(JobError, match="a pair is being recorded already"):
        await rack.pairs.record({"what": "both"})
    assert await asyncio.wait_for(rack.pairs.record({"what": "stop"}), 60) == {"dry": "", "wet": ""}
    assert rack.changed == [("mute", True), ("mute", False)]
    assert (await rack.pairs.record({"what": "look"}))["wet"] == ""


async def test_after_a_take_of_ones_own_the_rack_plays_what_it_played_before(rack):
    begun = await rack.pairs.record({"what": "dry", "name": "take"})
    assert rack.changed == [("source", "input"), ("bypass", True), ("record", begun["dry"])]
    soundfile.write(begun["dry"], np.sin(np.arange(4800) / 20), 48000)
    rack.changed.clear()
    assert await rack.pairs.record({"what": "stop"}) == {"dry": begun["dry"], "wet": ""}
    after = [("record", False), ("bypass", False), ("source", f"file:{rack.state.source.path}")]
    assert rack.changed == after
