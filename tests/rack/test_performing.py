"""The SuperKnob in the running server, with fake children: training in the background, glides, and what outlives it."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import soundfile

from rack import protocol

from .running import Running, wait

pytestmark = pytest.mark.engine

RACKS = """\
rack = "one"
[source]
kind = "file"
path = "loop.wav"
[racks.one]
[[racks.one.slots]]
type = "gain"   # loud
[[racks.one.slots]]
type = "delay"
"""


@pytest.fixture
def running(tmp_path):
    running = Running(tmp_path / "home", RACKS)
    soundfile.write(running.racks.parent / "loop.wav", np.zeros(480, np.float32), 48000, subtype="FLOAT")
    yield running
    running.stop()


def teach(client, *names):
    """Examples from the quietest to the loudest."""
    for i, name in enumerate(names):
        place = i / max(len(names) - 1, 1)
        assert client.set("superknob", place) == client.set("gain.gain", -12 + 24 * place) == ""
        assert client.set("superknob.add", name) == ""


def heard(client, peak_db):
    """The fake engine shows the knob's position as the slot's peak."""
    client.receive(protocol.Telemetry, lambda t: abs(t.slots_db[0] - peak_db) < 0.1)


def test_examples_are_trained_on_in_the_background_played_and_remembered(running):
    client = running.start()
    client.send(protocol.Subscribe(50))
    teach(client, "quiet", "loud")
    assert client.set("superknob.mode", "play") == client.set("superknob", 0.0) == ""
    turns = [(m.key, m.value) for m in client.heard if isinstance(m, protocol.Turned)]
    places = [m.place for m in client.heard if isinstance(m, protocol.Moved)]
    assert turns[-1] == ("gain.gain", -12.0) and places[-1].position == (0.0,) and places[-1].confidence == 1.0
    heard(client, -12.04)  # a quarter of the knob's travel
    assert client.set("superknob.train") == ""
    assert "trained on 2 examples" in client.receive(protocol.Notice, lambda n: "trained" in n.text).text
    view = client.view(lambda view: view.superknob.lamp == "up to date")
    assert view.superknob.playing and view.superknob.links == {"gain.gain": "driven"}
    heard(client, -6.02)  # the fake mapping plays the middle
    assert client.set("undo") == "" and client.get("superknob.train") == "no model", "a result is a step"
    assert client.get("gain.gain") == -12.0 and client.set("redo") == ""
    assert client.set("superknob.glide", 100) == client.set("superknob.exact", "on") == client.set("superknob", 1) == ""
    heard(client, -2.5)  # it arrives by itself
    assert (
        client.set("save") == ""
        and 'name = "loud"' in running.racks.read_text()
        and "# loud" in running.racks.read_text()
    )
    assert client.set("superknob.add", "third") != "", "there is one at this place"
    assert client.set("superknob.rename", "1 soft") == ""
    client.close()
    os.kill(running.process.pid, signal.SIGTERM)
    running.process.wait()
    client = running.start()
    assert [e["name"] for e in client.get("superknob.status")["examples"]] == ["soft", "loud"]
    assert client.get("superknob.train") == "up to date" and client.get("superknob") == 1.0


def test_training_that_fails_is_cancelled_or_ends_the_workshop_is_said_and_the_rest_plays_on(running):
    client = running.start()
    teach(client, "fails", "loud")
    assert client.set("superknob.train") == ""
    said = client.receive(protocol.Notice, lambda n: n.level == "error").text
    assert said == "SuperKnob: the examples cannot be learned; delete some; what was learned before plays on"
    assert client.get("superknob.train") == "no model"
    assert client.set("superknob.rename", "1 kills") == client.set("superknob.train") == ""
    said = client.receive(protocol.Notice, lambda n: "twice" in n.text).text
    assert "what was learned plays on" in said and client.get("superknob.train") == "no model"
    wait(lambda: len(running.lines("workshop", "start")) >= 3)
    assert client.set("superknob.rename", "1 quiet") == client.set("superknob.train") == ""
    assert client.view(lambda view: view.superknob.lamp == "up to date")


def test_a_slot_that_goes_while_it_is_trained_on_is_no_trouble(running):
    running.environment["NAFX_FAKE_DELAY"] = "0.2"
    client = running.start()
    teach(client, "quiet", "loud")
    assert client.set("superknob.train") == ""
    assert client.get("superknob.train") == "training"
    assert client.get("superknob.status")["place"]["next"].startswith("training")
    assert client.set("slots.remove", "gain") == ""
    assert client.view(lambda view: view.superknob.lamp == "stale" and not view.superknob.links)
    assert client.set("superknob", 0.5) == "" and client.set("superknob.train") != ""
    assert [client.set("undo") for _ in range(3)] == [""] * 3, "the turn, what was learned, and the slot"
    assert client.set("superknob.train") == ""
    assert client.set("superknob.train", "cancel") == ""
    assert any("cancelled" in m.text for m in client.heard if isinstance(m, protocol.Notice))
    assert client.get("superknob.train") == "no model"
