"""Changes to the rack as values: every key, undo, A/B, presets, and that nothing but ChangeError comes out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rack.catalogue import KnobInfo
from rack.config import Rack, Racks, Slot, SourceChoice
from rack.protocol import View
from rack.server.keys import ChangeError, Effect, ResetMeters, Save, Stop, all_keys, change, get
from rack.server.librarykeys import MakeAhead, Mark, WatchFolder
from rack.server.snapshots import SNAPSHOT_READS
from rack.server.state import Facts, begin, failure, positions, saved, spec, still, to_save, turned, view
from rack.server.teach import TEACH_READS

from .boxes import CATALOGUE

FILES = {"/m/a.json", "/m/b.json", "/m/c.json", "/irs/one.wav", "/irs/two.wav", "/loops/drum.wav"}


def find(path: str) -> str:
    return path if path in FILES else f"/m/{path}" if f"/m/{path}" in FILES else ""


def beside(path: str) -> list[str]:
    folder, _, name = path.rpartition("/")
    return sorted(f for f in FILES if f.startswith(folder + "/") and f.rpartition(".")[2] == name.rpartition(".")[2])


def state_of_world():
    from rack.server.state import World

    return World(
        CATALOGUE,
        find=find,
        beside=beside,
        playable=beside,
        check_sound=lambda path: "" if path.startswith("/loops") else "is no sound file",
        recording=lambda: "/rec/1.wav",
        models=lambda: ["/m/a.json"],
        responses=lambda: ["/irs/one.wav", "/irs/two.wav"],
    )


WORLD = state_of_world()
ROW = (
    Slot("gain", "gain"),
    Slot("delay", "delay", knobs={"time": 100.0}),
    Slot("drive", "drive"),
    Slot("cab", "cab", settings={"ir": "/irs/one.wav"}),
    Slot("amp", "model", model="/m/a.json"),
)
START = begin(
    Racks(
        "one", racks={"one": Rack(slots=ROW, xy=("delay.time", "gain.gain")), "two": Rack(title="Two"), "three": Rack()}
    )
)
AMP = Facts(knobs=(KnobInfo("bite", "", 0.0, 1.0, 0.5), KnobInfo("Deep End", "dB", -12.0, 12.0, 0.0)), latency=3)
START = replace(START, facts={spec(ROW[4]).key(): AMP})


def run(state, *changes):
    for key, value in changes:
        state, _ = change(state, WORLD, key, value)
    return state


def at(state, key):
    return get(state, WORLD, view(state, WORLD), key)


@pytest.mark.parametrize(
    ("key", "value", "reads"),
    [
        ("gain.gain", -3.5, -3.5),
        ("gain.gain", "-3.5dB", -3.5),
        ("gain.gain", "+2", 2.0),
        ("gain.gain", "default", 0.0),
        ("delay.time", "0.35 s", 350.0),
        ("delay.time", "50%", 44.72136),
        ("delay.mode", "Dark", 2.0),
        ("amp.bite", "30%", 0.3),
        ("amp.Deep End", "-6", -6.0),
        ("gain.bypass", "on", True),
        ("gain.bypass", "toggle", True),
        ("gain.bypass", True, True),
        ("gain.notes", "as on the record", "as on the record"),
        ("amp.model", "b.json", "/m/b.json"),
        ("drive.settings.seed", "7", 7),
        ("drive.seed", 8, 8),
        ("drive.activation", "relu", "relu"),
        ("drive.spread", "0.25", 0.25),
        ("delay.ping_pong", "on", True),
        ("cab.ir", "/irs/two.wav", "/irs/two.wav"),
        ("bypass", "on", True),
        ("mute", True, True),
        ("compare", "B", "B"),
        ("source", "input", "input"),
        ("source", "file:/loops/drum.wav", "file:/loops/drum.wav"),
        ("record", "on", "/rec/1.wav"),
        ("record", "/tmp/take", "/tmp/take.wav"),
        ("xy.x", "amp.bite", "amp.bite"),
        ("xy", [0.5, 0.25], [0.5, 0.25]),
        ("xy", "0, 1", [0.0, 1.0]),
        ("rack", "two", "two"),
        ("audio.block", "256", 256),
        ("audio.outputs", "3,4", (3, 4)),
        ("audio.inputs", "", ()),
        ("audio.input_device", 2, "2"),
        ("audio.backend", "null", "null"),
    ],
)
def test_what_is_set_is_what_is_read(key, value, reads):
    assert at(run(START, (key, value)), key) == reads


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gain.gain", 99, "gain.gain = 99: must be a number from -24 to 24 dB"),
        ("gain.gain", "loud", 'gain.gain = "loud": must be a number from -24 to 24 dB'),
        ("gain.gain", float("nan"), "gain.gain = nan: must be"),
        ("gain.gain", True, "gain.gain = true: must be"),
        ("gain.gian", 1, "gain.gian: no such key; did you mean gain.gain?"),
        ("delya.time", 1, "delya.time: no such key; did you mean delay.time?"),
        ("zzz.qqq", 1, "zzz.qqq: no such key; the slots are gain, delay, drive, cab, amp"),
        ("gain", 1, "gain: no such key"),
        ("gain.bypass", "maybe", 'gain.bypass = "maybe": must be on, off or toggle'),
        ("gain.model", "/m/a.json", 'only a slot of type "model" plays a model file; this one is gain'),
        ("gain.model.step", 1, "plays no file"),
        ("amp.model", "/m/gone.json", 'amp.model = "/m/gone.json": no such file'),
        ("drive.seed", 5000, "drive.seed = 5000: must be a whole number from 0 to 1024"),
        ("drive.activation", "rleu", "must be one of tanh, relu, sine; did you mean relu?"),
        ("slots.add", "dealy", "must begin with one of cab, delay, drive, gain, low_pass, model; did you mean delay?"),
        ("slots.add", {"type": "model"}, "a model needs the path of a model file that exists"),
        ("slots.add", "limiter", "must begin with one of"),
        ("slots.remove", "gian", "must name one of the slots gain, delay, drive, cab, amp; did you mean gain?"),
        ("slots.move", "gain", 'must be a slot and its new place counted from 0, as in "delay 2"'),
        ("rack", "tow", "must be one of one, two, three; did you mean two?"),
        ("source", "file:/m/a.json", "is no sound file"),
        ("source", "radio", "must be input, loop or file:PATH"),
        ("xy", [2, 0], "must be two numbers from 0 to 1"),
        ("xy.x", "gain.bite", 'must be a knob of this rack as "slot.knob"'),
        ("audio.block", 7, "audio.block = 7: must be a whole number from 32 to 2048 samples"),
        ("audio.rate", "48k", 'audio.rate = "48k": must be a whole number'),
        ("save", "\n", "a rack's name is 1 to 64 printable characters"),
        ("vary", 2, "vary = 2: must be a number from 0 to 1"),
    ],
)
def test_what_cannot_be_is_said_with_key_value_and_what_is_allowed(key, value, said):
    with pytest.raises(ChangeError) as caught:
        change(START, WORLD, key, value)
    assert said in str(caught.value)


def test_knobs_of_a_model_that_is_still_read_are_not_known():
    state = replace(START, facts={})
    with pytest.raises(ChangeError, match="not known yet"):
        change(state, WORLD, "amp.bite", 0.5)


def test_slots_are_added_moved_and_removed():
    state = run(
        START, ("slots.add", "delay 1"), ("slots.add", "model b.json 0"), ("slots.add", {"type": "cab", "index": 99})
    )
    assert at(state, "slots") == ["b", "gain", "delay2", "delay", "drive", "cab", "amp", "cab2"]
    state = run(state, ("slots.move", "cab2 0"), ("slots.move", ["gain", 3]), ("slots.remove", "delay"))
    assert at(state, "slots") == ["cab2", "b", "delay2", "gain", "drive", "cab", "amp"]
    assert state.scene.rack.xy == ("", "gain.gain"), "an axis goes with its slot"
    for n in range(30):
        try:
            state = run(state, ("slots.add", "gain"))
        except ChangeError as error:
            assert "at most 24 slots" in str(error) and n == 17
            break


def test_the_next_model_impulse_response_and_seed():
    assert at(run(START, ("amp.model.step", 1)), "amp.model") == "/m/b.json"
    assert at(run(START, ("amp.model.step", -1)), "amp.model") == "/m/c.json"
    assert at(run(START, ("cab.model.step", "1")), "cab.ir") == "/irs/two.wav"
    named = run(START, ("cab.ir", "two"))
    assert at(named, "cab.ir") == "two" and at(run(named, ("cab.model.step", 1)), "cab.ir") == "/irs/one.wav"
    assert at(run(named, ("cab.ir", ""), ("cab.model.step", 1)), "cab.ir") == "/irs/one.wav"
    assert at(run(START, ("drive.seed", 0), ("drive.model.step", -1)), "drive.seed") == 1024


def test_the_next_model_is_that_of_the_last_search_while_it_plays():
    found = run(START, ("library.audition", ["/m/c.json", "/m/a.json", "/x/far.json"]))
    stepped = run(found, ("amp.model.step", 1))
    assert at(stepped, "amp.model") == "/x/far.json"
    assert at(run(stepped, ("amp.model.step", 1)), "amp.model") == "/m/c.json"
    elsewhere = run(found, ("amp.model", "b.json"))
    assert at(run(elsewhere, ("amp.model.step", 1)), "amp.model") == "/m/c.json"  # of its folder
    assert at(run(found, ("library.audition", []), ("amp.model.step", 1)), "amp.model") == "/m/b.json"
    assert stepped.undo[-1] == found.scene and found.scene == START.scene, "only steps are undone"


def test_what_is_noted_in_the_library():
    def effects(key, value):
        return change(START, WORLD, key, value)[1]

    assert effects("library.mark", {"path": "a.json", "favourite": True}) == [Mark("/m/a.json", True)]
    noted = effects("library.mark", {"path": "/gone.nam", "tags": "x", "notes": ""})
    assert noted == [Mark("/gone.nam", None, "x", "")]
    assert effects("library.add", "/amps/") == [WatchFolder("/amps", True)]
    assert effects("library.remove", "/amps") == [WatchFolder("/amps", False)]
    assert effects("library.ahead", "/m/a.json") == [MakeAhead(("/m/a.json",))]
    for key, value in {
        "library.mark": {"favourite": True},
        "library.add": "amps",
        "library.remove": None,
        "library.audition": "",
        "library.ahead": [1],
    }.items():
        if key == "library.audition":
            assert run(START, (key, value)).audition == ()
        else:
            with pytest.raises(ChangeError, match="must"):
                change(START, WORLD, key, value)


def test_undo_goes_back_gesture_by_gesture():
    state = START
    for gain in range(5):
        state, _ = change(state, WORLD, "gain.gain", gain, ("tui", 1))
    state, _ = change(state, WORLD, "gain.gain", 9, ("tui", 2))
    state, _ = change(state, WORLD, "gain.gain", 10, ("cli", 2))
    state, _ = change(state, WORLD, "gain.gain", 11)
    state, _ = change(state, WORLD, "gain.gain", 12)
    seen = [at(state, "gain.gain")]
    while state.undo:
        state = run(state, ("undo", True))
        seen.append(at(state, "gain.gain"))
    assert seen == [12, 11, 10, 9, 4, 0]
    with pytest.raises(ChangeError, match="nothing to undo"):
        change(state, WORLD, "undo")
    while state.redo:
        state = run(state, ("redo", None))
    assert at(state, "gain.gain") == 12 and not state.redo


def test_a_change_that_changes_nothing_is_no_step():
    assert run(START, ("gain.gain", 0)).undo != () and run(START, ("gain.bypass", "off")).undo == ()


def test_presets_keep_their_edits_and_undo_reaches_across_them():
    state = run(START, ("gain.gain", 5), ("rack", "two"), ("slots.add", "cab"), ("rack.step", 1), ("rack.step", 1))
    assert state.scene.name == "one" and at(state, "gain.gain") == 5 and set(state.edited) == {"one", "two"}
    state = run(state, ("undo", None), ("undo", None))
    assert state.scene.name == "two" and at(state, "slots") == ["cab"]
    state = run(state, ("undo", None))
    assert at(state, "slots") == [] and set(state.edited) == {"one"}
    state = run(state, ("undo", None), ("undo", None))
    assert state.scene.name == "one" and at(state, "gain.gain") == 0 and not state.edited


def test_a_and_b_are_two_versions_of_one_rack():
    state = run(START, ("gain.gain", 5), ("compare", None))
    assert (state.scene.compare, at(state, "gain.gain")) == ("B", 5)
    state = run(state, ("gain.gain", 7), ("compare", "toggle"))
    assert (state.scene.compare, at(state, "gain.gain")) == ("A", 5)
    state = run(state, ("compare", "a"), ("compare.copy", True), ("compare", "B"))
    assert at(state, "gain.gain") == 5
    state = run(state, ("undo", None), ("undo", None))
    assert (state.scene.compare, at(run(state, ("compare", "B")), "gain.gain")) == ("A", 7)


def test_saving_and_its_name():
    state = run(START, ("gain.gain", 5))
    assert view(state, WORLD).modified
    assert change(state, WORLD, "save", "")[1] == [Save("one")] and change(state, WORLD, "save", "new")[1] == [
        Save("new")
    ]
    assert not view(saved(state, to_save(state, "one")), WORLD).modified
    state = saved(state, to_save(state, "new"))
    assert view(state, WORLD).racks == ("one", "two", "three", "new") and not state.edited
    assert at(run(state, ("rack", "one")), "gain.gain") == 0


def test_effects_outside():
    assert change(START, WORLD, "meters.reset")[1] == [ResetMeters()] and change(START, WORLD, "stop")[1] == [Stop()]
    recording = run(START, ("record", True))
    assert run(recording, ("record", "on")) == recording
    with pytest.raises(ChangeError, match="already recording"):
        change(recording, WORLD, "record", "/tmp/other.wav")


def test_a_slot_with_a_mistake_plays_again_once_it_is_changed():
    wrong = replace(ROW[0], error="gain.knobs.gian: unknown key")
    state = begin(Racks("x", racks={"x": Rack(slots=(wrong, replace(ROW[4], knobs={"bite": 7.0}, unread=True)))}))
    assert view(state, WORLD).slots[0].status == "failed" and view(state, WORLD).slots[1].status == "ready"
    state = replace(state, facts={spec(ROW[4]).key(): AMP})
    assert "bite = 7.0: must be a number from 0 to 1" in failure(state, state.scene.rack.slots[1])
    state = run(state, ("gain.gain", 1), ("amp.bite", 0.25))
    assert [slot.error for slot in view(state, WORLD).slots] == ["", ""]


def test_positions_and_values_are_the_knobs_own():
    slot = state_slot = Slot("delay", "delay", knobs={"time": 1.0, "feedback": "95%", "gone": 3.0})
    there = CATALOGUE["delay"].knobs
    assert positions(slot, there) == (0.0, pytest.approx(0.95), 0.0) and state_slot is slot


def test_the_view_tells_a_turn_from_anything_else():
    before = view(START, WORLD)
    after = view(run(START, ("gain.gain", 5), ("delay.mode", 1)), WORLD)
    assert turned(before, after) == [("gain.gain", 5.0), ("delay.mode", 1.0)]
    assert still(before) != still(after), "there is something to undo now, and the rack differs from its preset"
    again = view(run(START, ("gain.gain", 5), ("delay.mode", 2)), WORLD)
    assert turned(after, again) == [("delay.mode", 2.0)] and still(after) == still(again)
    assert turned(before, view(run(START, ("slots.remove", "cab")), WORLD)) is None


def test_everything_can_be_read():
    state, words = START, view(START, WORLD)
    for key in all_keys(state, WORLD):
        acts = ("save", "slots", "meters", "vary", "stop", "rack", "library", "jobs")
        if key.partition(".")[0] in acts or key.endswith((".step", ".copy")):
            continue
        if key.startswith(("superknob.", "snapshot.")) and key not in {**TEACH_READS, **SNAPSHOT_READS}:
            continue
        msgspec.json.encode(at(state, key))
    assert at(state, "") == all_keys(state, WORLD) and at(state, "racks") == ["one", "two", "three"]
    assert msgspec.convert(at(state, "status"), View) == words
    assert at(state, "amp")["knobs"] == {"bite": 0.5, "Deep End": 0.0} and at(state, "audio")["rate"] == 48000
    with pytest.raises(ChangeError, match="did you mean amp.bite"):
        at(state, "amp.biet")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
likely = st.sampled_from(
    [1, -1, 0, 0.5, "0.5", "on", "off", "toggle", True, False, "64", "", "B", [0.1, 0.9], "0.2 0.3", "amp.bite"]
    + ["gain", "delay", "amp 0", ["gain", 2], "two", "three", "delay 1", "/m/b.json", "model b.json"]
    + ["loop", "input", "file:/loops/drum.wav"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(all_keys(START, WORLD)) | st.text(max_size=8), likely | anything), max_size=25)
)
def test_any_changes_give_a_state_or_a_change_error_and_can_be_undone(changes):
    state, steps = START, [START.scene]
    for key, value in changes:
        before = state
        try:
            state, effects = change(state, WORLD, key, value)
        except ChangeError as error:
            assert str(error)
            continue
        assert all(isinstance(effect, Effect) for effect in effects)
        msgspec.msgpack.encode(view(state, WORLD))
        ids = [slot.id for slot in state.scene.rack.slots]
        assert len(set(ids)) == len(ids) <= 24
        if len(state.undo) > len(before.undo) and key != "redo":
            back = change(state, WORLD, "undo")[0]
            assert back.scene == before.scene and back.edited == before.edited
            again = change(back, WORLD, "redo")[0]
            assert (again.scene, again.edited, again.undo) == (state.scene, state.edited, state.undo)
    while state.undo:
        state = change(state, WORLD, "undo")[0]
    assert state.scene == steps[0] and not state.edited
    assert state.source == SourceChoice() or any(key == "source" for key, _ in changes)
