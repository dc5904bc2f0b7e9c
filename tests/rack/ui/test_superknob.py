"""The SuperKnob on the screen: its dial as text, its list, its states and lamp, and what the keys send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from textual.widgets import Input

from rack.examples import ExampleView, SuperPlace, SuperView
from rack.protocol import AudioView, Moved, View
from rack.ui.art import dial, glyphs, knob
from rack.ui.widgets.superknob import Lessons, SuperDial, SuperPad

from .fake import slot
from .stage import stage

TIERS = {name: glyphs.choose(name, {}) for name in glyphs.TIERS}
THREE = (
    ExampleView("clean", (0.1,), "drive 2.0 dB, cutoff 8.00 kHz", 0.001),
    ExampleView("edge of breakup", (0.5,), "drive 9.0 dB, cutoff 4.00 kHz", 0.021),
    ExampleView("fuzz", (0.9,), "drive 24 dB, cutoff 2.00 kHz", 0.0),
)
positions = st.floats(0, 1)
LINKS = {"overdrive.drive": "driven", "overdrive.tone": "held", "overdrive.level": "locked"}
PLACE = SuperPlace((0.62,), 0.8, {"overdrive.tone": 0.2}, "turn it; where it should differ, set the knobs, press a")
TAUGHT = SuperView(1, PLACE, True, lamp="up to date", examples=THREE, links=LINKS)


def rack(superknob=TAUGHT, **more) -> View:
    slots = (slot("overdrive"), slot("eq"), slot("gain"))
    audio = AudioView(backend="portaudio", device="card 0")
    return View(rack="superknob", racks=("superknob",), slots=slots, superknob=superknob, audio=audio, **more)


def text(rows) -> list[str]:
    return ["".join(glyph for glyph, _ in row) for row in rows]


# --- the dial ---------------------------------------------------------------------------------------------------------

GOLDEN = {
    "unicode": ["        2        ", "    ⣠⡶⢏⠉⠉⠉⠙⠲⣄    ", "   ⣼⠏ ⠘⣆    ⠈⢣   ", "  ⢸⡏   ⠈     ⠈⡇  ",
                " 1⠸⠧         ⠠⠇3 ", "   ⠘⡠ 0.40  ⢀⠂   "],
    "compat": ["        2        ", "    ▄██▀▀▀▀█▄    ", "   ██ ▀█    ▀█   ", "  ██   ▀     ▀█  ",
               " 1██         ▄█3 ", "    ▄ 0.40  ▄    "],
    "ascii": ["        2        ", "    ###......    ", "   ## ##    ..   ", "  ##   #     ..  ",
              " 1##         ..3 ", "    # 0.40  .    "],
}  # fmt: skip


@pytest.mark.parametrize("tier", GOLDEN)
def test_dial_goldens(tier):
    rows = dial.written(dial.dial(17, 6, 0.4, [0.1, 0.5, 0.9], TIERS[tier]), "0.40")
    assert text(rows) == GOLDEN[tier]


@settings(max_examples=40, deadline=None)
@given(
    positions, st.lists(positions, max_size=12), st.integers(9, 40), st.integers(4, 14), st.sampled_from(tuple(TIERS))
)
def test_a_dial_fills_exactly_its_cells_and_numbers_its_examples(position, anchors, width, height, tier):
    rows = dial.dial(width, height, position, anchors, TIERS[tier], chosen=0)
    assert [[cell_len(glyph) for glyph, _ in row] for row in rows] == [[1] * width] * height
    layers = [layer for row in rows for _, layer in row]
    assert (dial.ANCHOR in layers or dial.CHOSEN in layers) == bool(anchors)


@pytest.mark.parametrize("tier", glyphs.TIERS)
def test_where_nothing_is_taught_the_arc_is_dotted(tier):
    def drawn(*anchors):
        cells = [cell for row in dial.dial(23, 8, 0.0, anchors, TIERS[tier]) for cell in row]
        return sum(bin(ord(glyph) - 0x2800).count("1") if tier == "unicode" else 1
                   for glyph, layer in cells if layer == knob.TRACK)  # fmt: skip

    assert drawn() < 0.75 * drawn(0.0, 1.0) and drawn() < drawn(0.4, 0.6) < drawn(0.0, 1.0)


@pytest.mark.parametrize("tier", glyphs.TIERS)
def test_a_ghost_is_drawn_on_a_knob_where_it_would_be_put(tier):
    for size in (knob.BIG, knob.SMALL):
        plain = knob.knob(size, 64, False, TIERS[tier])
        marks = [{(y, x) for y, row in enumerate(knob.knob(size, 64, False, TIERS[tier], ghost)) for x, (_, layer)
                  in enumerate(row) if layer == knob.GHOST} for ghost in (0, 256)]  # fmt: skip
        assert marks[0] and marks[1] and marks[0] != marks[1]
        assert not any(layer == knob.GHOST for row in plain for _, layer in row)
    cells = knob.slider(0.5, 9, False, TIERS[tier], 1.0)
    assert cells[-1][1] == knob.GHOST and cells[4][1] == knob.POINTER


# --- the panel --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "tier"), [((80, 24), "unicode"), ((80, 24), "ascii"), ((140, 40), "unicode")])
async def test_everything_is_on_the_screen(size, tier):
    async with stage(rack(), size=size, glyphs=tier) as s:
        panel, inside = s.screen.rack.superknob, s.screen.region
        for widget in s.screen.query("SlotPanel, Knob, SuperPanel, Lessons, NextLine"):
            assert not widget.display or (inside.contains_region(widget.region) and widget.region), widget
        on = TIERS[tier].on
        assert f"SuperKnob  PLAY  {on} up to date" in s.text and "confidence 80%" in s.text
        assert "next: turn it; where it should differ, set the knobs, press a" in s.text
        for number, example in enumerate(THREE, 1):
            assert f"{number} {example.name}" in s.text and f"{example.residual:.3f}" in s.text
        assert "~drive" in s.text and "!tone" in s.text and "=level" in s.text
        rows = panel.lessons.draw(60, 4)
        assert [ink for _, ink in (row[-1] for row in rows)] == ["faint", "warm b", "faint"], "the worst has a colour"
        s.server.show(rack(replace(TAUGHT, playing=False, lamp="stale")))
        await s.until(lambda: f"SuperKnob  TEACH  {TIERS[tier].fail} stale" in s.text)


async def test_a_rack_that_was_taught_nothing_shows_it_when_asked():
    async with stage(rack(SuperView(place=SuperPlace(next="set some knobs, then a adds an example here")))) as s:
        assert "SuperKnob  TEACH" not in s.text
        await s.press("s")
        await s.until(lambda: isinstance(s.app.focused, SuperDial))
        assert "no examples yet" in s.text and "next: set some knobs" in s.text and "a example" in s.text
        await s.press("s")
        await s.until(lambda: s.app.focused is s.knob("overdrive.drive"))


async def test_keys_turn_it_teach_it_and_train_it():
    async with stage(rack()) as s:
        await s.press("s", "up", "up")
        assert await s.told("superknob") == pytest.approx(0.64)
        assert len({m.gesture for m in s.server.sets}) == 1
        await s.press("3", "0", "%", "enter")
        await s.until(lambda: s.server.last("superknob") == pytest.approx(0.3))
        await s.press("space", "x", "a", "t")
        for key, value in (("mode", "toggle"), ("compare", "toggle"), ("add", ""), ("train", "")):
            assert await s.told(f"superknob.{key}") == value
        s.server.show(rack(replace(TAUGHT, lamp="training")))
        await s.until(lambda: "training" in s.text)
        await s.press("t")
        await s.until(lambda: s.server.last("superknob.train") == "cancel")
        await s.press("v", "n", "(", ")")
        assert await s.told("vary") is True and await s.told("snapshot.keep") == ""
        await s.until(lambda: [m.value for m in s.server.sets if m.key == "snapshot.step"] == [-1, 1])


async def test_what_others_do_to_it_is_drawn_at_the_next_tick():
    async with stage(rack(), rate_hz=0) as s:
        place = SuperPlace((0.25,), 1.0, {"overdrive.drive": 1.0}, "by interpolation: t trains, a adds another")
        s.server.send(Moved(s.server.sequence + 1, place))
        await s.until(lambda: s.app.mirror.view.superknob.place == place)
        s.app.tick()
        await s.until(lambda: "by interpolation" in s.text and "confidence 100%" in s.text)
        assert s.screen.rack.superknob.dial.value == 0.25
        assert s.knob("overdrive.drive")._ghost == 1.0 and s.knob("overdrive.tone")._ghost is None


async def test_examples_are_recalled_overwritten_moved_renamed_and_deleted_from_the_list():
    async with stage(rack()) as s:
        s.screen.rack.superknob.lessons.focus()
        await s.until(lambda: isinstance(s.app.focused, Lessons))
        await s.press("home", "down", "enter", "O", "M")
        for key in ("recall", "overwrite", "move"):
            assert await s.told(f"superknob.{key}") == "edge of breakup"
        await s.press("n")
        await s.until(lambda: s.app.screen is not s.screen)
        await s.press(*["backspace"] * 15, *"crunch", "enter")
        assert await s.told("superknob.rename") == ["edge of breakup", "crunch"]
        await s.press("down", "delete")
        assert await s.told("superknob.delete") == "fuzz"
        assert not any(m.key == "slots.remove" for m in s.server.sets), "Delete is the example's here"


async def test_an_example_where_there_is_one_is_asked_about():
    async with stage(rack(replace(TAUGHT, place=replace(PLACE, position=(0.502,))))) as s:
        await s.press("a")
        await s.until(lambda: "'edge of breakup' is here already" in s.text)
        await s.press("y")
        assert await s.told("superknob.overwrite") == "edge of breakup"
        assert not any(m.key == "superknob.add" for m in s.server.sets)


async def test_a_knob_says_how_it_stands_with_the_superknob_and_f_changes_that():
    async with stage(rack()) as s:
        for key, words in (("drive", "follows the SuperKnob"), ("tone", "f gives it back"), ("level", "locked")):
            await s.on_focus(f"overdrive.{key}")
            assert words in s.status
        await s.press("f")
        assert await s.told("superknob.link") == "overdrive.level"
        await s.press("s")
        await s.until(lambda: isinstance(s.app.focused, SuperDial))
        await s.press("f")
        await s.until(lambda: "go to a knob first" in s.status)


async def test_a_superknob_of_two_knobs_is_a_pad():
    examples = (ExampleView("a", (0.2, 0.2)), ExampleView("b", (0.8, 0.5)))
    two = replace(TAUGHT, knobs=2, examples=examples, place=SuperPlace((0.5, 0.5), 0.4))
    async with stage(rack(two)) as s:
        await s.press("s")
        await s.until(lambda: isinstance(s.app.focused, SuperPad))
        await s.press("right", "K")
        await s.until(lambda: s.server.last("superknob") == pytest.approx([0.52, 0.502]))
        assert not any(m.key == "xy" for m in s.server.sets) and "0.80 0.50" in s.text
        s.server.show(rack(TAUGHT))
        await s.until(lambda: s.screen.rack.superknob.dial.display)


async def test_the_rest_of_it_and_snapshots_are_in_lists():
    async with stage(rack(snapshots=("verse", "chorus"), snapshot="verse")) as s:
        for key, typed, sent, value in (
            ("E", "clear", "superknob.clear", True),
            ("N", "chor", "snapshot", "chorus"),
            ("E", "anew", "superknob.train", "anew"),
        ):
            await s.press(key)
            await s.until(lambda: s.app.screen is not s.screen and isinstance(s.app.focused, Input))
            await s.press(*typed, "enter")
            assert await s.told(sent) == value
            await s.until(lambda: s.app.screen is s.screen)
