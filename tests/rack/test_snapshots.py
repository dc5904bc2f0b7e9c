"""Snapshots, the way between two of them, and random variation, as keys change them."""

from __future__ import annotations

import pytest

from rack.config import Rack, Racks, parse
from rack.examples import Kept
from rack.server.driving import driving, standing
from rack.server.glide import advance
from rack.server.keys import ChangeError, change
from rack.server.lessons import Say
from rack.server.state import begin, to_save
from rack.tomlfile import merged

from .boxes import CATALOGUE
from .test_teach import ROW, START, WORLD, at, run

VERSE = run(START, ("snapshot.keep", "verse"))
BOTH = run(VERSE, ("drive.drive", 12.0), ("tone.cutoff", 4000.0), ("delay.mode", "dark"), ("snapshot.keep", "chorus"))


def test_snapshots_come_back_at_once_and_undo_takes_that_back():
    assert at(BOTH, "snapshots") == ["verse", "chorus"] and at(BOTH, "snapshot") == "chorus"
    state = run(BOTH, ("snapshot", "verse"))
    assert (at(state, "drive.drive"), at(state, "tone.cutoff"), at(state, "delay.mode")) == (-12.0, 1000.0, 0.0)
    assert at(state, "snapshot") == "verse" and not state.glides
    assert run(state, ("undo", True)).scene == BOTH.scene
    assert at(run(BOTH, ("snapshot", 1)), "drive.drive") == at(run(BOTH, ("snapshot", "1")), "drive.drive") == -12.0
    stepped, effects = change(BOTH, WORLD, "snapshot.step", 1)
    assert at(stepped, "snapshot") == "verse" and effects == [Say("snapshot 1: verse")]
    assert at(run(stepped, ("snapshot.step", -1)), "drive.drive") == 12.0


def test_a_snapshot_of_a_rack_that_has_changed_sets_what_is_there():
    state = run(BOTH, ("slots.remove", "tone"), ("slots.add", "gain 0"), ("gain.gain", 3.0), ("snapshot", "verse"))
    assert at(state, "drive.drive") == -12.0 and at(state, "gain.gain") == 3.0


def test_snapshots_are_named_overwritten_and_deleted():
    state = run(BOTH, ("morph.from", "verse"), ("morph.to", 2), ("snapshot.rename", "2 big chorus"))
    assert at(state, "snapshots") == ["verse", "big chorus"] and at(state, "morph.to") == "big chorus"
    state = run(state, ("drive.drive", 5.0), ("snapshot.keep", "verse"), ("snapshot.keep", ""))
    assert at(state, "snapshots") == ["verse", "big chorus", "snapshot 3"]
    assert state.scene.rack.snapshots.kept[0].knobs["drive.drive"] == 5.0
    state = run(state, ("snapshot.delete", "verse"))
    assert at(state, "morph.from") == "" and at(state, "snapshots") == ["big chorus", "snapshot 3"]


@pytest.mark.parametrize("how", [[("snapshot", "verse 100 ms")], [("snapshot", ["verse", 100])],
                                 [("snapshot.glide", "0.1 s"), ("snapshot", "verse")]], ids=str)  # fmt: skip
def test_a_snapshot_can_be_glided_to(how):
    state = run(BOTH, *how)
    assert at(state, "drive.drive") == pytest.approx(12.0 - 24.0 * 0.2), "one tick on the way"
    half = advance(state, WORLD, 0.03)
    assert at(half, "drive.drive") == pytest.approx(0.0, abs=1e-3)
    assert at(half, "tone.cutoff") == pytest.approx(2000.0, rel=1e-4), "along the knob's own curve"
    turned = run(half, ("drive.drive", 7.0))
    there = advance(turned, WORLD, 0.06)
    assert (at(there, "drive.drive"), at(there, "tone.cutoff"), there.glides) == (7.0, 1000.0, ()), "the hand wins"
    back = run(half, ("undo", True))
    assert standing(back, WORLD) == standing(BOTH, WORLD) and not back.glides


def test_between_two_snapshots_there_is_a_place_like_a_knob():
    state = run(BOTH, ("morph.from", "verse"), ("morph.to", "chorus"), ("morph", "50%"))
    assert at(state, "drive.drive") == pytest.approx(0.0, abs=1e-3) and at(state, "morph") == 0.5
    assert [at(run(state, ("morph", m)), "delay.mode") for m in (0.0, 0.4, 0.5, 1.0)] == [0.0, 0.0, 2.0, 2.0]
    assert standing(run(state, ("morph", 1)), WORLD) == pytest.approx(standing(BOTH, WORLD), rel=1e-5)


def test_variation_stays_within_its_limit_and_leaves_choices_locked_and_bypassed_knobs_alone():
    infos, now = driving(BOTH, WORLD).infos, standing(BOTH, WORLD)
    state, effects = change(BOTH, WORLD, "vary", True)
    moved = {k: infos[k].position(v) - infos[k].position(now[k]) for k, v in standing(state, WORLD).items()}
    assert all(abs(by) <= 0.1 + 1e-6 for by in moved.values()) and moved["delay.mode"] == 0.0
    assert sum(by != 0 for by in moved.values()) >= 5 and "varied by up to 10%" in effects[0].text
    assert run(state, ("undo", True)).scene == BOTH.scene
    kept = run(BOTH, ("superknob.link", "drive.drive off"), ("tone.bypass", "on"), ("vary", "100%"))
    after = standing(kept, WORLD)
    assert after["drive.drive"] == 12.0 and after["tone.cutoff"] == 4000.0 and after["delay.time"] != 350.0
    assert all(infos[k].low <= v <= infos[k].high for k, v in after.items())


@pytest.mark.parametrize(
    ("state", "key", "value", "said"),
    [
        (START, "snapshot", "verse", "there are no snapshots yet; keep one first"),
        (START, "snapshot.step", 1, "there are no snapshots yet"),
        (BOTH, "snapshot", "vrese", "must be a snapshot, one of verse, chorus, or its number; did you mean verse?"),
        (BOTH, "snapshot", 3, "must be a snapshot"),
        (BOTH, "snapshot.rename", "verse", "a name is 1 to 64 printable characters"),
        (BOTH, "snapshot.glide", -1, "must be a time from 0 to 60000 ms"),
        (BOTH, "morph", 0.5, "goes between two snapshots; choose them with morph.from and morph.to"),
        (BOTH, "morph", "far", "must be a number from 0 to 1"),
        (BOTH, "vary", 0, "must be more than 0"),
        (begin(Racks("x", racks={"x": Rack()})), "vary", True, "there is no knob to vary"),
        (begin(Racks("x", racks={"x": Rack()})), "snapshot.keep", "", "no slot of this rack has a knob to be kept"),
    ],
)
def test_what_cannot_be_is_a_sentence(state, key, value, said):
    with pytest.raises(ChangeError) as caught:
        change(state, WORLD, key, value)
    assert said in str(caught.value)


def test_snapshots_are_saved_with_the_rack(tmp_path):
    state = run(BOTH, ("morph.from", 1), ("morph.to", 2), ("snapshot.glide", 250))
    text = merged("", to_save(state, "one"), tmp_path / "racks.toml", CATALOGUE)
    found = parse(text.encode(), tmp_path / "racks.toml", CATALOGUE)[0].racks["one"].snapshots
    assert found.kept == state.scene.rack.snapshots.kept and found.ends == ("verse", "chorus") and found.glide_ms == 250
    assert isinstance(found.kept[0], Kept) and ROW[0].id in text
