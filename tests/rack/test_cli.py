"""The command line, end to end against a server with fake children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import types

import pytest

from rack import cli, commands, connect, doctor, paths
from rack.protocol import AudioView, SlotView, Telemetry, View
from rack.report import status, value

from .running import ROOT, alive, wait

pytestmark = pytest.mark.engine

RACKS = """\
[audio]
backend = "null"
[source]
kind = "input"
[racks.one]
[[racks.one.slots]]
type = "gain"
[[racks.one.slots]]
type = "delay"
[racks.two]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of its own, with racks; whatever server was started in it is ended."""
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    (home / "config" / "racks.toml").write_text(RACKS)
    monkeypatch.setenv("NAFX_RACK_HOME", str(home))
    monkeypatch.setenv("NAFX_RACK_SERVER", f"{sys.executable} -m tests.rack.fakes server")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(doctor, "sound_hint", lambda: "")
    yield home
    connect.stop()


@pytest.fixture
def run(home, capsys):
    """Run a command; answers its exit status and what it printed, errors apart."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as error:
            code = error.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out.rstrip("\n"), err.rstrip("\n")

    return run


class Process:
    """A command in a process of its own; what it prints is read as it comes."""

    def __init__(self, *arguments: str):
        command = [sys.executable, "-m", "rack.cli", *arguments]
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background were told to ignore it
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, before)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))

    def end(self, signal_number: int | None = None) -> tuple[int, str]:
        """Its exit status and what it said on stderr."""
        if signal_number:
            self.popen.send_signal(signal_number)
        try:
            self.popen.wait(20)
        finally:
            self.popen.kill()
        self._thread.join(5)
        error = self.popen.stderr.read()
        self.popen.stdout.close()
        self.popen.stderr.close()
        return self.popen.returncode, error


def test_the_start_imports_nothing_slow():
    code = "import rack.cli, rack.connect, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    slow = {"jax", "flax", "jaxmodels", "trainer", "textual", "numpy", "soundfile", "tomlkit", "sounddevice"}
    assert not slow & set(loaded.split())


def test_without_a_server(run):
    for command in (["status"], ["get", "rack"], ["set", "mute", "on"], ["watch"]):
        assert run(*command) == (1, "", "nafx-rack: no server is running; nafx-rack starts one")
    assert run("stop") == (0, "no server is running", "")


def test_a_life(run, home, tmp_path, monkeypatch):
    assert run("start", "--rack", "two") == (0, "", "starting the server")
    assert run("get", "rack") == (0, "two", "") and run("start", "--rack", "one")[0] == 0
    assert run("get", "slots") == (0, "gain\ndelay", "") and "gain.gain" in run("get")[1].split("\n")
    wait(lambda: "audio      null" in (said := run("status")[1]) and "delay      ready" in said)
    whole = json.loads(run("status", "--json")[1])
    assert whole["rack"] == "one" and whole["slots"][1]["values"][0] == 350.0 and whole["telemetry"]["blocks"] >= 0
    wait((home / "workshop.jsonl").exists)
    pid, children = whole["server"]["pid"], [json.loads((home / "workshop.jsonl").read_text().split("\n")[0])["pid"]]
    assert alive(pid) and os.getsid(pid) == pid, "a session of its own"
    assert "rack       one (stereo, A)" in run("status")[1]

    assert run("set", "gain.gain", "-3.5dB") == (0, "", "") and run("get", "gain.gain") == (0, "-3.5", "")
    assert run("set", "delay.time", "0.5", "s")[0] == 0 and run("get", "delay.time", "--json") == (0, "500.0", "")
    assert run("set", "delay.ping_pong", "on")[0] == 0 and run("get", "delay.ping_pong") == (0, "on", "")
    assert run("set", "slots.add", "drive", "0")[0] == 0 and run("set", "undo")[0] == 0
    assert run("get", "slots")[1] == "gain\ndelay" and run("set", "redo")[0] == 0
    assert run("set", "xy.x", "gain.gain")[0] == 0 and run("set", "xy", "0.5", "0.5")[0] == 0
    assert json.loads(run("get", "audio")[1])["rate"] == 48000
    said = 'nafx-rack: gain.gain = "99": must be a number from -24 to 24 dB'
    assert run("set", "gain.gain", "99") == (1, "", said)
    assert run("set", "gain.gian", "1") == (1, "", "nafx-rack: gain.gian: no such key; did you mean gain.gain?")
    assert run("get", "nothing")[0] == 1

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my amp.json").write_text('{"knobs": ["bite"]}')
    assert run("set", "slots.add", "model", "my amp.json", "0")[0] == 0
    assert run("get", "model.model") == (0, str(tmp_path / "my amp.json"), "")
    wait(lambda: run("set", "model.bite", "0.25")[0] == 0)
    assert run("set", "record", "take")[0] == 0 and run("get", "record")[1] == str(tmp_path / "take.wav")
    assert run("set", "record", "off")[0] == 0 and (tmp_path / "take.wav").stat().st_size >= 58
    assert run("set", "save", "three")[0] == 0 and "[racks.three]" in (home / "config" / "racks.toml").read_text()
    assert run("stop") == (0, "stopped", "")
    assert not any(map(alive, [pid, *children])) and not paths.socket_path().exists()


def test_watch_prints_changes_until_it_is_interrupted_or_the_server_ends(run):
    run("start")
    watching, metered = Process("watch", "--json"), Process("watch", "--meters", "--rate", "20")

    def seen() -> bool:
        run("set", "bypass", "toggle")
        return bool(watching.lines and metered.lines)

    wait(seen)
    run("set", "gain.gain", "7")
    run("set", "slots.remove", "delay")
    for key, new in (("slots", '["gain"]'), ("gain.gain", "7.0"), ("delay.time", "null")):
        wait(lambda line=f'{{"key": "{key}", "value": {new}}}': line in watching.lines)
    wait(lambda: any(line.startswith("meters in ") for line in metered.lines))
    wait(lambda: "slots gain" in metered.lines and "delay.time (gone)" in metered.lines)
    code, error = watching.end(signal.SIGINT)
    assert code == 130 and "Traceback" not in error
    run("stop")
    assert metered.end() == (1, "nafx-rack: the server ended\n")


def test_watch_ends_quietly_when_nobody_reads(run):
    run("start")
    shell = f"{sys.executable} -m rack.cli watch --meters --rate 30 | head -n 2"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 2


def test_many_starts_make_one_server(home):
    started = [Process("start") for _ in range(3)]
    assert [p.end()[0] for p in started] == [0, 0, 0]
    assert (home / "state" / "server.log").read_text().count("begins") == 1


def test_a_server_that_cannot_start_says_why(run, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_SERVER", f"{sys.executable} -c 'import sys; sys.exit(\"no luck today\")'")
    assert run("start") == (1, "", "starting the server\nnafx-rack: the server cannot start: no luck today")
    monkeypatch.setenv("NAFX_RACK_SERVER", "/nowhere/server")
    assert "the server cannot start: /nowhere/server: No such file" in run("start")[2]
    with monkeypatch.context() as other:
        other.setenv("NAFX_RACK_HOME", "/tmp/" + "x" * 200)
        assert "too long a path for a socket" in run("status")[2]
        os.removedirs(f"/tmp/{'x' * 200}/run")


def test_a_server_that_hangs_is_ended_all_the_same(run, monkeypatch):
    run("start")
    monkeypatch.setattr(connect, "ANSWER_S", 0.3)
    monkeypatch.setattr(connect, "STOP_S", 0.5)
    pid = connect.holder(paths.lock_path())
    os.kill(pid, signal.SIGSTOP)
    assert run("stop") == (0, "stopped", "") and not alive(pid)


def test_the_terminal_is_attached_to_the_socket(run, monkeypatch):
    assert "the rack needs a terminal" in run()[2]
    seen = []
    screen = types.ModuleType("rack.ui.app")
    screen.run = lambda path, **options: seen.append((path, options)) or 0
    monkeypatch.setitem(sys.modules, "rack.ui.app", screen)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    monkeypatch.setattr(doctor, "sound_hint", lambda: doctor.NO_PORTAUDIO)
    code, _, err = run("--color", "256", "--glyphs", "ascii", "--fps", "12", "--rack", "two")
    assert code == 0 and "libportaudio2" in err.splitlines()[0] and err.splitlines()[1:] == ["starting the server"]
    assert seen == [(str(paths.socket_path()), {"color": "256", "glyphs": "ascii", "rate_hz": 12.0})]
    assert run("get", "rack")[1] == "two"


@pytest.mark.parametrize(
    ("arguments", "module", "expected"),
    [
        (["render", "a.wav", "b.wav", "--model", "m.json", "--knob", "drive=0.7"], "rack.workshop.render",
         {"input": "a.wav", "output": "b.wav", "model": "m.json", "knob": ["drive=0.7"], "block": 512, "rack": None}),
        (["soak", "--seconds", "5", "--block", "64", "--rate", "48000", "--rack", "nemo", "--json"], "rack.soak",
         {"seconds": 5.0, "block": 64, "rate": 48000, "rack": "nemo", "json": True, "source": "loop"}),
        (["bench", "--json", "--quick", "--models", "lstm16"], "rack.bench",
         {"json": True, "quick": True, "models": "lstm16", "engines": None, "blocks": None}),
    ],
)  # fmt: skip
def test_offline_commands_are_handed_on(monkeypatch, arguments, module, expected):
    import rack
    import rack.workshop

    fake, seen = types.ModuleType(module), []
    fake.main = lambda args: seen.append(vars(args)) or 7
    monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.setattr(rack.workshop if "workshop" in module else rack, module.rpartition(".")[2], fake, raising=False)
    assert cli.main(arguments) == 7
    assert expected.items() <= seen[0].items()


@pytest.mark.parametrize(
    "arguments", [["fly"], ["set"], ["render", "a"], ["soak", "--block", "7"], ["--color", "pink"]]
)
def test_wrong_arguments_get_one_line(run, arguments):
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and err.count("\n") == 0 and err.startswith("nafx-rack")


def test_doctor_and_devices_work_on_any_machine(run):
    code, out, _ = run("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(out)["findings"]}
    assert found["python"]["level"] == "ok" and found["server"]["value"] == "not running"
    assert code == int(any(finding["level"] == "bad" for finding in found.values()))
    code, out, err = run("devices", "--json")
    assert (code == 0 and "devices" in json.loads(out)) or (code == 1 and err.startswith("nafx-rack: "))


def test_a_fault_of_ours_is_one_line_too(run, monkeypatch):
    monkeypatch.setattr(connect, "stop", lambda: 1 / 0)
    code, _, err = run("stop")
    assert code == 1 and err.startswith("nafx-rack: ZeroDivisionError: division by zero (this is a fault of ours")
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("key", "value", "whole"),
    [
        ("amp.model", "x.json", "{}/x.json"),
        ("cab.ir", "x.json", "{}/x.json"),
        ("cab.settings.ir", "x.json", "{}/x.json"),
        ("source", "file:x.json", "file:{}/x.json"),
        ("record", "y", "{}/y"),
        ("slots.add", "model x.json 2", "model {}/x.json 2"),
        ("slots.add", "delay 2", "delay 2"),
        ("record", "off", "off"),
        ("rack", "x", "x"),
        ("gain.gain", "3.5", "3.5"),
        ("gain.notes", "x.json", "x.json"),
        ("amp.model", "gone.json", "gone.json"),
    ],
)
def test_files_are_seen_from_here(tmp_path, monkeypatch, key, value, whole):
    monkeypatch.chdir(tmp_path)
    for name in ("x.json", "x"):
        (tmp_path / name).touch()
    assert commands._here(key, value) == whole.format(tmp_path)


def test_text_for_people():
    assert [value(v, False) for v in (True, 0.1, 350.0, ["a", "b"], None)] == ["on", "0.1", "350", "a\nb", ""]
    slot = SlotView("amp", "model", status="failed", error="amp.nam: no such file", model="/m/amp.nam")
    view = View("x", ("x",), (slot,), mute=True, recording="/r.wav", audio=AudioView("null", message="no card"))
    text = status(view, Telemetry(output_db=(-120.0, -6.0), recorded_s=3.2))
    for part in (
        "MUTED",
        "/r.wav (3 s)",
        "note       no card",
        "failed    /m/amp.nam",
        "amp.nam: no such file",
        "-inf -6.0",
    ):
        assert part in text
