"""Whatever is done wrong while the rack learns gets one sentence, and the sound goes on.

One server for all of it, its engine and workshop fake; recordings are checked and run files read by the real trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.variants import slow_except

from .desk import RATE, TINY, Desk
from .running import wait
from .test_jobs import RACKS, job

pytestmark = pytest.mark.engine

LONGEST = 500  # characters of a sentence


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[Desk]:
    mono = RACKS.replace("[racks.two]", "[racks.two]\nchannels = 1")  # so that one stream serves both
    desk = Desk(tmp_path_factory.mktemp("misuse") / "home", mono)
    desk.client = desk.start()
    desk.noise = 0.2 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    soundfile.write(desk.home / "d.wav", desk.noise, RATE)
    soundfile.write(desk.home / "w.wav", np.tanh(4 * desk.noise), RATE)
    desk.dry, desk.wet = (str(desk.home / f"{name}.wav") for name in "dw")
    yield desk
    desk.stop()


@pytest.fixture
def desk(whole: Desk) -> Iterator[Desk]:
    """The desk; afterwards the engine is the one that it was, and has played on."""
    before, whole.since = whole.client.get("engine"), len(whole.client.heard)
    yield whole
    blocks = whole.client.get("engine")["blocks"]
    wait(lambda: whole.client.get("engine")["blocks"] > blocks)
    after = whole.client.get("engine")
    assert (after["pid"], after["errors"], after["lost"]) == (before["pid"], 0, before["lost"])
    assert len(whole.lines("engine", "Stream")) == 1, "the stream was never begun again"
    whole.clear()


# --- the SuperKnob ----------------------------------------------------------------------------------------------------


def no_example(desk: Desk) -> str:
    return desk.set("superknob.train")


def one_example(desk: Desk) -> str:
    desk.set("superknob.add")
    return desk.set("superknob.train")


def two_equal_examples(desk: Desk) -> str:
    desk.set("superknob.add")
    desk.set("superknob", 1.0)
    desk.set("superknob.add")
    return desk.set("superknob.train")


def two_examples_at_one_place(desk: Desk) -> str:
    desk.set("superknob.add", "dark")
    desk.set("gain.gain", 6.0)
    return desk.set("superknob.add", "bright")


def a_corrupt_text_of_examples(desk: Desk) -> str:
    return desk.set("superknob.examples", "[[examples]\nat = 0.5")


def examples_of_another_rack(desk: Desk) -> str:
    return desk.set("superknob.examples", "[[examples]]\nat = 0\nknobs = { plexi.presence = 3 }")


def examples_that_end_the_workshop(desk: Desk) -> str:
    for place, gain_db, name in ((0.0, -6.0, "kills"), (1.0, 6.0, "loud")):
        desk.set("superknob", place)
        desk.set("gain.gain", gain_db)
        desk.set("superknob.add", name)
    desk.set("superknob.train")
    return desk.notice("the workshop")


def a_name_with_control_characters(desk: Desk) -> str:
    desk.set("superknob.add")
    return desk.set("superknob.rename", ["1", "a\x1b[2Jb"])


# --- recordings -------------------------------------------------------------------------------------------------------


def a_pair_of_different_lengths(desk: Desk) -> str:
    short = desk.sound("short", np.tanh(4 * desk.noise[: int(1.2 * RATE)]))
    assert "bad; the dry file lasts 3.00 s, the wet one 1.20 s" in desk.bad(desk.dry, short)
    desk.failed(desk.real(desk.dry, short))
    return desk.notice("short: ")


def a_silent_wet_file(desk: Desk) -> str:
    return desk.bad(desk.dry, desk.sound("silent", np.zeros(3 * RATE)))


def a_silent_dry_file(desk: Desk) -> str:
    return desk.bad(desk.sound("silent", np.zeros(3 * RATE)), desk.wet)


def the_same_file_twice(desk: Desk) -> str:
    return desk.bad(desk.dry, desk.dry)


def a_wrong_sample_rate(desk: Desk) -> str:
    return desk.bad(desk.dry, desk.sound("wrong", np.tanh(4 * desk.noise), 44100))


def stereo_with_mono(desk: Desk) -> str:
    other = np.random.default_rng(1).standard_normal(len(desk.noise)).astype(np.float32)
    return desk.bad(desk.sound("stereo", np.stack([desk.noise, 0.1 * other], axis=1)), desk.wet)


def a_file_that_is_no_sound(desk: Desk) -> str:
    (desk.home / "text.wav").write_text("la la la")
    return desk.set("jobs.check", {"dry": desk.dry, "wet": str(desk.home / "text.wav")})


def a_file_that_is_missing(desk: Desk) -> str:
    return desk.set("jobs.start", {"dry": desk.dry, "wet": "/nowhere/wet.wav"})


def a_file_that_goes_before_its_turn(desk: Desk) -> str:
    first = desk.learning(slot="")
    gone = desk.sound("gone", np.tanh(4 * desk.noise))
    second = desk.real(desk.dry, gone)
    Path(gone).unlink()
    desk.set("jobs.stop", first)
    return desk.failed(second)


def a_pair_recorded_with_nothing_plugged_in(desk: Desk) -> str:
    assert desk.set("jobs.record_pair", {"what": "dry", "name": "nothing"}) == ""
    return desk.set("jobs.record_pair", {"what": "stop"})


def a_second_recording_at_once(desk: Desk) -> str:
    assert desk.set("jobs.record_pair", {"what": "dry", "name": "one"}) == ""
    said = desk.set("jobs.record_pair", {"what": "dry", "name": "two"})
    desk.set("jobs.record_pair", {"what": "stop"})
    return said


def the_wet_side_first(desk: Desk) -> str:
    return desk.set("jobs.record_pair", {"what": "wet", "name": "never"})


# --- run files and what is asked for ----------------------------------------------------------------------------------


def _run_file(desk: Desk, text: str) -> str:
    path = desk.home / "own.toml"
    path.write_text(text)
    return str(path)


def a_broken_run_file(desk: Desk) -> str:
    return desk.set("jobs.start", _run_file(desk, 'out = "x.nafx"\n[data\n'))


def a_run_file_with_a_wrong_key(desk: Desk) -> str:
    path = _run_file(desk, 'out = "x.nafx"\n[data]\ndry = "d.wav"\nwet = "w.wav"\n[schedule]\nstepz = 3\n')
    return desk.failed(desk.order(desk.client, path))


def a_run_file_without_tables(desk: Desk) -> str:
    return desk.set("jobs.start", _run_file(desk, 'out = "x.nafx"\nschedule = 9\n[data]\ndry = "d.wav"\n'))


def a_run_file_with_numbers_for_paths(desk: Desk) -> str:
    return desk.set("jobs.start", _run_file(desk, 'out = "x.nafx"\n[data]\ndry = "d.wav"\nwet = 7\n'))


def a_target_of_two(desk: Desk) -> str:
    assert "2" in desk.set("jobs.start", {"dry": desk.dry, "wet": desk.wet, "target_esr": 2.0})
    return desk.set("jobs.target", {"id": desk.learning(slot=""), "esr": 2.0})


def a_title_with_control_characters(desk: Desk) -> str:
    assert "printable" in desk.set("jobs.title", {"id": desk.learning(slot=""), "title": "\x1b]0;ha\x07"})
    return desk.set("jobs.start", {"dry": desk.dry, "wet": desk.wet, "title": "a\x1b[2Jb"})


# --- disks ------------------------------------------------------------------------------------------------------------


def a_full_disk_in_the_trainer(desk: Desk) -> str:
    (desk.home / "full").touch()
    return desk.failed(desk.real(desk.dry, desk.wet, steps=20))


def a_jobs_folder_that_cannot_be_written(desk: Desk) -> str:
    with _file_for(desk.home / "data" / "jobs"):
        return desk.set("jobs.start", {"dry": desk.dry, "wet": desk.wet})


def checkpoints_that_cannot_be_kept(desk: Desk) -> str:
    id = desk.learning(slot="", step=1)
    (desk.home / "data" / "jobs" / id / "checkpoints").write_text("in the way")
    desk.gate("comp", 3)
    return desk.notice("a checkpoint cannot be kept")


def jobs_that_cannot_be_written_down(desk: Desk) -> str:
    place = desk.home / "data" / "jobs" / desk.learning(slot="") / "job.json"
    wait(lambda: _is_folder_now(place))  # the job that learns may write it down in between
    desk.set("jobs.title", {"id": "steer-1", "title": "other"})
    said = desk.notice("jobs cannot be written down")
    place.rmdir()
    return said


def a_library_that_cannot_be_written(desk: Desk) -> str:
    id = desk.learning(slot="")
    with _file_for(desk.home / "data" / "models"):
        return desk.set("jobs.save", {"id": id, "name": "comp"})


def _is_folder_now(file: Path) -> bool:
    """Try to put an empty folder in the place of a file."""
    file.unlink()
    with suppress(FileExistsError):
        file.mkdir()
    return file.is_dir()


@contextmanager
def _file_for(folder: Path) -> Iterator[None]:
    """A file in the place of a folder: nothing can be written into it, whoever one is."""
    aside = folder.with_name("aside")
    if folder.is_dir():
        folder.rename(aside)
    folder.write_text("in the way")
    try:
        yield
    finally:
        folder.unlink()
        if aside.is_dir():
            aside.rename(folder)


def a_checkpoint_that_is_damaged(desk: Desk) -> str:
    schedule = TINY["schedule"] | {"checkpoint_every": 0.0, "validate_every": 1}
    id = desk.real(desk.dry, desk.wet, run_keys=TINY | {"schedule": schedule})
    job(desk.client, id, "running", that=lambda job: len(job.checkpoints) >= 2)
    assert desk.set("jobs.pause", id) == ""
    fake = desk.learning(slot="")  # which makes the paused one go
    desk.set("jobs.stop", fake)
    job(desk.client, fake, "stopped")
    saved = next((desk.home / "data" / "jobs" / id).glob("*.checkpoint"))
    saved.write_bytes(b"\0" * 100)
    numbers = [each.number for each in job(desk.client, id).checkpoints]
    assert desk.set("jobs.resume", id) == ""
    again = job(desk.client, id, "running", that=lambda job: job.warnings)
    assert [each.number for each in again.checkpoints][:1] == numbers[:1], "what there was is kept"
    return again.warnings[0]


# --- while it trains --------------------------------------------------------------------------------------------------


def another_model_in_its_slot(desk: Desk) -> str:
    desk.learning()
    (desk.home / "other.json").write_text('{"program": "other"}')
    assert desk.set("gain.model", str(desk.home / "other.json")) == ""
    return desk.notice("slot gain plays something else now")


def its_slot_removed(desk: Desk) -> str:
    desk.learning()
    assert desk.set("slots.remove", "gain") == ""
    return desk.notice("slot gain is gone")


def another_rack(desk: Desk) -> str:
    desk.learning()
    assert desk.set("rack", "two") == ""
    said = desk.notice("comp plays in slot gain")
    assert desk.set("rack", "one") == ""
    return said


def two_jobs_into_one_slot(desk: Desk) -> str:
    desk.learning()
    desk.order(desk.client, {"run": desk.run("two"), "slot": "gain", "title": "fuzz"})
    return desk.notice("comp goes on unheard")


def a_slot_that_there_is_not(desk: Desk) -> str:
    return desk.set("jobs.listen", {"id": desk.learning(slot=""), "slot": "plexi"})


def continuing_what_runs(desk: Desk) -> str:
    return desk.set("jobs.continue", desk.learning(slot=""))


def pausing_what_is_over(desk: Desk) -> str:
    id = desk.learning(slot="")
    desk.gate("comp", None)
    job(desk.client, id, "done")
    return desk.set("jobs.pause", id)


def a_capture_with_other_controls(desk: Desk) -> str:
    return desk.set("jobs.reroll", desk.learning(slot="", kind="capture"))


def removing_what_plays(desk: Desk) -> str:
    return desk.set("jobs.remove", desk.learning())


def an_earlier_checkpoint_than_the_first(desk: Desk) -> str:
    return desk.set("jobs.undo_checkpoint", desk.learning())


def saving_before_there_is_anything(desk: Desk) -> str:
    return desk.set("jobs.save", desk.learning(slot="", step=1))


def comparing_what_plays_nowhere(desk: Desk) -> str:
    return desk.set("jobs.compare", {"id": desk.learning(slot=""), "what": "model"})


def a_trainer_that_says_what_is_wrong(desk: Desk) -> str:
    return desk.failed(desk.order(desk.client, desk.run("bad", fails="w.wav: is silent; record it again")))


CASES: tuple[tuple[Callable[[Desk], str], tuple[str, ...]], ...] = (
    (no_example, ("no examples yet", "set some knobs and add one")),
    (one_example, ("one example says nothing yet", "add another")),
    (two_equal_examples, ("no knob stands differently in the 2 examples", "change one of them")),
    (two_examples_at_one_place, ("'dark' is at 0.00 already", "move the SuperKnob first")),
    (a_corrupt_text_of_examples, ("these are no examples", "line 1", "export some")),
    (examples_of_another_rack, ("this rack has none of their knobs", "plexi.presence")),
    (examples_that_end_the_workshop, ("the workshop", "the sound goes on")),
    (a_name_with_control_characters, ("superknob.rename", "printable")),
    (a_pair_of_different_lengths, ("short.wav", "3.00 s", "1.20 s", "same start and end", "the sound goes on")),
    (a_silent_wet_file, ("bad; the wet file is silent", "send the signal through the device")),
    (a_silent_dry_file, ("bad; the dry file is silent", "choose the file that was played")),
    (the_same_file_twice, ("bad; both files hold the same sound", "nothing to learn", "what came out of the device")),
    (a_wrong_sample_rate, ("bad; the wet file is at 44100 Hz", "write the right rate into the header")),
    (stereo_with_mono, ("warning; the dry file has 2 channels that differ", "choose with channel")),
    (a_file_that_is_no_sound, ("text.wav: cannot be read as sound", "export it as WAV")),
    (a_file_that_is_missing, ("wet = /nowhere/wet.wav", "no such file", "choose it again")),
    (a_file_that_goes_before_its_turn, ("gone.wav: there is no such file", "choose it again")),
    (a_pair_recorded_with_nothing_plugged_in, ("played.wav is silent", "audio.inputs = 1", "look at the cable")),
    (a_second_recording_at_once, ("a recording is going on already", "stop that first")),
    (the_wet_side_first, ("played.wav is not there", "record the dry side first")),
    (a_broken_run_file, ("own.toml", "line 2")),
    (a_run_file_with_a_wrong_key, ("stepz: no such key", "did you mean steps?")),
    (a_run_file_without_tables, ("own.toml", "schedule must be a table")),
    (a_run_file_with_numbers_for_paths, ("own.toml", "wet = 7", "path of a file")),
    (a_target_of_two, ("jobs.target: 2", "an ESR from 0 (none) to below 1")),
    (a_title_with_control_characters, ('jobs.start: "a?[2Jb"', "1 to 100 printable characters")),
    (a_full_disk_in_the_trainer, ("cannot be written", "make room there and start again")),
    (a_jobs_folder_that_cannot_be_written, ("a job cannot be made", "a folder that can be written")),
    (checkpoints_that_cannot_be_kept, ("steer-1: a checkpoint cannot be kept", "the training goes on")),
    (jobs_that_cannot_be_written_down, ("jobs cannot be written down", "the sound goes on")),
    (a_library_that_cannot_be_written, ("models/comp.nafx", "cannot be written")),
    (a_checkpoint_that_is_damaged, ("cannot be read", "set aside", "begins again, from the model")),
    (another_model_in_its_slot, ("comp goes on unheard", "Enter on the train page")),
    (its_slot_removed, ("comp goes on unheard", "Enter on the train page")),
    (another_rack, ("of the rack one", "until you are back there")),
    (two_jobs_into_one_slot, ("slot gain plays fuzz from now on", "Enter on the train page")),
    (a_slot_that_there_is_not, ("plexi: no such slot", "there are: gain, delay")),
    (continuing_what_runs, ("steer-1 is running", "when it is over")),
    (pausing_what_is_over, ("steer-1 is done", "only a job in the queue can be paused")),
    (a_capture_with_other_controls, ("capture-1 was not steered", "only steering")),
    (removing_what_plays, ("slot gain plays a model of steer-1", "save it", "choose another model")),
    (an_earlier_checkpoint_than_the_first, ("steer-1 has no earlier checkpoint",)),
    (saving_before_there_is_anything, ("steer-1 has no model yet", "wait for its first checkpoint")),
    (comparing_what_plays_nowhere, ("steer-1 plays in no slot", "let it be heard in one first")),
    (a_trainer_that_says_what_is_wrong, ("w.wav: is silent", "record it again")),
)


# These start the real trainer or its checks, for what its own tests try in one process.
REAL = (
    a_pair_of_different_lengths,
    a_silent_dry_file,
    the_same_file_twice,
    a_wrong_sample_rate,
    stereo_with_mono,
    a_file_that_goes_before_its_turn,
    a_checkpoint_that_is_damaged,
)
FAST = [case for case in CASES if case[0] not in REAL]


@pytest.mark.parametrize(("mistake", "words"), slow_except(FAST, CASES), ids=[case.__name__ for case, _ in CASES])
def test_a_mistake_gets_one_sentence_and_the_sound_goes_on(desk: Desk, mistake, words):
    said = mistake(desk)
    assert all(word in said for word in words), said
    assert said.isprintable() and len(said) < LONGEST, "one line"
    assert "could not do this" not in said and "Error" not in said, "not ours"


def test_what_goes_wrong_while_it_trains_does_not_end_the_training(desk: Desk):
    """Its slot and its rack are taken from under a job, and it comes to its end."""
    id = desk.learning()
    for key, value in (("slots.remove", "gain"), ("undo", ""), ("rack", "two"), ("rack", "one")):
        assert desk.set(key, value) == ""
    desk.gate("comp", None)
    done = job(desk.client, id, "done")
    assert done.restarts == 0 and done.checkpoints[-1].words == "finished"
