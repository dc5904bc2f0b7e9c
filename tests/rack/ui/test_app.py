"""The whole terminal against the fake server: what keys and hands do, and what is drawn."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from textual import events

from rack.protocol import AudioView, Notice, SlotView, Turned
from rack.ui.widgets.knob import Knob
from rack.ui.widgets.lines import StatusLine
from rack.ui.widgets.meters import Meters
from rack.ui.widgets.slot import SlotPanel, Words
from rack.ui.widgets.xypad import Axis, XYPad

from .fake import lead, levels, slot
from .stage import stage


async def test_everything_is_on_a_small_screen():
    async with stage() as s:
        inside = s.screen.region
        for widget in s.screen.query("Header, Chain, SlotPanel, Knob, Meters, StatusLine, Keys"):
            assert inside.contains_region(widget.region) and widget.region, widget
        lines = s.text.splitlines()
        assert "plexi lead*" in lines[0] and "48k/64" in lines[0] and "loop" in lines[0]
        for name in ("noise_gate", "plexi", "eq", "delay", "reverb"):
            assert name in lines[1] and f"{name} ─" in s.text
        assert "+2.5" in s.text and "1.35k" in s.text and "ping" in s.text  # knobs show their values
        assert "plexi-drive.nam" in s.text
        assert all(len(line) == 80 for line in lines)


async def test_keys_turn_the_knob_in_focus():
    async with stage() as s:
        await s.on_focus("plexi.drive")
        for keys, value in (
            (("up",), 0.69), (("k", "plus"), 0.71), (("down", "j", "minus"), 0.68), (("shift+up",), 0.681),
            (("J",), 0.68), (("pageup",), 0.78), (("home",), 0.0), (("end",), 1.0), (("backspace",), 0.5),
        ):  # fmt: skip
            await s.press(*keys)
            assert s.knob("plexi.drive").value == pytest.approx(value), keys
            await s.until(lambda value=value: s.server.last("plexi.drive") == pytest.approx(value))
        assert "drive = 0.5 " in s.status and "0 .. 1" in s.status


async def test_a_burst_of_presses_is_one_gesture_and_undo_takes_it_back():
    async with stage() as s:
        await s.on_focus("delay.mix")
        await s.press("up", "up", "up")
        await s.until(lambda: len(s.server.sets) == 3)
        assert len({message.gesture for message in s.server.sets}) == 1 and s.server.sets[0].gesture
        await s.press("u")
        await s.told("undo")
        await s.until(lambda: s.knob("delay.mix").value == pytest.approx(0.3))
        assert s.status == "undone"


async def test_typed_values():
    async with stage() as s:
        knob = await s.on_focus("eq.frequency")
        await s.press("2")
        assert knob.entry == "2" and "2▏" in s.text and "frequency = 2▏" in s.status
        await s.press(".", "2", "x")
        assert knob.entry == "2.2x"
        await s.press("enter")  # refused in words, and still there to be mended
        assert "2.2x" in s.status and "200 to 5000" in s.status and knob.entry == "2.2x"
        await s.press("backspace", "k", "enter")  # k is a letter here
        assert knob.entry is None and knob.value == pytest.approx(2200)
        assert await s.told("eq.frequency") == pytest.approx(2200)
        await s.press("enter", "9", "escape")
        assert knob.entry is None and knob.value == pytest.approx(2200)
        await s.press("5", "right")  # leaving the knob leaves the entry
        await s.pilot.pause()
        assert knob.entry is None and s.focus == "eq.high"
        await s.on_focus("delay.mode")
        await s.press("enter", *"tape", "enter")
        assert await s.told("delay.mode") == 2.0


async def test_the_focus_goes_as_one_reads():
    async with stage() as s:
        order = [s.focus]
        for key in ("right", "l", "tab"):
            await s.press(key)
            await s.pilot.pause()
            order.append(s.focus)
        assert order == ["noise_gate.threshold", "noise_gate.release", "plexi.input", "plexi.drive"]
        assert s.screen.rack.current == "plexi"
        for key in ("left", "h", "shift+tab", "left"):
            await s.press(key)
            await s.pilot.pause()
        assert s.focus == "reverb.mix"  # round the corner
        await s.until(lambda: s.app.cursor_position == s.knob("reverb.mix").region.offset)


async def test_the_focused_slot_is_large():
    async with stage() as s:
        await s.on_focus("eq.mid")
        heights = {panel.slot.id: panel.knobs[0].size.height for panel in s.screen.query(SlotPanel)}
        assert heights["eq"] == 6 and heights["delay"] == heights["plexi"] == 4


async def test_dragging_and_double_click():
    async with stage() as s:
        knob = await s.on_focus("plexi.drive")
        await s.pilot.mouse_down(knob, offset=(4, 4))
        await s.pilot.hover(knob, offset=(4, 2))
        assert knob.value == pytest.approx(0.78)  # two cells of twenty
        await s.pilot.hover(knob, offset=(4, 3))
        await s.pilot.mouse_up(knob, offset=(4, 3))
        assert knob.value == pytest.approx(0.73)
        await s.until(lambda: len(s.server.sets) == 2)
        assert len({message.gesture for message in s.server.sets}) == 1
        await s.pilot.hover(knob, offset=(4, 0))
        assert knob.value == pytest.approx(0.73)  # let go
        await s.pilot.click(knob, times=2)
        assert knob.value == 0.5


async def test_shift_makes_a_drag_fine_without_a_jump():
    async with stage() as s:
        knob = await s.on_focus("plexi.drive")
        y = knob.region.y
        await s.pilot.mouse_down(knob, offset=(4, 4))
        await s.pilot.hover(knob, offset=(4, 3))
        assert knob.value == pytest.approx(0.73)

        def move(row: int, shift: bool) -> events.MouseMove:
            return events.MouseMove(
                knob, 4, row - y, 0, 0, 1, shift, False, False, screen_x=knob.region.x + 4, screen_y=row, style=None
            )

        knob.post_message(move(y + 3, True))
        await s.pilot.pause()
        assert knob.value == pytest.approx(0.73)
        knob.post_message(move(y + 1, True))
        await s.pilot.pause()
        assert knob.value == pytest.approx(0.74)
        await s.pilot.mouse_up(knob)


async def test_the_wheel_turns_what_it_is_over():
    async with stage() as s:
        knob = s.knob("delay.time")
        x, y = knob.region.offset
        up, down = events.MouseScrollUp, events.MouseScrollDown
        for kind, shift, value in ((up, False, 0.01), (up, True, 0.011), (down, False, 0.001)):
            event = kind(knob, x + 2, y + 2, 0, 0, 0, shift, False, False, screen_x=x + 2, screen_y=y + 2, style=None)
            s.screen._forward_event(event)
            await s.pilot.pause()
            start = knob.info.position(420.0)
            assert knob.info.position(knob.value) == pytest.approx(start + value, abs=1e-5)
        assert s.focus == "noise_gate.threshold"


async def test_others_turn_too():
    async with stage() as s:
        s.server.send(Turned(1, "reverb.size", 0.1))
        await s.until(lambda: s.app.mirror.value("reverb.size") == 0.1)
        s.app.tick()
        await s.pilot.pause()
        assert s.knob("reverb.size").value == 0.1 and "0.10" in s.text


async def test_the_knob_in_the_status_line_is_shown_as_others_turn_it():
    async def turned(value):
        s.server.send(Turned(1, "plexi.drive", value))
        await s.until(lambda: s.app.tick() or s.knob("plexi.drive").value == value)

    async with stage() as s:
        await s.on_focus("plexi.drive")
        await turned(0.25)
        assert "drive = 0.25 " in s.status
        await s.press("enter", "9")  # what is being typed stays
        await turned(0.75)
        assert "0.75" not in s.status


async def test_the_knob_that_follows_a_message_has_its_value_of_then(monkeypatch):
    monkeypatch.setattr(StatusLine, "HOLD_S", 0.5)
    async with stage() as s:
        s.server.send(Notice("warning", "the engine was restarted"))
        await s.until(lambda: s.status == "warning: the engine was restarted")
        await s.on_focus("plexi.drive")
        assert s.status == "warning: the engine was restarted"
        s.server.send(Turned(1, "plexi.drive", 0.25))
        await s.until(lambda: s.app.tick() or s.knob("plexi.drive").value == 0.25)
        await s.until(lambda: "drive = " in s.status)
        assert "drive = 0.25 " in s.status


async def test_slot_commands():
    async with stage() as s:
        await s.on_focus("eq.low")
        await s.press("space")
        assert await s.told("eq.bypass") is True
        await s.until(lambda: "○ 3 eq  BYPASSED" in s.text)
        await s.press("<")
        assert await s.told("slots.move") == ["eq", 1]
        await s.until(lambda: "2 eq" in s.text and "3 plexi" in s.text)
        assert s.focus == "eq.low"  # the focus moves with the slot
        await s.press("delete")
        assert await s.told("slots.remove") == "eq"
        await s.until(lambda: s.screen.rack.current == "plexi")
        await s.until(lambda: isinstance(s.app.focused, Knob) and s.focus == "plexi.input")
        await s.press("]")
        assert await s.told("plexi.model.step") == 1
        await s.press("[")
        await s.until(lambda: s.server.last("plexi.model.step") == -1)


async def test_rack_commands_and_the_header():
    async with stage() as s:
        await s.press("p", "b", "r", "x")
        for key, value in (("mute", True), ("bypass", True), ("record", True), ("compare", True)):
            assert await s.told(key) == value
        await s.until(lambda: "MUTED" in s.text and "BYPASS" in s.text and "REC" in s.text)
        assert s.app.mirror.view.compare == "B"
        await s.press("p")
        await s.until(lambda: s.server.last("mute") is False)
        await s.press("c", "{")
        assert await s.told("compare.copy") is True and await s.told("rack.step") == -1
        await s.until(lambda: "clean" in s.text.splitlines()[0])
        await s.press("}", "ctrl+r", "w")
        assert await s.told("redo") is True and await s.told("save") == ""
        await s.until(lambda: s.status.startswith("saved"))


async def test_what_cannot_be_done_yet_says_so():
    async with stage() as s:
        for key in "m":
            await s.press(key)
            assert "not yet" in s.status
        assert not s.server.sets


async def test_refusals_and_notices_reach_the_status_line():
    async with stage() as s:
        s.server.refuse["noise_gate.model.step"] = "noise_gate.model.step = 1: this box plays no file"
        await s.press("]")
        await s.until(lambda: s.status == "error: noise_gate.model.step = 1: this box plays no file")
        s.server.send(Notice("warning", "the engine was restarted"))
        await s.until(lambda: s.status == "warning: the engine was restarted")
        await s.press("right")
        await s.pilot.pause()
        assert "restarted" in s.status  # passing over a knob does not wipe it away
        await s.until(lambda: "release" in s.status)  # until it has stayed long enough
        s.server.send(Notice("warning", "the engine was restarted"))
        await s.until(lambda: s.status == "warning: the engine was restarted")
        await s.press("up")
        assert "release" in s.status  # turning one does


async def test_a_slot_that_failed_or_is_being_built():
    a, b, c, d, _ = lead().slots
    error = "plexi.nam: format 0.9.1 is newer than 0.7.x, which this version reads; update nafx-rack"
    slots = (a, replace(b, status="failed", error=error), replace(c, status="building"),
             SlotView("twin", "model", status="building"), d)  # fmt: skip
    async with stage(replace(lead(), slots=slots)) as s:
        assert "2 plexi  FAILED" in s.text and "3 eq  building" in s.text and "building ..." in s.text
        assert "format 0.9.1" in s.text and "newer" in s.text
        assert not s.screen.rack.panels[1].knobs and s.screen.rack.panels[2].knobs
        await s.press("right", "right")
        await s.until(lambda: isinstance(s.app.focused, Words) and "update nafx-rack" in s.status)
        s.server.show(replace(lead(), slots=(a, b, c, slot("model", name="twin"), d)))
        await s.until(lambda: "FAILED" not in s.text and len(s.screen.rack.panels[3].knobs) == 3)


async def test_an_empty_rack_and_problems():
    async with stage(replace(lead(), slots=(), xy=("", ""))) as s:
        await s.until(lambda: "This rack is empty" in s.text)
        await s.press("space", "delete", "right", "e")
        assert "no slot" in s.status
        problem = "racks.toml: clean.eq.low = 99: must be -15 to 15"
        s.server.show(replace(s.server.view, problems=(problem, "another"), racks=("a",)))
        await s.until(lambda: s.status == f"warning: {problem} (and 1 more)")
        s.server.show(replace(s.server.view, audio=AudioView("null", message="no sound card: playing to nowhere")))
        await s.until(lambda: "no sound card" in s.status and "null" in s.text.splitlines()[0])


async def test_meters_and_numbers():
    async with stage() as s:
        before = s.text
        s.server.push(replace(levels(3), output_clip=True, load=0.62, late=4))
        await s.until(lambda: s.app.client.telemetry.late == 4)
        s.app.tick()
        await s.pilot.pause()
        assert (
            s.text != before and "CLIP" in s.text and "-0.8" in s.text and "dsp 62 %" in s.text and "late 4" in s.text
        )
        await s.pilot.click(Meters)
        assert await s.told("meters.reset") is True


async def test_nothing_is_repainted_when_levels_stand_still(monkeypatch):
    async with stage() as s:
        s.server.push(levels(3))
        await s.until(lambda: s.app.client.telemetry == levels(3))
        s.app.tick()
        await s.pilot.pause()
        painted = []
        monkeypatch.setattr(Meters, "refresh", lambda self, *regions, **k: painted.append(regions))
        s.server.push(levels(3, scope=False))
        await s.until(lambda: s.app.client.telemetry == levels(3, scope=False))
        s.app.tick()
        assert not painted
        louder = replace(levels(3), output_db=(-7.0, -30.0))
        s.server.push(louder)
        await s.until(lambda: s.app.client.telemetry == louder)
        s.app.tick()
        (regions,) = painted
        assert 0 < len(regions) < s.screen.meters.size.height  # the rows that differ


async def test_xy_page():
    async with stage() as s:
        await s.press("X")
        await s.until(lambda: isinstance(s.app.focused, XYPad))
        assert "plexi / drive" in s.text and "delay / mix" in s.text
        await s.press("right", "up", "K")
        assert await s.told("xy") == pytest.approx([0.7, 0.322])
        await s.until(lambda: s.server.last("xy")[1] == pytest.approx(0.322))
        assert len({message.gesture for message in s.server.sets}) == 1
        assert "plexi.drive = 0.70" in s.status and s.knob("plexi.drive").value == pytest.approx(0.7)
        pad = s.app.focused
        await s.pilot.click(pad, offset=(pad.region.width - 2, 1))  # the border is part of it
        await s.until(lambda: s.server.last("xy") == pytest.approx([1.0, 1.0]))
        await s.pilot.click(pad, times=2)
        await s.until(lambda: s.server.last("xy") == pytest.approx([0.5, 0.25]))
        await s.press("enter", *"0.1, 90%", "enter")
        assert await s.told("delay.mix") == pytest.approx(0.9)
        await s.press("shift+tab")
        await s.until(lambda: isinstance(s.app.focused, Axis))
        await s.press("up")
        assert await s.told("xy.y") == "delay.mode"
        await s.until(lambda: "delay / mode" in s.text)
        await s.press("enter", *"size", "enter")
        await s.until(lambda: s.server.last("xy.y") == "reverb.size")


async def test_scope_page():
    async with stage() as s:
        await s.press("S")
        await s.until(lambda: s.screen.visible_scope is not None)
        s.server.push(levels(1))
        await s.until(lambda: s.app.client.telemetry == levels(1))
        s.app.tick()
        await s.pilot.pause()
        scope = s.screen.visible_scope
        assert scope is not None and "±1" in s.text and sum(ord(c) > 0x2800 for c in s.text) > 150
        await s.press("f")
        frozen = s.text
        scope.show(levels(9).scope_in, levels(9).scope_out, 48000)
        await s.pilot.pause()
        assert "FROZEN" in frozen and s.text == frozen
        await s.press("R")
        await s.until(lambda: s.screen.page == "rack" and isinstance(s.app.focused, Knob))


async def test_scope_samples_are_asked_for_only_where_they_are_drawn():
    async with stage(rate_hz=30.0) as s:
        await s.until(lambda: s.server.subscriptions)
        assert s.server.subscriptions[-1].rate_hz == 30.0 and not s.server.subscriptions[-1].scope
        await s.press("S")
        await s.until(lambda: s.server.subscriptions[-1].scope)
        s.server.push(levels(1))
        await s.until(lambda: sum(ord(c) > 0x2800 for c in s.text) > 150)  # the timer draws by itself
        await s.press("R")
        await s.until(lambda: not s.server.subscriptions[-1].scope)


async def test_large_terminals_show_everything_large_with_pad_and_scope():
    async with stage(size=(140, 40)) as s:
        assert {panel.knobs[0].size.height for panel in s.screen.query(SlotPanel)} == {6}
        assert s.screen.pad.region.height > 10 and s.screen.visible_scope is s.screen.scope
        await s.pilot.click(s.screen.pad, offset=(3, 3))
        assert len(await s.told("xy")) == 2 and isinstance(s.app.focused, Knob)


@pytest.mark.parametrize("size", [(59, 30), (100, 17)])
async def test_a_terminal_that_is_too_small_is_told_so(size):
    async with stage(size=size) as s:
        await s.until(lambda: "needs 60x18" in s.text and f"{size[0]}x{size[1]}" in s.text)
        await s.pilot.resize_terminal(80, 24)
        await s.until(lambda: "noise_gate" in s.text and "needs" not in s.text)


@pytest.mark.parametrize("glyphs", ["compat", "ascii"])
async def test_poorer_characters(glyphs):
    async with stage(glyphs=glyphs) as s:
        s.server.push(levels(2))
        await s.until(lambda: s.app.client.telemetry.blocks)
        s.app.tick()
        await s.press("right")
        await s.pilot.pause()
        beyond = {c for c in s.text if ord(c) > (127 if glyphs == "ascii" else 0x27FF)}
        assert beyond <= set("↑↓\n"), beyond


async def test_connection_lost_and_found():
    async with stage() as s:
        await s.server.stop()
        await s.until(lambda: "NO SERVER" in s.text)
        assert "connection lost, reconnecting" in s.status
        await s.press("up")
        assert "not connected" in s.status
        s.server.view = replace(lead(), rack="clean")
        await s.server.start()
        await s.until(lambda: "clean" in s.text.splitlines()[0] and "NO SERVER" not in s.text)
        assert s.status.startswith("connected again") or s.status.startswith("clean")


async def test_leaving_and_stopping():
    async with stage() as s:
        await s.press("ctrl+c")
        assert "q leaves" in s.status and s.app.is_running
        await s.press("Q")
        await s.until(lambda: "Stop the sound" in s.text)
        await s.press("enter")
        await s.until(lambda: len(s.app.screen_stack) == 1)
        assert not s.server.sets
        await s.press("Q")
        await s.until(lambda: "Stop the sound" in s.text)
        await s.press("y")
        assert await s.told("stop") is True
        await s.server.stop()
        await s.until(lambda: s.app._exit)
        assert s.app.return_code == 0
