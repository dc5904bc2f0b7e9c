"""racks.toml: what is wrong is said where it stands, the rest loads, and saving changes nothing but what changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rack.config import Audio, ConfigError, Problem, Rack, Racks, Slot, SourceChoice, load, parse
from rack.tomlfile import merged, save

from .boxes import CATALOGUE

GOOD = """\
# My racks. Every line of mine stays.
rack = "clean"

[audio]
block = 128   # a slow machine
input_device = 3

[racks.clean]
title = "Clean"
channels = 1
xy = { x = "tone.cutoff", y = "gain.gain" }

# louder first
[[racks.clean.slots]]
type = "gain"
knobs = { gain = "6 dB" }  # as loud as the amp stands it

# and darker
[[racks.clean.slots]]
id = "tone"
type = "low_pass"
knobs = { cutoff = "2.5k", q = 0.5 }
bypass = true

[racks.wide]
[[racks.wide.slots]]
type = "delay"
settings = { ping_pong = true }
[racks.wide.slots.knobs]
time = "0.25 s"
mode = "dark"
[[racks.wide.slots]]
type = "delay"
"""


def read(text: str, folder: Path = Path("/nowhere")) -> tuple[Racks, list[str]]:
    racks, problems = parse(text.encode(), folder / "racks.toml", CATALOGUE)
    return racks, [str(problem) for problem in problems]


def test_a_good_file_loads_in_real_units():
    racks, problems = read(GOOD)
    assert problems == []
    assert racks.rack == "clean" and racks.audio == Audio(block=128, input_device="3")
    clean, wide = racks.racks["clean"], racks.racks["wide"]
    assert clean.channels == 1 and clean.xy == ("tone.cutoff", "gain.gain") and wide.channels == 2
    assert [slot.id for slot in clean.slots] == ["gain", "tone"]
    assert clean.slots[0].knobs == {"gain": 6.0}
    assert clean.slots[1].knobs == {"cutoff": 2500.0, "q": 0.5} and clean.slots[1].bypass
    assert [slot.id for slot in wide.slots] == ["delay", "delay2"]
    assert wide.slots[0].knobs == {"time": 250.0, "mode": 2.0}
    assert wide.slots[0].settings == {"ping_pong": True}


def slot(lines: str) -> str:
    return f'[racks.a]\n[[racks.a.slots]]\ntype = "gain"\n[[racks.a.slots]]\n{lines}\n'


MALFORMED = {
    "unknown key": ('racks = {}\nrak = "a"\n', "racks.toml:2: rak: unknown key; did you mean rack?"),
    "unknown rack": (
        GOOD.replace('rack = "clean"', 'rack = "claen"'),
        'rack = "claen": must be one of clean, wide; did you mean clean?',
    ),
    "block out of range": (
        "[audio]\n\nblock = 4096\n",
        "racks.toml:3: audio.block = 4096: must be a whole number from 32",
    ),
    "rate as text": ('[audio]\nrate = "fast"\n', 'racks.toml:2: audio.rate = "fast": must be a whole number from 8000'),
    "backend": ('[audio]\nbackend = "alsa"\n', 'audio.backend = "alsa": must be auto, portaudio or null'),
    "channel zero": ("[audio]\noutputs = [0, 1]\n", "audio.outputs = [0, 1]: must be a list of 1 to 2 different"),
    "source file": ('[source]\nkind = "file"\npath = "x.wav"\n', 'racks.toml:3: source.path = "x.wav": no such file'),
    "three channels": (
        "[racks.a]\nchannels = 3\n",
        "racks.toml:2: racks.a.channels = 3: must be a whole number from 1",
    ),
    "slots as a table": ("[racks.a]\nslots = 1\n", "racks.a.slots = 1: must be written as [[racks.a.slots]]"),
    "no such box": (
        slot('type = "gian"'),
        'racks.toml:5: racks.a.slots.gian.type = "gian": no such box; did you mean gain?; there are ',
    ),
    "type missing": (slot('id = "x"'), "racks.toml:4: racks.a.slots.x.type: is missing; it is one of cab, delay"),
    "own limiter": (slot('type = "limiter"'), "every rack ends in a limiter already"),
    "unknown knob": (
        slot('type = "delay"\nknobs = { tiem = 3 }'),
        "racks.toml:6: racks.a.slots.delay.knobs.tiem: unknown key; did you mean time?",
    ),
    "knob out of range": (
        slot('type = "delay"\n[racks.a.slots.knobs]\n\ntime = "3 s"'),
        'racks.toml:8: racks.a.slots.delay.knobs.time = "3 s": must be a number from 1 to 2000 ms',
    ),
    "knob not a number": (
        slot('type = "gain"\nknobs.gain = true'),
        "gain2.knobs.gain = true: must be a number from -24",
    ),
    "knob not finite": (slot('type = "gain"\nknobs.gain = nan'), "gain2.knobs.gain = nan: must be a number from -24"),
    "label": (slot('type = "delay"\nknobs.mode = "tpae"'), 'mode = "tpae": must be one of tape, clean, dark'),
    "setting": (
        slot('type = "drive"\nsettings.seed = 2000'),
        "drive.settings.seed = 2000: must be a whole number from 0",
    ),
    "setting's type": (
        slot('type = "drive"\nsettings.seed = 1.5'),
        "settings.seed = 1.5: must be a whole number from 0 to",
    ),
    "setting's choice": (
        slot('type = "drive"\nsettings.activation = "tahn"'),
        'settings.activation = "tahn": must be one of tanh, relu, sine; did you mean tanh?',
    ),
    "model missing": (slot('type = "model"'), 'racks.a.slots.model.model: is missing; type "model" needs a model file'),
    "model not there": (
        slot('type = "model"\nmodel = "a.nam"'),
        'slots.model.model = "a.nam": no such file in /nowhere',
    ),
    "model on a gain": (
        slot('type = "gain"\nmodel = "a.nam"'),
        'model = "a.nam": only type "model" takes a model file',
    ),
    "same id": (slot('id = "x"\ntype = "drive"\n[[racks.a.slots]]\nid = "x"\ntype = "cab"'), "another slot of this"),
    "reserved id": (slot('id = "rack"\ntype = "drive"'), 'id = "rack": must be a word of letters'),
    "bypass": (
        slot('type = "gain"\nbypass = "yes"'),
        'racks.toml:6: racks.a.slots.gain2.bypass = "yes": must be true or',
    ),
    "axis": (
        slot('type = "gain"\n[racks.a.xy]\nx = "gain.gian"'),
        'racks.a.xy.x = "gain.gian": gain has the knobs gain',
    ),
    "axis' slot": (
        slot('type = "gain"\n[racks.a.xy]\ny = "x.y"'),
        'racks.a.xy.y = "x.y": must be "slot.knob" with a slot',
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_wrong_is_said_with_place_value_and_what_is_allowed(name):
    text, said = MALFORMED[name]
    racks, problems = read(text)
    assert any(said in problem for problem in problems), problems
    if "[[racks.a.slots]]" in text:
        healthy = racks.racks["a"].slots[0]
        assert healthy == Slot("gain", "gain"), "one bad slot must not touch the others"
        if "xy" not in text:
            assert [bool(s.error) for s in racks.racks["a"].slots].count(True) == 1


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'rack = "a"\n[racks.a\n', "racks.toml:2: "),
        (b"[audio]\nblock = 64\nblock = 32\n", "racks.toml:3: "),
        (b"\n\xff\xfe", "racks.toml:2: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"x = " + b"[" * 5000, "racks.toml"),
        (b"x = 1" + b"0" * 10000, "racks.toml"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_its_line(raw, said):
    with pytest.raises(ConfigError, match="^" + said.replace("[", r"\[")):
        racks, problems = parse(raw, Path("/nowhere/racks.toml"), CATALOGUE)
        if problems:  # a huge number is TOML all the same; it must be a problem then
            raise ConfigError(str(problems[0]))


def test_no_file_and_no_racks(tmp_path):
    with pytest.raises(ConfigError, match="gone.toml: cannot be read: No such file"):
        load(tmp_path / "gone.toml", CATALOGUE)
    racks, problems = read("")
    assert racks.racks == {"empty": Rack()} and "there is no rack" in problems[0]


def test_models_are_found_beside_the_file_and_need_no_known_knobs(tmp_path):
    (tmp_path / "amp.json").write_text("{}")
    (tmp_path / "room.wav").write_bytes(b"RIFF")
    text = slot('type = "model"\nmodel = "amp.json"\nknobs = { bite = "30%", x = 2 }')
    text += '[[racks.a.slots]]\ntype = "cab"\nsettings = { ir = "room.wav" }\n'
    racks, problems = read(text, tmp_path)
    assert problems == []
    model, cab = racks.racks["a"].slots[1:]
    assert model.model == str(tmp_path / "amp.json") and model.knobs == {"bite": "30%", "x": 2.0} and model.unread
    assert cab.settings == {"ir": str(tmp_path / "room.wav")}


# --- Saving -----------------------------------------------------------------------------------------------------------


def put(path: Path, rack: str, change) -> str:
    """Save the file with one rack changed; answers its text."""
    racks, _ = load(path, CATALOGUE)
    save(path, replace(racks, racks={rack: change(racks.racks[rack])}), CATALOGUE)
    return path.read_text()


def changed_slot(rack: Rack, index: int, **changes) -> Rack:
    slots = list(rack.slots)
    slots[index] = replace(slots[index], **changes)
    return replace(rack, slots=tuple(slots))


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "racks.toml"
    path.write_text(GOOD)
    return path


def test_saving_what_is_there_changes_nothing(file):
    assert put(file, "clean", lambda rack: rack) == GOOD


def test_one_knob_changes_one_value_and_nothing_else(file):
    text = put(file, "clean", lambda rack: changed_slot(rack, 0, knobs={"gain": -3.5}))
    assert text == GOOD.replace('gain = "6 dB"', "gain = -3.5")
    text = put(file, "wide", lambda rack: changed_slot(rack, 0, knobs={**rack.slots[0].knobs, "time": 300.0}))
    assert text == GOOD.replace('gain = "6 dB"', "gain = -3.5").replace('"0.25 s"', "300.0")


def test_new_keys_stand_with_their_table(file):
    text = put(file, "clean", lambda rack: changed_slot(replace(rack, notes="for Monday"), 0, bypass=True))
    assert 'xy = { x = "tone.cutoff", y = "gain.gain" }\nnotes = "for Monday"\n\n# louder first' in text
    assert "as the amp stands it\nbypass = true\n\n# and darker" in text


def test_slots_move_with_the_comments_above_them(file):
    text = put(file, "clean", lambda rack: replace(rack, slots=rack.slots[::-1]))
    first, second = text.index("# and darker"), text.index("# louder first")
    assert first < text.index('id = "tone"') < second < text.index('type = "gain"') < text.index("[racks.wide]")
    assert sorted(text.split("\n")) == sorted(GOOD.split("\n"))


def test_slots_come_and_go(file):
    new = Slot("echo", "delay", knobs={"time": 100.0}, notes="slap")
    text = put(file, "clean", lambda rack: replace(rack, slots=(rack.slots[1], new), xy=("", "")))
    assert "as loud as" not in text and "# louder first" not in text and "# and darker" in text
    assert 'id = "echo"\ntype = "delay"\nknobs = { time = 100.0 }\nnotes = "slap"\n' in text
    assert load(file, CATALOGUE)[0].racks["clean"].slots[1] == new
    assert put(file, "clean", lambda rack: replace(rack, slots=())).count("[[") == 2


def test_an_id_that_came_from_its_place_is_written_when_the_place_changes(file):
    put(file, "wide", lambda rack: replace(rack, slots=rack.slots[1:]))
    racks, problems = load(file, CATALOGUE)
    assert [slot.id for slot in racks.racks["wide"].slots] == ["delay2"] and not problems


def test_a_slot_that_was_put_right_is_written_anew_and_one_that_was_not_stays(file):
    bad = '\n[racks.bad]\n# hot\n[[racks.bad.slots]]\ntype = "gain"\nknobs = { gian = 99 }\n'
    bad += '[[racks.bad.slots]]\ntype = "nothing"\nwhat = "ever"\n'
    file.write_text(GOOD + bad)
    text = put(file, "bad", lambda rack: changed_slot(rack, 0, error="", knobs={"gain": 3.0}))
    assert "gian" not in text and "# hot\n[[racks.bad.slots]]" in text and 'what = "ever"' in text
    racks, problems = load(file, CATALOGUE)
    assert racks.racks["bad"].slots[0] == Slot("gain", "gain", knobs={"gain": 3.0})
    assert {problem.key.split(".")[3] for problem in problems} == {"nothing"}


def test_the_device_the_source_and_the_first_rack_are_saved(file):
    racks, _ = load(file, CATALOGUE)
    audio = replace(racks.audio, block=64, outputs=(2, 1))
    save(file, replace(racks, rack="wide", audio=audio, source=SourceChoice("input"), racks={}), CATALOGUE)
    text = file.read_text()
    assert 'rack = "wide"' in text and "block = 64   # a slow machine" in text and "outputs = [2, 1]" in text
    again, problems = load(file, CATALOGUE)
    assert again.audio == audio and again.source.kind == "input" and again.rack == "wide" and not problems


def test_a_new_file_begins_as_the_template(tmp_path):
    path = tmp_path / "deep" / "racks.toml"
    racks, _ = read(GOOD)
    save(path, replace(racks, rack="wide"), CATALOGUE, template=GOOD)
    assert path.read_text() == GOOD.replace('rack = "clean"', 'rack = "wide"')


def test_saving_keeps_the_mode_and_a_link(file):
    file.chmod(0o640)
    link = file.parent / "link.toml"
    link.symlink_to(file)
    put(link, "clean", lambda rack: replace(rack, title="C"))
    assert link.is_symlink() and 'title = "C"' in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_save_that_cannot_be_leaves_the_file_alone(file, monkeypatch):
    racks, _ = load(file, CATALOGUE)
    racks = replace(racks, racks={"clean": Rack(title="other")})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device; nothing was changed"):
        save(file, racks, CATALOGUE)
    assert file.read_text() == GOOD and os.listdir(file.parent) == ["racks.toml"]
    monkeypatch.undo()
    file.write_text("[racks.clean\n")
    with pytest.raises(ConfigError, match="racks.toml:1"):
        save(file, racks, CATALOGUE)
    assert file.read_text() == "[racks.clean\n"


@pytest.mark.parametrize(
    "text", ['racks.a.slots = [{ type = "gain" }, { type = "cab" }]\n', 'racks = { a = { title = "x" } }']
)
def test_a_rack_written_in_an_odd_way_is_saved_or_refused_but_never_broken(tmp_path, text):
    path = tmp_path / "racks.toml"
    path.write_text(text)
    try:
        put(
            path,
            "a",
            lambda rack: replace(rack, slots=(Slot("cab", "cab"), Slot("gain", "gain", bypass=True)), title="y"),
        )
    except ConfigError as error:
        assert "cannot be changed" in str(error) and path.read_text() == text
    else:
        assert [s.id for s in load(path, CATALOGUE)[0].racks["a"].slots] == ["cab", "gain"]


# --- Anything at all --------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = words.filter(lambda name: name.strip() and name.isprintable())


@st.composite
def slots(draw, name):
    box = CATALOGUE[draw(st.sampled_from([kind for kind in CATALOGUE if kind != "limiter"]))]
    chosen = draw(st.sets(st.sampled_from(box.knobs), max_size=3))
    knobs = {k.name: float(f"{k.value(draw(st.floats(0, 1))):.7g}") for k in box.knobs if k in chosen}
    knobs = {k.name: min(max(knobs[k.name], k.low), k.high) for k in box.knobs if k in chosen}
    own = {
        "ping_pong": st.booleans(),
        "seed": st.integers(0, 1024),
        "spread": st.floats(0, 1),
        "activation": st.just("sine"),
    }
    chosen = [info for info in box.settings if info.name in own and draw(st.booleans())]
    settings = {info.name: draw(own[info.name]) for info in chosen}
    return Slot(name, box.kind, knobs=knobs, settings=settings, bypass=draw(st.booleans()), notes=draw(words))


@st.composite
def any_rack(draw):
    ids = draw(
        st.lists(
            st.sampled_from(["gain", "delay", "cab", "drive", "a1", "b_2", "c-3", "delay2"]), unique=True, max_size=4
        )
    )
    row = tuple(draw(slots(name)) for name in ids)
    axes = [f"{s.id}.{k.name}" for s in row for k in CATALOGUE[s.type].knobs] + [""]
    xy = (draw(st.sampled_from(axes)), draw(st.sampled_from(axes)))
    return Rack(draw(words), draw(words), draw(st.sampled_from([1, 2])), xy, row)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(names, any_rack(), min_size=1, max_size=3),
    st.dictionaries(names, any_rack(), max_size=2),
    st.data(),
)
def test_what_is_saved_is_what_is_loaded(before, more, data):
    path, names = Path("/nowhere/racks.toml"), list(before)
    text = merged(GOOD, Racks(names[0], racks=before), path, CATALOGUE)
    after = {name: data.draw(any_rack()) for name in names} | more
    wanted = Racks(names[-1], Audio(block=32), SourceChoice("input"), after)
    text = merged(text, wanted, path, CATALOGUE)
    racks, problems = parse(text.encode(), path, CATALOGUE)
    assert not problems
    assert (racks.rack, racks.audio, racks.source) == (wanted.rack, wanted.audio, wanted.source)
    assert {name: racks.racks[name] for name in after} == after
    assert text.startswith("# My racks. Every line of mine stays.\n")


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "knobs", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_damaged_files_give_words_and_never_a_traceback(junk, at, cut):
    raw = GOOD.encode()
    try:
        racks, problems = parse(raw[:at] + junk + raw[at + cut :], Path("/nowhere/racks.toml"), CATALOGUE)
    except ConfigError as error:
        assert str(error).startswith("racks.toml")
    else:
        assert racks.racks and all(isinstance(problem, Problem) and str(problem) for problem in problems)


@settings(max_examples=150, deadline=None)
@given(toml_values, toml_values, toml_values, toml_values)
def test_any_structure_gives_words_and_never_a_traceback(a, b, c, d):
    from rack.config import _Reader
    from rack.tomllines import Lines

    slot = {"type": "delay", "knobs": a, "settings": b, "bypass": c, "id": d}
    table = {
        "rack": a,
        "audio": b,
        "source": c,
        "racks": {"x": {"slots": [slot, a, d], "xy": b, "channels": c}, "y": d},
    }
    reader = _Reader(Path("/nowhere/racks.toml"), Lines(""), CATALOGUE)
    racks = reader.racks(table)
    assert msgspec.to_builtins(racks) and [str(problem) for problem in reader.problems]


def test_folders_of_the_library(tmp_path):
    path = tmp_path / "racks.toml"

    def read(said: str):
        return parse(f"[library]\n{said}\n[racks.one]\n".encode(), path, CATALOGUE)

    racks, problems = read('folders = ["captures", "/mnt/nam", "~/x"]')
    assert racks.library == (str(tmp_path / "captures"), "/mnt/nam", str(Path("~/x").expanduser())) and not problems
    wrong = {'folders = "x"': "must be a list of folders", "folders = [1]": "must be", "folder = []": "did you"}
    for said, text in wrong.items():
        racks, (problem,) = read(said)
        assert racks.library == () and text in str(problem) and problem.line == 2
    text = '[library]\nfolders = ["captures"]  # mine\n[racks.one]\n'
    saved = merged(text, Racks("two", racks={"two": Rack(title="Two")}, library=("/elsewhere",)), path, CATALOGUE)
    assert 'folders = ["captures"]  # mine' in saved, "the library is written by hand alone"
