"""The SuperKnob as keys change it: examples, links, what it drives, glides, and sentences for what cannot be."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from rack.catalogue import KnobInfo
from rack.config import Rack, Racks, Slot, parse
from rack.examples import Lesson, Mapping, SuperKnob, fingerprint
from rack.server.driving import driving, super_view
from rack.server.glide import advance
from rack.server.journal import Journal, journal_of, restored
from rack.server.keys import ChangeError, change, get
from rack.server.lessons import Say
from rack.server.state import Facts, World, begin, saved, spec, still, to_save, view
from rack.server.teach import CancelTraining, Train, taught
from rack.superknob import packed
from rack.tomlfile import merged

from .boxes import CATALOGUE

WORLD = World(CATALOGUE, seed=lambda: 7)
ROW = (
    Slot("drive", "drive", knobs={"drive": -12.0}),
    Slot("tone", "low_pass", knobs={"cutoff": 1000.0}),
    Slot("delay", "delay"),
    Slot("amp", "model", model="/m/a.json"),
)
START = begin(Racks("one", racks={"one": Rack(slots=ROW, xy=("tone.cutoff", "drive.drive")), "two": Rack()}))
AMP = Facts(knobs=(KnobInfo("Deep End", "dB", -12.0, 12.0, 0.0),))
START = replace(START, facts={spec(ROW[3]).key(): AMP})


def run(state, *changes):
    for key, value in changes:
        state, _ = change(state, WORLD, key, value)
    return state


def at(state, key):
    return get(state, WORLD, view(state, WORLD), key)


def seen(state):
    return super_view(state, WORLD)


def mapped(state, offset=0.0):
    """A mapping of what is taught now, that plays every knob at one place."""
    examples = driving(state, WORLD).taught
    keys = tuple(dict.fromkeys(key for example in examples.examples for key in example.values))
    values = [[e.values[k] for e in examples.examples] for k in keys]
    low, high = (tuple(f(v) for v in values) for f in (min, max))
    weights = packed(np.zeros((16, 2)), np.zeros(16), np.zeros((len(keys), 16)), np.full(len(keys), offset))
    return Mapping(examples.knobs, keys, low, high, weights, fingerprint(examples))


TWO = run(
    START,
    ("superknob.add", "dark"),
    ("superknob", 1.0),
    ("drive.drive", 12.0),
    ("tone.cutoff", "4k"),
    ("superknob.add", "bright"),
)
PLAYING = run(TWO, ("superknob.mode", "play"))


def test_what_differs_between_examples_is_driven_and_plays_at_once():
    assert seen(START).links == {} and "a adds an example" in seen(START).place.next
    one = run(START, ("superknob.add", ""))
    assert seen(one).examples[0].name == "example 1" and "change the sound" in seen(one).place.next
    assert seen(TWO).links == {"drive.drive": "driven", "tone.cutoff": "driven"} and not seen(TWO).playing
    assert [e.words for e in seen(TWO).examples] == [
        "drive -12.0 dB, cutoff 1.00 kHz",
        "drive +12.0 dB, cutoff 4.00 kHz",
    ]
    assert seen(TWO).lamp == "no model" and [e.residual for e in seen(TWO).examples] == [0.0, 0.0]
    half = run(PLAYING, ("superknob", "50%"))
    assert at(half, "drive.drive") == pytest.approx(0.0, abs=1e-4)
    assert at(half, "tone.cutoff") == pytest.approx(2000.0, rel=1e-4), "along the knob's own curve"
    assert at(half, "delay.time") == 350.0 and "by interpolation" in seen(half).place.next
    whole = run(half, ("superknob.x", 0.0))
    assert (at(whole, "drive.drive"), at(whole, "tone.cutoff")) == (-12.0, 1000.0)


def test_knobs_of_one_name_are_told_apart_by_their_slots():
    steps = (("superknob.add", "dark"), ("superknob", 1.0), ("drive.drive", 12.0), ("drive2.drive", -3.0))
    state = run(START, ("slots.add", "drive"), *steps, ("superknob.add", "bright"))
    assert seen(state).examples[1].words == "drive.drive +12.0 dB, drive2.drive -3.0 dB"


def test_teaching_moves_nothing_and_shows_where_knobs_would_be():
    state = run(TWO, ("superknob", 0.0))
    assert at(state, "drive.drive") == 12.0, "in Teach it moves nothing else"
    assert seen(state).place.ghosts == {"drive.drive": 0.25, "tone.cutoff": pytest.approx(0.5, abs=1e-3)}
    assert seen(run(state, ("superknob.mode", "toggle"))).place.ghosts == {}, "in Play they are there"


def test_a_knob_that_a_hand_turns_stays_with_the_hand_until_it_is_given_back():
    state, effects = change(PLAYING, WORLD, "drive.drive", 3.0)
    assert effects == [Say("drive.drive: with your hand now; f gives it back to the SuperKnob")]
    state = run(state, ("superknob", 0.0))
    assert (at(state, "drive.drive"), at(state, "tone.cutoff")) == (3.0, 1000.0)
    assert seen(state).links["drive.drive"] == "held" and "stays with your hand" in seen(state).place.next
    assert seen(state).place.ghosts == {"drive.drive": 0.25}
    assert change(state, WORLD, "drive.drive", 4.0)[1] == [], "said once"
    back = run(state, ("superknob.link", "drive.drive"))
    assert at(back, "drive.drive") == -12.0 and seen(back).links["drive.drive"] == "driven"
    pad = run(PLAYING, ("xy", [0.0, 0.5]))
    assert seen(pad).links == {"drive.drive": "held", "tone.cutoff": "held"}, "the pad is a hand, too"
    assert seen(run(pad, ("superknob.release", ""))).links == {"drive.drive": "driven", "tone.cutoff": "driven"}
    assert seen(run(pad, ("superknob.mode", "teach"))).links["tone.cutoff"] == "driven"


def test_links_and_locks():
    locked = run(PLAYING, ("superknob.link", "tone.cutoff"), ("superknob", 0.0))
    assert seen(locked).links["tone.cutoff"] == "locked" and at(locked, "tone.cutoff") == 4000.0
    again = run(locked, ("superknob.link", "tone.cutoff on"))
    assert at(again, "tone.cutoff") == 1000.0
    linked = run(PLAYING, ("superknob.link", ["amp.Deep End", "on"]))
    assert seen(linked).links["amp.Deep End"] == "driven" and driving(linked, WORLD).driven[-1] == "amp.Deep End"
    assert seen(run(linked, ("superknob.link", "amp.Deep End"))).links["amp.Deep End"] == "locked"


def test_choices_follow_the_nearest_example():
    state = run(TWO, ("delay.mode", "dark"), ("superknob.overwrite", "bright"), ("superknob.mode", "play"))
    assert [at(run(state, ("superknob", p)), "delay.mode") for p in (0.0, 0.4, 0.6, 1.0)] == [0.0, 0.0, 2.0, 2.0]


def test_examples_are_recalled_renamed_moved_overwritten_deleted_and_all_of_it_undone():
    steps = [
        ("superknob.rename", "2 edge of breakup"),
        ("superknob.move", "2 0.75"),
        ("drive.drive", 0.0),
        ("superknob.overwrite", "edge of breakup"),
        ("superknob.recall", 1),
        ("superknob.delete", "dark"),
        ("superknob.clear", True),
    ]
    states = [TWO]
    for key, value in steps:
        states.append(run(states[-1], (key, value)))
    moved = states[2].scene.rack.superknob.lessons[1]
    assert (moved.name, moved.position) == ("edge of breakup", (0.75,))
    assert states[4].scene.rack.superknob.lessons[1].knobs["drive.drive"] == 0.0
    assert at(states[5], "superknob") == 0.0 and at(states[5], "drive.drive") == -12.0
    assert [e.name for e in seen(states[6]).examples] == ["edge of breakup"] and not seen(states[7]).examples
    state = states[-1]
    for before in reversed(states[:-1]):
        state = run(state, ("undo", True))
        assert state.scene == before.scene
    assert run(state, *[("redo", True)] * len(steps)).scene == states[-1].scene


def test_training_goes_on_anew_or_not_at_all_and_its_result_is_one_step_to_undo():
    state, effects = change(TWO, WORLD, "superknob.train", "")
    assert effects == [Train(False)] and seen(state).playing
    assert seen(replace(state, training=True)).lamp == "training"
    assert change(state, WORLD, "superknob.train", "anew")[1] == [Train(True)]
    assert change(state, WORLD, "superknob.train", "cancel")[1] == [CancelTraining()]
    learned = taught(state, WORLD, "one", mapped(state))
    assert at(learned, "drive.drive") == pytest.approx(0.0, abs=1e-3), "the mapping plays where the SuperKnob stands"
    assert seen(learned).lamp == "up to date" and len(learned.undo) == len(state.undo) + 1
    assert run(learned, ("undo", True)).scene == state.scene
    newer = run(learned, ("superknob", 0.3), ("drive.drive", 9.0), ("superknob.add", "third"))
    assert seen(newer).lamp == "stale" and seen(newer).examples[2].residual > 0.05
    newer = taught(run(newer, ("superknob.mode", "play")), WORLD, "one", mapped(newer, 9.0))
    assert seen(newer).compare == "A" and at(newer, "drive.drive") == 12.0
    old = run(newer, ("superknob.compare", None))
    assert seen(old).compare == "B" and at(old, "drive.drive") == pytest.approx(0.0, abs=1e-3)
    assert run(old, ("superknob.compare", "A")).scene.rack.superknob == newer.scene.rack.superknob


def test_going_on_resetting_and_clearing_are_three_things():
    learned = taught(PLAYING, WORLD, "one", mapped(PLAYING))
    cleared = run(learned, ("superknob.clear", True), ("superknob", 0.7))
    assert cleared.scene.rack.superknob.mapping and at(cleared, "drive.drive") == pytest.approx(0.0, abs=1e-3)
    assert seen(cleared).links == {"drive.drive": "driven", "tone.cutoff": "driven"}
    reset = run(learned, ("superknob.reset", True), ("superknob", 0.0))
    assert len(seen(reset).examples) == 2 and seen(reset).lamp == "no model" and at(reset, "drive.drive") == -12.0
    exact = run(learned, ("superknob.exact", "on"), ("superknob", 0.0))
    assert exact.scene.rack.superknob.mapping and at(exact, "drive.drive") == -12.0


def test_what_was_learned_reaches_the_rack_it_was_taught_in():
    mapping = mapped(TWO)
    away = taught(run(TWO, ("rack", "two")), WORLD, "one", mapping)
    assert away.scene.name == "two" and run(away, ("rack", "one")).scene.rack.superknob.mapping == mapping
    assert taught(TWO, WORLD, "gone", mapping) == TWO


@pytest.mark.parametrize(
    ("before", "key", "value", "said"),
    [
        (START, "superknob.train", "", "there are no examples yet; set some knobs and add one"),
        (START, "superknob.mode", "play", "there is nothing to play yet"),
        (run(START, ("superknob.add", "")), "superknob.train", "", "one example says nothing yet"),
        (run(START, ("superknob.add", ""), ("superknob", 1), ("superknob.add", "")), "superknob.train", "",
         "no knob stands differently in the 2 examples; change one of them, or link a knob"),
        (TWO, "superknob.add", "again", "'bright' is at 1.00 already"),
        (TWO, "superknob.move", "1 1.0", "'bright' is at 1.00 already; choose another place"),
        (run(TWO, ("superknob.link", "drive.drive off"), ("superknob.link", "tone.cutoff off")), "superknob.train", "",
         "no knob that is not locked stands differently"),
        (run(TWO, ("slots.remove", "drive"), ("slots.remove", "tone"), ("slots.remove", "delay"),
             ("slots.remove", "amp")), "superknob.train", "", "none of the knobs it was taught is in this rack now"),
        (begin(Racks("x", racks={"x": Rack()})), "superknob.add", "", "no slot of this rack has a knob to be taught"),
        (TWO, "superknob.train", "fast", "must be continue, anew or cancel"),
        (TWO, "superknob.recall", "bight", "must be an example, one of dark, bright, or its number; did you mean"),
        (TWO, "superknob.delete", 3, "must be an example"),
        (TWO, "superknob.link", "tone.cutof", "did you mean tone.cutoff?"),
        (TWO, "superknob", 1.5, "must be a number from 0 to 1"),
        (TWO, "superknob", [0.5, 0.5], "must be a number from 0 to 1"),
        (TWO, "superknob.y", 0.5, "superknob.knobs 2 makes it a pad"),
        (TWO, "superknob.glide", "2h", "must be a number from 0 to 60000 ms"),
        (TWO, "superknob.compare", "", "there is only one mapping; train again"),
        (TWO, "superknob.reset", "", "nothing was learned yet"),
        (TWO, "superknob.examples", "knobs = 1", "there are no examples in it"),
        (TWO, "superknob.examples", "[[examples]]\nat = 2", "must be a number from 0 to 1"),
        (TWO, "superknob.examples", "[[examples]]\nat = 0\nknobs = { x.y = 1 }", "this rack has none of their knobs"),
        (TWO, "superknob.examples", "[[examples]]\nat = 0\nknobs = { tone.q = 9 }", "must be a number from 0.1 to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_sentence(before, key, value, said):
    with pytest.raises(ChangeError) as caught:
        change(before, WORLD, key, value)
    assert said in str(caught.value)


def test_two_examples_at_one_place_that_contradict_are_named():
    text = at(TWO, "superknob.examples").replace("at = 1.0", "at = 0.001")
    with pytest.raises(ChangeError, match="'dark' and 'bright' are both at 0.00 but want drive.drive at 0.25 and 0.75"):
        run(TWO, ("superknob.examples", text), ("superknob.train", ""))


def test_a_slot_that_goes_takes_its_knobs_along_and_undo_brings_them_back():
    learned = taught(PLAYING, WORLD, "one", mapped(PLAYING))
    gone = run(learned, ("slots.remove", "drive"))
    assert seen(gone).links == {"tone.cutoff": "driven"}
    assert "drive.drive" not in gone.scene.rack.superknob.lessons[0].knobs
    late = taught(gone, WORLD, "one", mapped(PLAYING))  # it was still training when the slot was taken out
    assert run(late, ("superknob", 0.5)).scene.rack.slots[0].id == "tone"
    assert run(gone, ("undo", True)).scene == learned.scene


def test_a_pad_has_two_knobs():
    pad = run(TWO, ("superknob.knobs", 2))
    assert [e.position for e in seen(pad).examples] == [(0.0, 0.5), (1.0, 0.5)] and at(pad, "superknob") == [1.0, 0.5]
    pad = run(
        pad, ("superknob", "0.5, 1"), ("drive.drive", -24.0), ("superknob.add", "top"), ("superknob.mode", "play")
    )
    assert at(run(pad, ("superknob.x", 0.0), ("superknob.y", 0.5)), "drive.drive") == pytest.approx(-12.0, abs=1e-3)
    assert at(run(pad, ("superknob", [0.5, 1.0])), "drive.drive") == -24.0
    assert [e.position for e in seen(run(pad, ("superknob.knobs", "1"))).examples][2] == (0.5,)


def test_a_glide_takes_its_time_and_is_one_step_to_undo():
    state = run(PLAYING, ("superknob.glide", "200 ms"), ("superknob", 0.0))
    assert at(state, "superknob") == 0.0 and at(state, "drive.drive") == 12.0, "it has only begun"
    half = advance(state, WORLD, 0.1)
    assert at(half, "drive.drive") == pytest.approx(0.0, abs=1e-3) and half.undo == state.undo and half.glides
    back = run(half, ("superknob", 1.0))
    assert advance(back, WORLD, 0.1).scene.rack.slots[0].knobs["drive"] == pytest.approx(6.0, abs=1e-3), "from there"
    there = advance(half, WORLD, 0.15)
    assert at(there, "drive.drive") == -12.0 and not there.glides
    assert not run(half, ("undo", True)).glides and not run(half, ("rack", "two")).glides
    held = advance(run(half, ("tone.cutoff", 100.0)), WORLD, 0.2)
    assert (at(held, "tone.cutoff"), at(held, "drive.drive")) == (100.0, -12.0)


def test_confidence_falls_beyond_the_examples():
    state = run(TWO, ("superknob.move", "1 0.4"), ("superknob.mode", "play"), ("superknob.exact", "on"))
    sure = [seen(run(state, ("superknob", p))).place.confidence for p in (1.0, 0.5, 0.2, 0.0)]
    assert sure == [1.0, 1.0, pytest.approx(0.6), pytest.approx(0.2)]
    learned = taught(state, WORLD, "one", mapped(state))
    assert "guess" in seen(run(learned, ("superknob.exact", "off"), ("superknob", 0.0))).place.next


def test_turning_it_is_a_turn_and_not_a_new_view():
    one, two = (run(PLAYING, ("superknob", 0.5)), run(PLAYING, ("superknob", 0.5), ("superknob", 0.6)))
    views = [replace(view(s, WORLD), superknob=super_view(s, WORLD), undo=0) for s in (one, two)]
    assert views[0] != views[1] and still(views[0]) == still(views[1])


def test_it_is_saved_in_real_units_and_journalled(tmp_path):
    state = taught(
        run(PLAYING, ("superknob.glide", 50), ("superknob.link", "delay.mode off")), WORLD, "one", mapped(TWO)
    )
    path, racks = tmp_path / "racks.toml", to_save(state, "one")
    text = merged('rack = "one"\n', racks, path, CATALOGUE)
    assert 'name = "bright"\nat = 1.0\nknobs = { drive.drive = 12.0, tone.cutoff = 4000.0' in text
    assert "glide_ms = 50.0" in text and 'locked = ["delay.mode"]' in text and 'amp."Deep End" = 0.0' in text
    found, problems = parse(text.encode(), path, CATALOGUE)
    assert found.racks["one"].superknob == state.scene.rack.superknob
    assert [p.key for p in problems] == ["racks.one.slots.amp.model"]
    assert saved(state, racks).edited == {}
    kept = msgspec.json.decode(journal_of(run(state, ("superknob", 0.25))), type=Journal)
    again = restored(START, kept)
    assert again.scene.rack.superknob == run(state, ("superknob", 0.25)).scene.rack.superknob


def test_examples_are_given_to_another_rack_as_toml():
    text = at(TWO, "superknob.examples")
    assert '[[examples]]\nname = "dark"\nat = 0.0\nknobs = { drive.drive = -12.0, tone.cutoff = 1000.0' in text
    fresh, effects = change(START, WORLD, "superknob.examples", text.replace("drive = 12.0", 'drive = "12 dB"'))
    assert effects == [] and fresh.scene.rack.superknob.lessons[1] == TWO.scene.rack.superknob.lessons[1]
    _, effects = change(run(START, ("slots.remove", "amp")), WORLD, "superknob.examples", text)
    assert effects == [Say("amp.Deep End: not in this rack, left out", "warning")]


def test_what_is_wrong_with_it_in_racks_toml_is_said_and_the_rest_plays(tmp_path):
    text = merged("", to_save(PLAYING, "one"), tmp_path / "racks.toml", CATALOGUE)
    wrong = text.replace("at = 1.0", "at = 7").replace("position = 1.0", 'position = "far"\nmapping = { keys = 3 }')
    found, problems = parse(wrong.encode(), tmp_path / "racks.toml", CATALOGUE)
    said = [str(p) for p in problems if "superknob" in p.key]
    assert [lesson.name for lesson in found.racks["one"].superknob.lessons] == ["dark"]
    assert len(said) == 3 and any("mapping: is damaged" in line for line in said)
    assert any("superknob.examples.2.at = 7: must be a number from 0 to 1" in line for line in said)


def test_comments_above_examples_stay_when_others_change(tmp_path):
    path, text = tmp_path / "racks.toml", merged("", to_save(PLAYING, "one"), tmp_path / "racks.toml", CATALOGUE)
    text = text.replace(
        '[[racks.one.superknob.examples]]\nname = "bright"', '# loud\n[[racks.one.superknob.examples]]\nname = "bright"'
    )
    text += "\n\n[racks.two]\n# mine\n"
    after = merged(text, to_save(run(PLAYING, ("superknob.delete", "dark")), "one"), path, CATALOGUE)
    assert '# loud\n[[racks.one.superknob.examples]]\nname = "bright"' in after and "# mine" in after
    assert (
        '"dark"' not in after
        and merged(after, to_save(run(PLAYING, ("superknob.delete", 1)), "one"), path, CATALOGUE) == after
    )


def test_a_damaged_mapping_plays_by_interpolation():
    lessons = (Lesson("a", (0.0,), {"drive.drive": 0.0}), Lesson("b", (1.0,), {"drive.drive": 6.0}))
    mapping = Mapping(1, ("drive.drive",), (0.0,), (1.0,), b"123")
    damaged = SuperKnob(playing=True, lessons=lessons, mapping=mapping)
    state = begin(Racks("x", racks={"x": Rack(slots=ROW[:1], superknob=damaged)}))
    assert at(run(state, ("superknob", 1.0)), "drive.drive") == 6.0
