"""The whole house with its real processes: what is killed comes back, and what was turned is not forgotten."""

from __future__ import annotations

import os
import signal
import time

import pytest
from flax import nnx

from jaxmodels import save
from jaxmodels.recurrent import LSTM, Settings
from rack import connect
from rack.errors import RackError

from .harness import alive
from .jack import Jack

pytestmark = pytest.mark.engine

PATIENCE_S = 240  # on a busy machine; nothing here measures time

RACKS = """
rack = "one"
[audio]
backend = "null"
[racks.one]
channels = 1
[[racks.one.slots]]
type = "gain"
[[racks.one.slots]]
id = "amp"
type = "model"
model = "amp.nafx"
"""


def until(check, what):
    """Wait for something to become true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except RackError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's folders with one rack and one capture in it."""
    home = tmp_path_factory.mktemp("home")
    (home / "config").mkdir()
    (home / "config" / "racks.toml").write_text(RACKS)
    save(home / "config" / "amp.nafx", LSTM(Settings(hidden=8), sample_rate=48000, rngs=nnx.Rngs(1)))
    return home


@pytest.fixture
def rack(home, monkeypatch):
    """A connection to a running rack that plays its loop."""
    monkeypatch.setenv("NAFX_RACK_HOME", str(home))
    yield from played()


def played():
    """A connection to a rack that plays; it is ended afterwards, whether it came to play or not."""
    try:
        with connect.start() as connection:
            until(lambda: playing(connection), "the rack plays")
            yield connection
    finally:
        connect.stop()


def playing(connection):
    engine = connection.get("engine")
    return engine if engine["fused"] and connection.telemetry().output_db[0] > -60 else None


def test_a_killed_workshop_is_replaced_and_no_block_is_lost(rack):
    before = rack.get("engine")
    os.kill(before["workshop"], signal.SIGKILL)
    until(lambda: rack.get("engine")["workshop"] not in (None, before["workshop"]), "another workshop")
    after = rack.get("engine")
    assert after["pid"] == before["pid"] and after["errors"] == 0 and after["starved"] == before["starved"]
    assert playing(rack)
    rack.set("slots.add", "gain")
    until(lambda: len(rack.get("slots")) == 3 and playing(rack), "the new workshop builds")
    rack.set("undo", True)


def test_a_killed_engine_comes_back_with_the_same_rack(rack):
    rack.set("gain.gain", "-3 dB")
    before = rack.get("engine")
    os.kill(before["pid"], signal.SIGKILL)
    gone = (None, before["pid"])
    after = until(lambda: rack.get("engine")["pid"] not in gone and playing(rack), "the rack plays again")
    assert after["pid"] != before["pid"] and rack.get("gain.gain") == -3.0


def test_a_killed_server_finds_the_rack_as_it_was_at_the_last_gesture(rack):
    rack.set("gain.gain", "7.5")
    rack.set("amp.bypass", "on")
    engine, status = rack.get("engine"), rack.get("status")
    time.sleep(0.5)  # the journal is written within a tenth of a second
    server = connect.holder(connect.paths.lock_path())
    os.kill(server, signal.SIGKILL)
    until(lambda: not any(map(alive, (server, engine["pid"], engine["workshop"]))), "no orphans")
    with connect.start() as again:
        until(lambda: playing(again), "the rack plays again")
        assert again.get("gain.gain") == 7.5 and again.get("amp.bypass") is True
        assert again.get("status")["rack"] == status["rack"]


def test_stop_leaves_nothing_behind(rack):
    engine, server = rack.get("engine"), connect.holder(connect.paths.lock_path())
    assert connect.stop()
    until(lambda: not any(map(alive, (server, engine["pid"], engine["workshop"]))), "all processes gone")
    assert not connect.paths.socket_path().exists()
    with pytest.raises(connect.NoServer):
        connect.Connection()


def test_a_device_that_comes_back_is_taken_up_again(home, monkeypatch):
    """JACK's dummy driver is the device: it dies while the rack plays, and is started again."""
    monkeypatch.setenv("NAFX_RACK_HOME", str(home))
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"nafx-{os.getpid()}")
    device = Jack()
    try:
        with connect.start() as connection:
            until(lambda: playing(connection), "the rack plays")
            connection.set("audio.backend", "auto")
            backend = lambda: connection.get("status")["audio"]["backend"]  # noqa: E731
            until(lambda: backend() == "portaudio" and playing(connection), "it plays on the device")
            device.stop()
            until(lambda: backend() == "null", "the null output stands in")
            blocks = connection.get("engine")["blocks"]
            until(lambda: connection.get("engine")["blocks"] > blocks, "it plays on")
            device.start()
            until(lambda: backend() == "portaudio" and playing(connection), "it plays on the device again")
            connection.set("audio.backend", "null")
    finally:
        connect.stop()
        device.stop()
