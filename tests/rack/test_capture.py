"""Capturing a device from the command line: through JACK's dummy driver and a client that plays the pedal."""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from rack import capture, cli
from tests.variants import slow_except
from trainer import data

from .jack import RATE, Jack

PEDAL = """
import ctypes, sys, time
import numpy as np
jack = ctypes.CDLL(sys.argv[1])
jack.jack_client_open.restype = jack.jack_port_register.restype = jack.jack_port_get_buffer.restype = ctypes.c_void_p
jack.jack_port_get_buffer.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
client = ctypes.c_void_p(jack.jack_client_open(b"pedal", 1, None))
def port(name, flags):
    kind = b"32 bit float mono audio"
    return jack.jack_port_register(client, name, kind, ctypes.c_ulong(flags), ctypes.c_ulong(0))
into, out = port(b"in", 1), port(b"out", 2)
late = np.zeros(300, np.float32)
def process(frames, _):
    global late
    buffers = [jack.jack_port_get_buffer(p, frames) for p in (into, out)]
    x, y = (np.ctypeslib.as_array(ctypes.cast(b, ctypes.POINTER(ctypes.c_float)), (frames,)) for b in buffers)
    heard = np.concatenate([late, x])
    y[:] = -0.4 * np.tanh(6 * heard[:frames])
    late = heard[frames:].copy()
    return 0
callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)(process)
jack.jack_set_process_callback(client, callback, None)
print(jack.jack_activate(client), flush=True)
time.sleep(600)
"""


@pytest.fixture
def pedal(monkeypatch):
    """JACK without a sound card, and a client that distorts, inverts and answers 300 samples late."""
    library = ctypes.util.find_library("jack")
    if not library:
        pytest.skip("JACK is not installed: there is nothing to play through")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"nafx-capture-{os.getpid()}")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    server = Jack("-S", realtime=True)  # a cycle waits for its clients, so that a busy machine makes it late, not wrong
    client = subprocess.Popen([sys.executable, "-c", PEDAL, library], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if client.stdout.readline().strip() != b"0":
            pytest.skip("no client can join jackd here")
        yield "pedal"
    finally:
        client.kill()
        client.communicate()
        server.stop()


def run(*arguments):
    """The command in a process of its own: PortAudio lists its devices once in a life."""
    command = [sys.executable, "-m", "rack.cli", "capture", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


@pytest.mark.engine
def test_a_pedal_is_captured_through_jack(pedal, tmp_path):
    done = run(tmp_path / "fuzz", "--device", pedal, "--seconds", 24, "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    loop, findings = records[0], {record["kind"]: record["severity"] for record in records[1:]}
    assert loop["latency"] >= 299 and (loop["latency"] - 299) % 256 == 0, "the pedal's, and whole blocks"
    assert loop["peak_db"] == pytest.approx(20 * np.log10(0.4 * np.tanh(3)), abs=0.2)
    lost = findings.pop("lost blocks", None)
    pair = data.read_pair(str(tmp_path / "fuzz/dry.wav"), str(tmp_path / "fuzz/wet.wav"))
    assert pair.rate == RATE and pair.delay == 0 and np.abs(pair.dry).max() == pytest.approx(0.501, abs=1e-3)
    expected = -0.4 * np.tanh(6 * pair.dry[:-1])
    if lost and np.abs(pair.wet[1:] - expected).max() > 1e-5:
        pytest.skip("this machine is too busy for a sound server: blocks were lost, as the command said")
    np.testing.assert_allclose(pair.wet[1:], expected, atol=1e-5)
    assert findings == {"polarity": "note"}
    again = run(tmp_path / "fuzz", "--device", pedal)
    assert again.returncode == 1 and "holds a capture already" in again.stderr


@pytest.mark.engine
def test_a_loop_that_is_open_is_said_to_be(pedal, tmp_path):
    soundfile.write(tmp_path / "own.wav", np.random.default_rng(0).normal(size=2 * RATE) / 10, RATE)
    done = run(tmp_path / "open", "--device", "system", "--signal", tmp_path / "own.wav")
    assert done.returncode == 1 and "BAD      silence: the wet file is silent" in done.stdout, done.stdout + done.stderr
    assert "things to put right" in done.stdout
    gone = run(tmp_path / "gone", "--device", "nothing like it", "--signal", tmp_path / "own.wav")
    assert gone.returncode == 1 and "cannot open nothing like it" in gone.stderr


@pytest.fixture
def loop(monkeypatch):
    """`loop(function)`: the device as a function `[N] -> [M]`, without a clock."""

    def put(device):
        def play(x, rate, *_):
            heard = np.zeros(len(x) + rate, np.float32)
            answer = np.asarray(device(x), np.float32)[: len(heard)]
            heard[: len(answer)] = answer
            return heard, 0

        monkeypatch.setattr(capture, "play", play)

    return put


def late(x, samples=1000):
    return np.concatenate([np.zeros(samples), x])


def captured(folder, capsys, *arguments):
    status = cli.main(["capture", str(folder), "--json", "--seconds", "24", *arguments])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_capture_is_aligned_to_the_first_arrival(loop, tmp_path, capsys):
    rng = np.random.default_rng(0)
    loop(lambda x: late(np.tanh(5 * x)) * 0.5 + 1e-4 * rng.normal(size=len(x) + 1000))
    status, records = captured(tmp_path, capsys, "--rate", "44100", "--level", "-12")
    assert status == 0 and records[0]["latency"] == 999 and records[0]["noise_db"] == pytest.approx(-80, abs=0.5)
    dry, rate = soundfile.read(tmp_path / "dry.wav")
    wet, _ = soundfile.read(tmp_path / "wet.wav")
    assert rate == 44100 and len(dry) == len(wet) == 24 * 44100
    assert 20 * np.log10(np.abs(dry).max()) == pytest.approx(-12, abs=1e-3)
    np.testing.assert_allclose(wet[1:], 0.5 * np.tanh(5 * dry[:-1]), atol=1e-3)
    assert (tmp_path / "returned.wav").is_file()


LOOPS = [
    (lambda x: 0 * x, "no return"),
    (lambda x: np.concatenate([late(np.tanh(5 * x[:700_000])), np.tanh(5 * x[700_300:])]) * 0.5, "dropouts"),
    (lambda x: np.clip(late(40 * x), -1, 1), "level"),
    (lambda x: late(1e-3 * np.tanh(5 * x)), "level"),
    (lambda x: late(np.tanh(5 * x * np.linspace(1, 0.3, len(x))) * 0.5), "not repeatable"),
]


@pytest.mark.parametrize(("device", "kind"), slow_except(LOOPS[:2], LOOPS))
def test_what_is_wrong_with_a_loop_is_said(loop, tmp_path, capsys, device, kind):
    loop(device)
    _, records = captured(tmp_path, capsys)
    found = {record["kind"]: record for record in records[1:]}
    assert kind in found and found[kind]["severity"] in ("bad", "warning") and found[kind]["remedy"]


def test_a_signal_of_ones_own(loop, tmp_path, capsys):
    rng = np.random.default_rng(0)
    own = rng.normal(size=(6 * 44100, 2)) * np.exp(-5 * (np.arange(6 * 44100) / 44100 % 0.7))[:, None]
    soundfile.write(tmp_path / "own.wav", 0.1 * own, 44100)
    loop(lambda x: late(np.tanh(5 * x), 2000) * 0.5)
    status, records = captured(tmp_path / "out", capsys, "--signal", str(tmp_path / "own.wav"))
    assert status == 0 and abs(records[0]["latency"] - 2000) <= 3
    status = cli.main(["capture", str(tmp_path / "other"), "--signal", str(tmp_path / "own.wav"), "--rate", "48000"])
    assert status == 1 and "is at 44100 Hz, not 48000" in capsys.readouterr().err


def test_the_list_is_readable(loop, tmp_path, capsys):
    loop(lambda x: late(-np.tanh(5 * x)) * 0.5)
    assert cli.main(["capture", str(tmp_path / "a"), "--seconds", "24"]) == 0
    said = capsys.readouterr().out
    assert "loop latency 999 samples, 20.8" in said and "note     polarity: the device turns" in said
    assert "ready to train on" in said
