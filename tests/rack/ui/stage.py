"""The application on a pretended terminal, talking to the fake server: what most tests here run."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from textual import events
from textual.pilot import Pilot

from rack.protocol import View
from rack.ui.screens.rack import RackScreen
from rack.ui.terminal import RackApp
from rack.ui.widgets.knob import Knob

from .fake import BOXES, FakeServer, lead


class Stage:
    """Application, pilot and server of one test."""

    def __init__(self, app: RackApp, pilot: Pilot, server: FakeServer):
        self.app, self.pilot, self.server = app, pilot, server

    @property
    def screen(self) -> RackScreen:
        return self.app.rack_screen

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    @property
    def status(self) -> str:
        return self.screen.status.text

    def knob(self, key: str) -> Knob:
        found = self.screen._knob(key)
        assert found is not None, key
        return found

    @property
    def focus(self) -> str:
        """The key of the knob in focus."""
        assert isinstance(self.app.focused, Knob), self.app.focused
        return self.app.focused.key

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def paste(self, text: str) -> None:
        """What a terminal sends of the clipboard."""
        self.app.post_message(events.Paste(text))
        await self.pilot.pause()

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        """Wait for something that comes over the socket or after a layout."""
        end = time.monotonic() + 10.0
        while not true():
            assert time.monotonic() < end, f"{what or 'it'} did not happen\n{self.text}"
            await self.pilot.pause(0.005)

    async def told(self, key: str) -> object:
        """The value of the last change of this key, once the server has it."""
        await self.until(lambda: any(message.key == key for message in self.server.sets), f"set {key}")
        return self.server.last(key)

    async def on_focus(self, key: str) -> Knob:
        """Give a knob the focus."""
        knob = self.knob(key)
        knob.focus()
        await self.until(lambda: self.app.focused is knob)
        await self.pilot.pause()
        return knob


@asynccontextmanager
async def stage(
    view: View | None = None, size: tuple[int, int] = (80, 24), rate_hz: float = 0.0, glyphs: str = "unicode"
) -> AsyncIterator[Stage]:
    """The application, connected, its rack drawn and its first knob in focus. Ticks are off: tests call `app.tick`."""
    with TemporaryDirectory() as folder:
        async with FakeServer(Path(folder) / "socket", view or lead()) as server:
            app = RackApp(str(server.path), glyphs=glyphs, rate_hz=rate_hz, boxes=BOXES)
            async with app.run_test(size=size) as pilot:
                here = Stage(app, pilot, server)
                ready = bool(server.view.slots) and size >= (60, 18)
                await here.until(lambda: not ready or app.focused is not None, "the first frame")
                await pilot.pause()
                yield here
