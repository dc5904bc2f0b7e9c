"""Windows over the rack: adding, settings, source, saving, jumping, help and palette."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from rack.ui.screens.dialogs import Ask, Pick
from rack.ui.screens.overlays import Help, Jump, Letter
from rack.ui.screens.settings import Settings
from rack.ui.widgets.knob import Knob

from .stage import Stage, stage


async def opened(s: Stage, kind: type) -> None:
    await s.until(lambda: isinstance(s.app.screen, kind), kind.__name__)
    await s.pilot.pause()


async def closed(s: Stage) -> None:
    await s.until(lambda: len(s.app.screen_stack) == 1, "closing")


async def test_adding_a_box():
    async with stage() as s:
        await s.on_focus("plexi.input")
        await s.press("y")
        await opened(s, Pick)
        assert "Echoes, up to two seconds" in s.text and "limiter" not in s.text
        await s.press(*"room", "enter")  # narrows by the words about it, too
        assert await s.told("slots.add") == {"type": "reverb", "index": 2, "model": ""}
        await closed(s)
        await s.until(lambda: "3 reverb-2" in s.text)
        await s.press("insert")
        await opened(s, Pick)
        await s.press("down", "down", "escape")
        await closed(s)
        assert sum(message.key == "slots.add" for message in s.server.sets) == 1


async def test_adding_a_model_asks_for_its_file(tmp_path):
    (tmp_path / "amps").mkdir()
    model = tmp_path / "amps" / "twin.nam"
    model.touch()
    async with stage() as s:
        await s.press("y")
        await opened(s, Pick)
        await s.press("enter")
        await opened(s, Ask)
        line = s.app.screen.query_one(Input)
        line.value = f"{tmp_path}/a"
        await s.press("tab")
        assert line.value == f"{tmp_path}/amps/"
        await s.press("enter")  # a folder is no file
        await s.until(lambda: "no such file" in s.text)
        await s.press("tab", "enter")
        assert await s.told("slots.add") == {"type": "model", "index": 1, "model": str(model)}


async def test_settings_form():
    async with stage() as s:
        await s.press("y")
        await opened(s, Pick)
        await s.press(*"overdrive", "enter")
        await s.until(lambda: "2 overdrive" in s.text)
        await closed(s)
        await s.on_focus("overdrive.drive")
        await s.press("e")
        await opened(s, Settings)
        await s.until(lambda: "which network (a whole number from 0 to 9999)" in s.text and "sine" in s.text)
        form = s.app.screen
        form.query_one("#set-seed", Input).value = "12x"
        await s.press("enter")
        await s.until(lambda: "seed = '12x': a whole number" in s.text)
        form.query_one("#set-seed", Input).value = "12"
        form.query_one("#set-activation").focus()
        await s.press("right", "right", "tab", "space")
        await s.press("enter")
        await closed(s)
        assert await s.told("overdrive.settings.seed") == 12
        assert await s.told("overdrive.settings.activation") == "sine"
        assert await s.told("overdrive.settings.stereo") is True
        changes = [message for message in s.server.sets if "settings" in message.key]
        assert len(changes) == 3 and len({message.gesture for message in changes}) == 1  # one undo step


async def test_choosing_another_model_in_the_settings(tmp_path):
    model = tmp_path / "twin.nam"
    model.touch()
    async with stage() as s:
        await s.on_focus("plexi.drive")
        await s.press("e")
        await opened(s, Settings)
        await s.until(lambda: "/models/plexi-drive.nam" in s.text and "13,802" in s.text)
        s.app.screen.query_one("#model").query_one(Input).value = str(model)
        await s.press("enter")
        assert await s.told("plexi.model") == str(model)


async def test_source(tmp_path):
    take = tmp_path / "take.wav"
    take.touch()
    async with stage() as s:
        await s.press("i")
        await opened(s, Pick)
        await s.press("up", "enter")  # loop is highlighted, because it plays
        assert await s.told("source") == "input"
        await s.until(lambda: s.status == "source: input")
        await s.press("i")
        await opened(s, Pick)
        await s.press(*"file", "enter")
        await opened(s, Ask)
        s.app.screen.query_one(Input).value = str(take)
        await s.press("enter")
        await s.until(lambda: s.server.last("source") == f"file:{take}")
        await s.until(lambda: "take.wav" in s.text.splitlines()[0])


async def test_saving_under_another_name():
    async with stage() as s:
        await s.press("W")
        await opened(s, Ask)
        s.app.screen.query_one(Input).value = "  "
        await s.press("enter")
        await s.until(lambda: "nothing was typed" in s.text)
        s.app.screen.query_one(Input).value = "plexi rhythm"
        await s.press("enter")
        assert await s.told("save") == "plexi rhythm"
        await s.until(lambda: "plexi rhythm" in s.text.splitlines()[0])


async def test_jumping():
    async with stage() as s:
        await s.press("o")
        await opened(s, Jump)
        letters = list(s.app.screen.query(Letter))
        assert len(letters) == len(s.screen.query("SlotPanel Knob")) == len({label.letter for label in letters})
        await s.press(letters[6].letter)
        await closed(s)
        await s.until(lambda: isinstance(s.app.focused, Knob) and s.focus == "eq.low_mid")
        await s.press("o", "escape")
        await closed(s)
        assert s.focus == "eq.low_mid"


async def test_help():
    async with stage() as s:
        await s.press("question_mark")
        await opened(s, Help)
        assert "Previous control" in s.text
        await s.press("end")
        await s.until(lambda: "double-click" in s.text)
        await s.press("escape")
        await closed(s)


async def test_the_palette_does_commands_and_chooses_presets():
    async with stage() as s:
        await s.press("ctrl+p")
        await opened(s, Pick)
        await s.press(*"panic", "enter")
        assert await s.told("mute") is True
        await closed(s)
        await s.press("ctrl+p")
        await opened(s, Pick)
        await s.press(*"preset: amb", "enter")
        assert await s.told("rack") == "ambient wash"
        await closed(s)
        await s.press("ctrl+p")
        await opened(s, Pick)
        await s.press(*"choose its model", "enter")  # one that opens a window itself
        await opened(s, Settings)


@pytest.mark.parametrize("key", ["question_mark", "y", "e", "i", "o", "Q", "W"])
async def test_windows_fit_the_smallest_terminal(key):
    async with stage(size=(60, 18)) as s:
        await s.press(key)
        await s.until(lambda: len(s.app.screen_stack) == 2)
        await s.pilot.pause()
        for window in s.app.screen.query(".window"):
            assert s.app.screen.region.contains_region(window.region)
        assert all(len(line) == 60 for line in s.text.splitlines())
