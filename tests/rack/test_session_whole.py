"""A whole session in a terminal, by keys alone: teach the SuperKnob, learn a compressor while it plays, keep it.

The program runs in tmux; JACK's dummy driver is its sound card. A second client only looks.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import soxr

from rack import connect, paths
from trainer.losses import LOSSES

from . import test_whole
from .jack import Jack
from .test_jobs_whole import SERVER
from .test_whole import playing, until
from .tmux import Tmux

pytestmark = [pytest.mark.engine, pytest.mark.terminal, pytest.mark.slow]

TAKE_S = 2  # of the recording, learned from and played round and round; a checkpoint plays for longer
SETTLE_S = 0.25  # after which nothing of what played before is heard
EXAMPLES = ((0.0, 0.2, 0.8), (0.5, 0.9, 0.5), (1.0, 0.4, 0.1))  # SuperKnob, drive, tone
NEARER = 0.8  # of the first checkpoint's distance to the target is the last one's at most
MINUTES, STEPS = "4", (20, 400)  # of training at most; after so many steps the pad is moved, and the training ended
PATIENCE_S = 300.0  # on a busy machine


@pytest.fixture
def sound_card(monkeypatch):
    """JACK with its dummy driver; the rack takes it for the device."""
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"nafx-session-{os.getpid()}")
    device = Jack()
    yield
    device.stop()


@pytest.fixture
def take(fixtures, tmp_path) -> Path:
    """A few seconds of a compressor, dry and wet, in a folder."""
    for side in ("dry", "wet"):
        x, rate = soundfile.read(fixtures / "audio" / "dev" / f"cl1b_heavy_{side}.wav", dtype="float32")
        soundfile.write(tmp_path / f"{side}.wav", x[: TAKE_S * rate], rate, subtype="FLOAT")
    return tmp_path


@pytest.fixture
def terminal(tmp_path, monkeypatch, sound_card):
    """A terminal for the shipped racks, in folders of their own; blocks as long as the sound card's."""
    (tmp_path / "home" / "config").mkdir(parents=True)
    racks = paths.shipped_racks().read_text().replace("block = 64 ", "block = 256 ")
    (tmp_path / "home" / "config" / "racks.toml").write_text(racks)
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NAFX_RACK_SERVER", shlex.join([sys.executable, "-c", SERVER]))
    monkeypatch.setattr(test_whole, "PATIENCE_S", PATIENCE_S)
    tmux = Tmux(tmp_path, columns=140, rows=40)  # wide enough for the list of examples
    yield tmux
    tmux.close()
    connect.stop()


def test_a_session_from_the_first_example_to_a_saved_effect_that_is_there_again(terminal, take):
    rack = opened(terminal, "loop")
    teach(terminal, rack)
    sweep(terminal, rack)
    alone_in_a_new_slot(terminal, rack, take)
    saved = learn(terminal, rack, take)
    leave(terminal, rack)
    with opened(terminal, "dry.wav") as again:
        come_back(terminal, again, saved)


def opened(tmux: Tmux, source: str) -> connect.Connection:
    """`nafx-rack` in the terminal, playing on the sound card; and a client that looks."""
    tmux.run(sys.executable, "-m", "rack.cli")
    tmux.wait("superknob", "drive", "tone", source, limit_s=PATIENCE_S)
    rack = connect.Connection()
    until(lambda: playing(rack), "the rack plays")
    audio = rack.get("status")["audio"]
    assert (audio["backend"], audio["block"]) == ("portaudio", 256)
    return rack


def typed(tmux: Tmux, text: str) -> None:
    """A text, taken with Enter."""
    tmux.write(text)
    tmux.press("Enter")


def in_focus(tmux: Tmux) -> str:
    """What the line at the bottom names: slot and knob, or the first words of a message."""
    return tmux.screen.splitlines()[-2].partition(" = ")[0]


def focus(tmux: Tmux, key: str) -> None:
    """Walk to a knob: the line at the bottom names it, at the latest when a warning has stayed there."""
    slot, _, knob = key.partition(".")
    for _ in range(40):
        if (there := in_focus(tmux)) == f" {slot}  {knob}":
            return
        tmux.press("l")
        end = time.monotonic() + 5.0
        while in_focus(tmux) == there and time.monotonic() < end:
            time.sleep(0.05)
    raise AssertionError(f"{key} cannot be reached:\n{tmux.screen}")


def back(tmux: Tmux) -> None:
    """From the SuperKnob to the knob that was in focus before."""
    tmux.press("s")
    until(lambda: not in_focus(tmux).startswith(" superknob"), "another knob is in focus")


def teach(tmux: Tmux, rack: connect.Connection) -> None:
    """Three examples of where drive and tone stand, then training."""
    for number, (place, drive, tone) in enumerate(EXAMPLES, 1):
        tmux.press("s")
        tmux.wait("superknob = ")
        typed(tmux, f"{place}")
        until(lambda place=place: rack.get("superknob") == place, "the SuperKnob stands there")
        back(tmux)
        for key, value in (("drive.amount", drive), ("tone.amount", tone)):
            focus(tmux, key)
            typed(tmux, f"{value}")
            until(lambda key=key, value=value: rack.get(key) == value, f"{key} is {value}")
        tmux.press("a")
        tmux.wait(f"{number} example {number}", f"drive.amount {drive:.2f}, tone.amount {tone:.2f}")
    tmux.wait("TEACH", "no model")
    tmux.press("t")
    tmux.wait("PLAY", "up to date", limit_s=PATIENCE_S)


def sweep(tmux: Tmux, rack: connect.Connection) -> None:
    """The SuperKnob from 0 to 1: both knobs follow, on the screen and for the other client."""
    tmux.press("s")
    tmux.wait("superknob = ")
    tmux.press("Home")
    seen = []
    for step in range(11):
        until(lambda step=step: abs(rack.get("superknob") - step / 10) < 1e-6, f"the SuperKnob stands at {step / 10}")
        values = [rack.get(key) for key in ("drive.amount", "tone.amount")]
        tmux.wait(f"superknob = {step / 10:g} ", *(f"{value:.2f}" for value in values))
        seen.append(values)
        tmux.press("PPage")
    for step, (_, drive, tone) in zip((0, 5, 10), EXAMPLES, strict=True):
        assert seen[step] == pytest.approx([drive, tone], abs=0.01), "every example is met"
    for knob in zip(*seen, strict=True):
        steps = np.diff(knob)
        assert 0.05 < np.abs(steps).max() < 0.5 and len(set(knob)) > 8, "it follows, and does not jump"
    back(tmux)


def alone_in_a_new_slot(tmux: Tmux, rack: connect.Connection, take: Path) -> None:
    """A slot to learn into at the end of the row, the others bypassed; the dry recording plays."""
    focus(tmux, "level.level")
    tmux.press("y")
    tmux.wait("add a box")
    typed(tmux, "gain")
    until(lambda: "gain" in rack.get("slots"), "a new slot")
    for slot, knob in (("drive", "amount"), ("tone", "amount"), ("level", "level")):
        focus(tmux, f"{slot}.{knob}")
        tmux.press("Space")
        until(lambda slot=slot: rack.get(f"{slot}.bypass"), f"{slot} is bypassed")
    tmux.press("i")
    tmux.wait("What is plugged into the sound card")
    typed(tmux, "file")
    tmux.wait("WAV, FLAC or AIFF")
    typed(tmux, str(take / "dry.wav"))
    tmux.wait("source: file:")
    focus(tmux, "gain.gain")


def learn(tmux: Tmux, rack: connect.Connection, take: Path) -> str:
    """Steer the compressor: record what is heard of it, move its pad, stop, keep, save. Answers the file."""
    tmux.press("T")
    tmux.wait("SuperKnob of superknob")
    tmux.press("n")
    tmux.wait("two files")
    tmux.press("Enter")
    tmux.wait("plays in", "ends at ESR")
    for side in ("dry", "wet"):
        tmux.press("End", "BSpace", "BSpace")
        path = str(take / f"{side}.wav")
        tmux.write(path)
        tmux.wait(path[-20:])
        tmux.press("Tab")
    tmux.press("Tab", "Tab", "Tab")  # steered by two knobs, short memory, in the slot in focus
    typed(tmux, MINUTES)
    id = until(lambda: [job["id"] for job in rack.get("jobs") if job["kind"] == "steer"], "a job")[0]
    tmux.press("r")
    tmux.wait("REC", "it learns; the first version to listen to comes in a moment")
    recording = rack.get("record")
    first = a_round(rack, id, after=-1)
    tmux.wait("play! x compares with the original", "the newest")
    until(lambda: rack.get(f"jobs.{id}")["last"]["step"] >= STEPS[0], "some steps")
    move_the_pad(tmux, rack)
    until(lambda: rack.get(f"jobs.{id}")["last"]["step"] >= STEPS[1], "enough steps")
    until(lambda: newest(rack, id)["number"] >= first.number + 2, "better ones")
    tmux.press("s")
    until(lambda: rack.get(f"jobs.{id}")["state"] in ("stopped", "done"), "it stops and keeps the best")
    until(lambda: newest(rack, id)["words"] == "finished", "the best one is finished")
    last = a_round(rack, id, after=newest(rack, id)["number"] - 1)
    tmux.press("r")
    until(lambda: not rack.get("record"), "the recording ends")
    assert last.words == "finished" and last.number >= first.number + 2, "several versions were heard"
    assert rack.get("engine")["errors"] == rack.get("engine")["nonfinite"] == 0
    far, near = (distance(recording, take, each.start_s) for each in (first, last))
    assert near <= NEARER * far, f"from {far:.3f} at checkpoint {first.number} to {near:.3f} at {last.number}"
    tmux.press("w")
    tmux.wait("save in the library as")
    typed(tmux, "wet-kept")
    tmux.wait("saved as")
    saved = rack.get(f"jobs.{id}")["saved"]
    assert Path(saved) == paths.data_folder() / "models" / "wet-kept.nafx"
    until(lambda: built(rack, "gain") == saved, "the slot does without the job")
    return saved


def move_the_pad(tmux: Tmux, rack: connect.Connection) -> None:
    """The arrows move both new knobs; Backspace goes back to the middle, which is the sound that was shown."""
    tmux.press("X")
    tmux.wait("gain / c1", "gain / c2")
    tmux.press("Right", "Right", "Right", "Up")
    place = lambda: [round(rack.get(f"gain.{knob}"), 3) for knob in ("c1", "c2")]  # noqa: E731
    until(lambda: place() == [0.6, 0.2], "both are moved")
    tmux.wait("gain.c1 = 0.60", "gain.c2 = 0.20")
    tmux.press("BSpace")
    until(lambda: place() == [0.0, 0.0], "back in the middle")
    tmux.press("T")
    tmux.wait("play! x compares")


def leave(tmux: Tmux, rack: connect.Connection) -> None:
    """Everything ends, and the terminal with it."""
    rack.close()
    tmux.press("Q")
    tmux.wait("Stop the sound, the server")
    tmux.press("y")
    until(lambda: not tmux.running and connect.holder(paths.lock_path()) is None, "nothing runs any more")


def come_back(tmux: Tmux, rack: connect.Connection, saved: str) -> None:
    """Rack, examples and effect are there; the effect is played in one more slot, from the library."""
    tmux.wait("up to date", *(f"{n} example {n}" for n in (1, 2, 3)))
    assert rack.get("slots") == ["drive", "tone", "level", "gain"]
    until(lambda: built(rack, "gain") == saved, "the effect plays where it was learned")
    tmux.press("L")
    tmux.wait("library", "wet-kept")
    tmux.press("/")
    tmux.write("wet-kept")
    tmux.wait("1 found")
    tmux.press("Escape")
    time.sleep(0.5)  # together with a letter it would be Alt and that letter
    tmux.press("y")
    new = until(
        lambda: [slot for slot in rack.get("slots") if slot not in ("drive", "tone", "level", "gain")], "a slot"
    )
    until(lambda: built(rack, new[0]) == saved and playing(rack), "the effect plays in a new slot")


# --- what is heard ----------------------------------------------------------------------------------------------------


class Round(NamedTuple):
    """A checkpoint that was heard for a whole round of the recording."""

    number: int
    words: str
    start_s: float  # of the round, in what was recorded


def built(rack: connect.Connection, slot: str) -> str:
    """The model that a slot plays, "" while it is not ready."""
    found = rack.get(slot)
    return found["model"] if found["status"] == "ready" else ""


def newest(rack: connect.Connection, id: str) -> dict:
    """The last checkpoint of a job."""
    return rack.get(f"jobs.{id}")["checkpoints"][-1]


def a_round(rack: connect.Connection, id: str, after: int) -> Round:
    """The next checkpoint after this one that is heard for a whole round; of a job that is over, the last."""

    def heard() -> dict:
        job = rack.get(f"jobs.{id}")
        fits = [each for each in job["checkpoints"] if each["number"] == job["playing"] > after]
        return fits[0] if fits and built(rack, "gain") == fits[0]["path"] else {}

    def whole() -> Round | None:
        plays, began = heard(), rack.telemetry().recorded_s
        while plays and heard() == plays:
            if rack.telemetry().recorded_s > began + 2 * SETTLE_S + TAKE_S:
                return Round(plays["number"], plays["words"], began + SETTLE_S)
        return None

    return until(whole, "a checkpoint is heard for a whole round")


def distance(recording: str, take: Path, start_s: float) -> float:
    """MR-STFT of a round of what was recorded to the wet side, both equally loud and lying alike."""
    x, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    wet, wet_rate = soundfile.read(take / "wet.wav", dtype="float32")
    wet = soxr.resample(wet, wet_rate, rate)
    x = x[round(start_s * rate) :][: len(wet)].mean(axis=1)
    common = np.fft.irfft(np.fft.rfft(x) * np.conj(np.fft.rfft(wet)), len(wet))  # the file goes round and round
    x = np.roll(x, -int(np.argmax(np.abs(common))))
    x *= np.sqrt(np.mean(wet**2) / np.mean(x**2))
    return float(LOSSES["mr_stft_steer"](x, wet))
