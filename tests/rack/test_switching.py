"""From one capture to the next: how long it takes to be heard, and that no block is lost on the way."""

from __future__ import annotations

import shutil
import time

import pytest
from flax import nnx

from jaxmodels import save
from jaxmodels.recurrent import LSTM, Settings

from .test_whole import played, playing, until

pytestmark = pytest.mark.engine

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
model = "{}/amp0.safetensors"
[[racks.one.slots]]
type = "level"
"""
CAPTURES = 8


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's folders with a rack and many captures of one architecture; programs compiled once stay in them."""
    home = tmp_path_factory.mktemp("home")
    (home / "config").mkdir()
    (home / "captures").mkdir()
    for i in range(CAPTURES):
        network = LSTM(Settings(hidden=16), sample_rate=48000, rngs=nnx.Rngs(i))
        save(home / "captures" / f"amp{i}.safetensors", network)
    return home


@pytest.fixture
def rack(home, monkeypatch):
    """A connection to a running rack that plays the first capture."""
    (home / "config" / "racks.toml").write_text(RACKS.format(home / "captures"))
    shutil.rmtree(home / "state", ignore_errors=True)  # where a rack before it stopped
    monkeypatch.setenv("NAFX_RACK_HOME", str(home))
    yield from played()


def test_the_next_capture_is_heard_at_once_and_no_block_is_lost(rack):
    time.sleep(1.5)  # the captures beside it are made ahead
    before = rack.get("engine")
    took = [before["switch_ms"]]
    for i in range(1, 2 * CAPTURES):
        rack.set("amp.model.step", 1 if i <= CAPTURES else -1)
        until(lambda: rack.get("engine")["switch_ms"] not in took, "it is heard")
        took.append(rack.get("engine")["switch_ms"])
        assert rack.get("engine")["fused"], "the row stays one program"
        time.sleep(0.4)
    after = rack.get("engine")
    print("ms:", [round(ms, 1) for ms in took])
    assert all(after[count] == before[count] for count in ("errors", "nonfinite", "starved"))
    assert after["pid"] == before["pid"]
    assert rack.get("amp.model").endswith("amp1.safetensors")


def test_many_steps_in_a_hurry_end_at_the_last(rack):
    for _ in range(CAPTURES + 3):
        rack.set("amp.model.step", 1)
    assert rack.get("amp.model").endswith("amp3.safetensors")
    until(lambda: playing(rack), "it plays as one program")
    assert rack.get("engine")["errors"] == 0
