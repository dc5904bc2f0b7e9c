"""Keys that come all at once, as from a script or over a slow line."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from rack.ui import inorder
from rack.ui.screens.browser import BrowserPage
from rack.ui.screens.dialogs import Pick

from .stage import Stage, stage


def burst(s: Stage, *keys: str) -> None:
    """Everything is there before the first of them is dealt with."""
    for key in keys:
        s.app.post_message(events.Key(key, key if len(key) == 1 else None))


def searched(s: Stage) -> str:
    """What the line of the library's search holds."""
    return "".join(line.value for page in s.screen.query(BrowserPage) for line in page.query(Input))


async def test_a_word_behind_a_command_is_for_what_the_command_opens():
    async with stage() as s:
        await s.on_focus("plexi.input")
        burst(s, "y", *"room", "enter")
        assert await s.told("slots.add") == {"type": "reverb", "index": 2, "model": ""}
        await s.until(lambda: len(s.app.screen_stack) == 1, "closing")
        assert [message.key for message in s.server.sets] == ["slots.add"], "no letter was a command"


async def test_a_page_its_search_and_a_word():
    async with stage() as s:
        burst(s, "L", "slash", *"plexi")
        await s.until(lambda: searched(s) == "plexi", "the search")
        assert not s.server.sets


async def test_backspace_is_for_the_value_behind_it():
    async with stage() as s:
        await s.on_focus("plexi.input")
        burst(s, "backspace", *"2.5", "enter")
        await s.until(lambda: s.server.sets and s.server.sets[-1].value == 2.5, "the value")
        assert len(s.app.screen_stack) == 1


async def test_a_window_that_closes_lets_the_keys_behind_it_through():
    async with stage() as s:
        await s.on_focus("plexi.input")
        burst(s, "y", "escape", "y", "escape", "right", "up")
        await s.until(lambda: s.server.sets, "the knob beside")
        assert not isinstance(s.app.screen, Pick) and s.server.sets[-1].key == "plexi.drive"


async def test_what_is_pasted_comes_behind_the_key_before_it():
    async with stage() as s:
        burst(s, "L", "slash")
        await s.paste("twin")
        await s.until(lambda: searched(s) == "twin", "the search")


async def test_a_slow_machine_loses_no_key(monkeypatch):
    monkeypatch.setattr(inorder, "LOST_S", 0.001)
    async with stage() as s:
        burst(s, "L", "slash", *"plexi")
        await s.until(lambda: searched(s) == "plexi", "the search")
        assert not s.server.sets
