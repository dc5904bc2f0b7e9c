"""The server with fake children: what clients see, what the children are told, and that nothing kills it but stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess

import numpy as np
import pytest
import soundfile

from rack import protocol
from rack.server.clients import LONGEST_BACKLOG, Client, peer_user
from rack.server.launch import main as launch

from .running import Running, alive, wait

pytestmark = pytest.mark.engine

RACKS = """\
# these are mine
rack = "one"
[source]
kind = "file"
path = "loop.wav"
[racks.one]
channels = 1
xy = { x = "delay.time", y = "gain.gain" }
[[racks.one.slots]]
type = "gain"   # loud
[[racks.one.slots]]
type = "delay"
[racks.two]
[[racks.two.slots]]
type = "low_pass"
knobs = { cutoff = 99 }
[[racks.two.slots]]
type = "nonsense"
"""


@pytest.fixture
def running(tmp_path):
    running = Running(tmp_path / "home", RACKS)
    ramp = np.linspace(-0.5, 0.5, 4800, dtype=np.float32)
    soundfile.write(running.racks.parent / "loop.wav", ramp, 48000, subtype="FLOAT")
    yield running
    running.stop()


def test_clients_attach_turn_and_see_each_other(running):
    one = running.start()
    assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(running.socket.parent.stat().st_mode) == 0o700
    two = running.attach()
    assert two.get("slots") == ["gain", "delay"] and two.get("delay.time") == 350.0
    assert one.set("gain.gain", "12 dB", gesture=1) == ""
    assert two.receive(protocol.Turned) == protocol.Turned(two.heard[-1].sequence, "gain.gain", 12.0)
    assert two.view().undo == 1
    assert one.set("gain.gain", 24.0, gesture=1) == ""
    turned = two.receive(protocol.Turned)
    assert (turned.key, turned.value) == ("gain.gain", 24.0)
    assert one.set("gain.gain", 99) == "gain.gain = 99: must be a number from -24 to 24 dB"
    assert two.set("gain.gian", 9) == "gain.gian: no such key; did you mean gain.gain?"
    two.send(protocol.Set("gain.gain", "much"))
    assert "must be a number" in two.receive(protocol.Notice, lambda notice: notice.level == "error").text
    sequences = [m.sequence for m in two.heard if isinstance(m, protocol.Turned | protocol.Snapshot)]
    assert sequences == sorted(sequences)

    two.send(protocol.Subscribe(50, scope=True))
    two.receive(protocol.Telemetry, lambda t: t.slots_db[0] == 0.0)  # the fake engine shows the knob as a peak
    telemetry = two.receive(protocol.Telemetry, lambda t: t.blocks > 20 and t.output_db[0] > -7)
    assert len(telemetry.scope_out) == len(telemetry.scope_in) == 4 * 960 and telemetry.load > 0
    assert one.set("gain.bypass", "on") == ""
    two.receive(protocol.Telemetry, lambda t: t.slots_db[0] < -1)
    assert one.set("undo") == one.set("undo") == "" and one.get("gain.gain") == 0.0
    assert one.set("xy", [1.0, 0.25]) == "" and one.get("gain.gain") == -12.0 and one.get("delay.time") == 2000.0
    assert two.set("save", "") == "" and "# loud" in running.racks.read_text()
    assert "gain = -12.0" in running.racks.read_text()
    assert running.lines("engine", "Line")[-1]["slots"] == running.lines("engine", "Line")[0]["slots"], "knobs only"


def test_structural_edits_keep_rows_and_end_in_the_limiter(running):
    client = running.start()
    before = running.line(["gain", "delay", "limiter"])
    assert running.line(["gain", "delay", "limiter"], fused=True)["slots"] == before["slots"]
    assert client.set("slots.add", "drive 1") == ""
    assert [slot.status for slot in client.ready().slots] == ["ready"] * 3
    after = running.line(["gain", "drive", "delay", "limiter"])
    assert [after["slots"][i] for i in (0, 2, 3)] == before["slots"], "who stays keeps row and state"
    assert after["slots"][1]["row"] not in [slot["row"] for slot in before["slots"]]
    assert client.set("slots.move", "drive 0") == client.set("slots.remove", "gain") == ""
    running.line(["drive", "delay", "limiter"], fused=True)
    assert client.set("slots.add", "cab 0") == ""
    cab = running.line(["cab", "drive", "delay", "limiter"])["slots"][0]
    assert cab["row"] == before["slots"][0]["row"] and cab["generation"] > after["slots"][1]["generation"]
    builds = [line["box"]["type"] for line in running.lines("workshop", "Build")]
    assert sorted(builds) == ["cab", "delay", "drive", "gain", "limiter"], "nothing is built twice"
    assert client.set("audio.block", "128") == client.set("bypass", True) == ""
    wait(lambda: running.lines("engine", "Stream")[1:])
    assert running.lines("engine", "Stream")[-1]["block"] == 128
    running.line(["cab", "drive", "delay", "limiter"], fused=True, after=len(running.lines("engine", "Line")) - 1)
    assert all(slot["program"].endswith("-128") for slot in running.lines("engine", "Line")[-1]["slots"])


def test_what_cannot_be_built_is_left_out_and_said(running):
    client = running.start("--rack", "two")
    view = running.attach().get("status")
    assert [slot["status"] for slot in view["slots"]] == ["ready", "failed"]
    assert "no such box" in view["slots"][1]["error"] and "racks.toml:18" in view["problems"][0]
    running.line(["low_pass", "limiter"])
    good, bad = running.racks.parent / "good.json", running.racks.parent / "bad.json"
    good.write_text(json.dumps({"knobs": ["bite", "Deep End"]}))
    bad.write_text(json.dumps({"error": "bad.json: is no model; export it again"}))
    assert client.set("slots.add", {"type": "model", "model": str(good), "index": 0}) == ""
    assert [knob.name for knob in client.ready().slots[0].knobs] == ["bite", "Deep End"]
    assert client.set("good.Deep End", "25%") == "" and client.get("good.Deep End") == 0.25
    running.line(["model", "low_pass", "limiter"])
    assert client.set("good.model.step", 1) == ""
    failed = client.view(lambda view: view.slots[0].status == "failed").slots[0]
    assert failed.error == "bad.json: is no model; export it again"
    assert any("bad.json" in m.text for m in client.heard if isinstance(m, protocol.Notice))
    lines = len(running.lines("engine", "Line"))
    bad.write_text(json.dumps({"knobs": ["bite"]}))
    assert client.set("good.model", str(bad)) == ""  # the same again, as the file has been put right
    assert client.ready().slots[0].status == "ready"
    running.line(["model", "low_pass", "limiter"], after=lines)


def test_a_killed_engine_is_back_with_the_same_row(running):
    client = running.start()
    before = running.line(["gain", "delay", "limiter"], fused=True)
    client.set("gain.gain", 24)
    pid = running.pid("engine")
    os.kill(pid, signal.SIGKILL)
    assert "killed by SIGKILL" in client.receive(protocol.Notice, lambda n: n.level == "error").text
    after = running.line(["gain", "delay", "limiter"], fused=True, after=len(running.lines("engine", "Line")))
    assert running.pid("engine") != pid
    assert after["slots"] == before["slots"]
    client.ready()
    client.send(protocol.Subscribe(50))
    client.receive(protocol.Telemetry, lambda t: t.slots_db[0] == 0.0)
    assert len(running.lines("workshop", "Build")) == 3


def test_a_killed_workshop_gets_its_orders_again(running):
    running.environment["NAFX_FAKE_DELAY"] = "0.4"
    client = running.start()
    assert client.set("slots.add", "cab") == ""
    wait(lambda: [o for o in running.lines("workshop", "Build") if o["box"]["type"] == "cab"])
    os.kill(running.pid("workshop"), signal.SIGKILL)
    assert "the sound goes on" in client.receive(protocol.Notice, lambda n: "workshop" in n.text).text
    assert client.ready().slots[-1].type == "cab"
    running.line(["gain", "delay", "cab", "limiter"])
    assert len({line["pid"] for line in running.lines("engine")}) == 1


def test_a_model_that_kills_the_workshop_is_left_out_and_the_rest_plays(running):
    client = running.start()
    (running.racks.parent / "deadly.json").write_text(json.dumps({"kills": True}))
    assert client.set("slots.add", f"model {running.racks.parent / 'deadly.json'} 0") == ""
    assert client.set("slots.add", "cab") == ""
    view = client.view(lambda view: all(slot.status != "building" for slot in view.slots))
    assert [slot.status for slot in view.slots] == ["failed", "ready", "ready", "ready"]
    assert "ends the workshop" in view.slots[0].error
    running.line(["gain", "delay", "cab", "limiter"], fused=True)


def test_a_killed_server_takes_its_children_along_and_comes_back_as_it_was(running):
    client = running.start()
    client.set("gain.gain", 7, gesture=1)
    client.set("slots.add", "drive")
    client.set("mute", "on")
    client.set("rack", "two")
    client.set("low_pass.q", 0.3)
    client.set("rack", "one")
    client.set("drive.settings.seed", 7)
    journal = running.home / "state" / "state.json"
    wait(lambda: journal.exists() and '"seed": 7' in journal.read_text())
    children = [running.pid("engine"), running.pid("workshop")]
    running.process.kill()
    running.process.wait()  # else the next client may still reach its socket
    wait(lambda: not any(map(alive, children)))
    assert running.socket.exists(), "a killed server cannot tidy up"
    client = running.start()
    assert client.get("slots") == ["gain", "delay", "drive"] and client.get("gain.gain") == 7.0
    assert client.get("drive.seed") == 7 and client.get("mute") is True
    assert client.set("rack", "two") == "" and client.get("low_pass.q") == 0.3
    client.set("undo")
    running.line(["gain", "delay", "drive", "limiter"])


def test_a_journal_that_cannot_be_read_is_set_aside(running):
    folder = running.home / "state"
    folder.mkdir()
    (folder / "state.json").write_text('{"version": 1, "rack": 3')
    client = running.start()
    assert "cannot be understood" in client.heard[1].text and client.get("slots") == ["gain", "delay"]
    (aside,) = folder.glob("state-*.unreadable")
    assert aside.read_text() == '{"version": 1, "rack": 3'


def test_a_second_server_is_refused_and_the_first_lives(running):
    client = running.start()
    second = subprocess.run(
        running.process.args,
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = f"a server is running already (process {running.process.pid}); nafx-rack attaches to it\n"
    assert (second.returncode, second.stderr) == (3, said)
    assert client.get("rack") == "one"


def test_clients_that_misbehave_hurt_nobody(running):
    client = running.start()
    old = running.attach(ready=False, version="0.0.0")
    assert "this server is of version" in old.receive(protocol.Notice).text
    with pytest.raises(EOFError):
        old.receive(protocol.Snapshot)
    for junk in (b"\xff" * 64, b"\x00\x00\x00\x02hi", b"\x00\x00", protocol.frame(protocol.Took(1))):
        bad = running.attach(ready=False)
        bad.view()
        bad.socket.sendall(junk)
        bad.close()
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.connect(str(running.socket))
    deaf = running.attach(ready=False)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.send(protocol.Subscribe(60, scope=True))
    for n in range(100):
        assert client.set("gain.gain", n % 24) == ""
    client.send(protocol.Subscribe(60))
    client.receive(protocol.Telemetry)
    for odd in (float("nan"), float("inf"), -1.0, 1e-300):
        client.send(protocol.Subscribe(odd))
    assert client.set("gain.gain", {"a": [1, 2]}) != "" and client.set("x" * 1000, None) != ""
    assert client.get("gain.gain") == 99 % 24
    silent.close()


def test_a_client_that_never_reads_is_dropped():
    class Transport:
        aborted, size = False, 0

        def get_write_buffer_size(self):
            return self.size

        def abort(self):
            self.aborted = True

    class Writer:
        transport = Transport()

        def is_closing(self):
            return self.transport.aborted

        def write(self, data):
            self.transport.size += len(data)

    client = Client(1, Writer(), "ui")
    assert client.keeping_up
    for _ in range(LONGEST_BACKLOG // 1000):
        client.put(bytes(1000))
    assert not client.keeping_up and not client.writer.transport.aborted
    client.put(bytes(1000))
    assert client.writer.transport.aborted and not client.keeping_up


def test_who_is_at_the_other_end():
    ours, theirs = socket.socketpair()
    assert peer_user(ours) == os.getuid()
    ours.close()
    theirs.close()


def test_a_child_whose_parent_is_gone_does_not_start(monkeypatch):
    monkeypatch.setattr("sys.argv", ["launch.py", str(os.getppid() + 1), "0", "false"])
    monkeypatch.setattr("ctypes.CDLL", lambda name: type("C", (), {"prctl": lambda *args: 0})())
    with pytest.raises(SystemExit):
        launch()


@pytest.mark.parametrize("how", ["stop", signal.SIGTERM, signal.SIGINT])
def test_stop_leaves_nothing_behind(running, how):
    client = running.start()
    children = [running.pid("engine"), running.pid("workshop")]
    os.kill(running.process.pid, signal.SIGHUP)
    assert client.set("slots.add", "cab") == ""
    if how == "stop":
        assert client.set("stop") == ""
    else:
        os.kill(running.process.pid, how)
    assert running.process.wait(10) == 0
    assert not any(map(alive, children)) and not running.socket.exists()
    assert running.lines("engine")[-1]["said"] == "Quit"
    assert running.start().get("slots") == ["gain", "delay", "cab"]


def test_the_output_is_recorded_and_the_source_begins_at_its_first_frame(running):
    client = running.start()
    path = running.home / "take"
    assert client.set("source", "input") == "" and client.set("record", str(path)) == ""
    assert client.set("source", f"file:{running.racks.parent / 'loop.wav'}") == ""
    client.send(protocol.Subscribe(50))
    client.receive(protocol.Telemetry, lambda t: t.recorded_s > 0.3)
    assert "already recording" in client.set("record", "/tmp/other.wav")
    assert client.set("record", "off") == ""
    sound, rate = soundfile.read(f"{path}.wav", dtype="float32")
    assert rate == 48000 and sound.ndim == 1, "a mono rack"
    ramp = np.linspace(-0.5, 0.5, 4800, dtype=np.float32)
    np.testing.assert_array_equal(sound[:9600], np.tile(ramp, 2))
    assert "cannot be written: File exists" in client.set("record", str(path))
    assert "is no sound file" in client.set("source", f"file:{running.racks}")
    assert client.get("record") is False and client.get("source").endswith("loop.wav")


def test_a_racks_toml_that_cannot_be_read_is_never_overwritten(running):
    running.racks.write_text("[racks.one\n")
    client = running.start()
    assert any("racks.toml:1" in problem for problem in client.get("status")["problems"])
    assert "racks.toml:1" in client.set("save", "mine") and running.racks.read_text() == "[racks.one\n"
