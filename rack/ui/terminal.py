"""The application: joins connection, mirror, governor and screens."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import time
from typing import Any

from textual.binding import Binding
from textual.theme import BUILTIN_THEMES, Theme

from rack.catalogue import BoxInfo, catalogue
from rack.jobs import JobLine
from rack.maps import Ground
from rack.protocol import Moved, Notice, Reply, Snapshot, Turned

from .art import colours
from .art.look import look_of
from .client import Client, Message
from .governor import Governor, writer_backlog
from .inorder import KeysInOrder
from .mirror import Mirror
from .screens.rack import RackScreen
from .turning import Gestures

FOLLOW_HZ = 12  # how often knobs are drawn that others turn
GOODBYE = "nafx-rack: the sound goes on. `nafx-rack` comes back to it, `nafx-rack stop` ends it."


def theme_of(name: str) -> Theme:
    """Textual's theme for one of our sets of colours; its variables are called $rack-..."""
    c = colours.SETS[name]
    native = name in ("16", "none")
    more = BUILTIN_THEMES["ansi-dark"].variables if native else {}
    return Theme(
        name=f"nafx-{name}",
        primary=c["lit"], secondary=c["focus"], accent=c["focus"], foreground=c["text"], background=c["ground"],
        surface=c["panel"], panel=c["well"], success=c["ok"], warning=c["warm"], error=c["hot"], boost=c["well"],
        variables=more | {f"rack-{key}": value for key, value in c.items()},
        ansi=native,
    )  # fmt: skip


def end_without_terminal() -> None:
    """Where the terminal has gone without a word, nobody will ever press a key: do as for the word."""
    line = select.poll()
    line.register(0, 0)  # nothing is asked for: only hang-ups and errors are answered
    if line.poll(0):
        os.kill(os.getpid(), signal.SIGHUP)


class RackApp(KeysInOrder, inherit_bindings=False):
    """The terminal. Everything that matters lives in the server; this can be killed at any time."""

    CSS_PATH = "rack.tcss"
    TITLE = "nafx-rack"
    ENABLE_COMMAND_PALETTE = False  # ours is a list like the others
    BINDINGS = [Binding("ctrl+c", "how_to_leave", show=False, priority=True)]

    def __init__(self, socket_path: str, *, glyphs: str = "auto", rate_hz: float | None = None,
                 boxes: dict[str, BoxInfo] | None = None):  # fmt: skip
        # Textual chooses its filter for NO_COLOR here, by whether colours are the terminal's own.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        remote = "SSH_CONNECTION" in os.environ
        self.rate_hz = rate_hz if rate_hz is not None else 15.0 if remote else 30.0
        self.trail = not remote
        tier = {"truecolor": "truecolor", "256": "256"}.get(self.console.color_system or "", "16")
        tier = "none" if self.no_color else tier
        self.look = look_of(tier, glyphs, os.environ)
        for name in colours.SETS:
            self.register_theme(theme_of(name))
        self.theme = f"nafx-{tier}"
        self.ansi_color = self.look.few_colours
        self.gestures = Gestures()
        self.mirror = Mirror(time.monotonic)
        self.governor = Governor(self.rate_hz or 1.0, lambda: writer_backlog(self), time.monotonic)
        self.client = Client(socket_path, self._hear, self._linked)
        self.lost = ""
        self._boxes = boxes
        self._drawn: Any = None
        self._followers: set[str] = set()
        self._followed = 0.0
        self._stopping = False
        self._fresh = asyncio.Event()

    # --- life ---

    def get_default_screen(self) -> RackScreen:
        self.rack_screen = RackScreen()
        return self.rack_screen

    def on_mount(self) -> None:
        self.add_class(f"-{self.look.glyphs.name}")
        self.run_worker(self.client.run(), group="client", exit_on_error=True)
        self.run_worker(self._draw_views(), group="views", exit_on_error=True)
        if self.rate_hz:
            self.set_interval(1 / self.rate_hz, self.tick)
        if not self.is_headless:
            self.set_interval(1.0, end_without_terminal)
        self.call_after_refresh(gc.freeze)

    @property
    def boxes(self) -> dict[str, BoxInfo]:
        """Every kind of box there is."""
        if self._boxes is None:
            try:
                self._boxes = catalogue()
            except OSError as error:
                self._boxes = {}
                self.rack_screen.status.say(f"no catalogue of boxes: {error}", "error")
        return self._boxes

    def leave(self) -> None:
        """Close the terminal; the sound goes on."""
        self.exit(message=GOODBYE)

    def stop(self) -> None:
        """End the server too."""
        self._stopping = True
        if not self.client.set("stop", True):
            self.exit(message="nafx-rack: there was no server to stop.")

    def action_how_to_leave(self) -> None:
        """ctrl+c is pressed by habit; it must not end a performance."""
        self.rack_screen.status.say("q leaves (the sound goes on), Q stops everything")

    # --- the server's words ---

    def _hear(self, message: Message) -> None:
        if isinstance(message, Snapshot):
            self.mirror.snapshot(message)
            self._fresh.set()
        elif isinstance(message, Turned):
            if self.mirror.turned(message):
                self._followers.add(message.key)
        elif isinstance(message, JobLine):
            self.mirror.figure(message)
            self.rack_screen.show_figure(message)
        elif isinstance(message, Ground):
            self.mirror.ground = message
            self.rack_screen.show_ground()
        elif isinstance(message, Moved):
            if self.mirror.moved(message):
                self._followers.add("superknob")
        elif isinstance(message, Notice):
            self.rack_screen.status.say(message.text, message.level)
        elif isinstance(message, Reply) and message.error:
            self.rack_screen.status.say(message.error, "error")

    def _linked(self, reason: str) -> None:
        if self._stopping and reason:
            self.exit(message="nafx-rack: everything is stopped.")
            return
        was, self.lost = self.lost, reason
        self.rack_screen.show_link(bool(reason))
        if reason and not was:
            what = "connection lost" if self.mirror.sequence >= 0 else "no connection"
            self.rack_screen.status.say(f"{what}, reconnecting ({reason})", "error")
        elif not reason:
            self.subscribe()
            self.rack_screen.status.say("connected again" if was else "? shows all keys")

    async def _draw_views(self) -> None:
        """Draws snapshots one after another; of several that came meanwhile only the last."""
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            await self.rack_screen.show_view()

    def subscribe(self) -> None:
        """Ask for as much telemetry as this page draws."""
        screen = self.rack_screen
        self.call_after_refresh(
            lambda: self.client.subscribe(self.rate_hz, screen.visible_scope is not None, screen.watches_map)
        )

    def tick(self) -> None:
        """Draw what moved by itself, if the link keeps up."""
        if not self.governor.admit():
            return
        telemetry = self.client.telemetry
        if telemetry is not self._drawn:
            self._drawn = telemetry
            self.rack_screen.show_telemetry(telemetry, self.governor.link_hz)
        now = time.monotonic()
        if now - self._followed >= 0.9 / FOLLOW_HZ:
            self._followed = now
            self._followers.update(self.mirror.expire())
            for key in self._followers:
                self.rack_screen.show_turn(key)
            self._followers.clear()

    # --- changes ---

    def turn(self, key: str, value: float, gesture: int) -> None:
        """A knob was turned here: the mirror knows at once, the server in a moment."""
        self.mirror.turn(key, value)
        self._send(key, value, gesture)

    def move_xy(self, place: tuple[float, float], gesture: int) -> bool:
        """The pad was moved: both knobs in one change. False where there is nobody to tell."""
        there = [(key, at) for key, at in zip(self.mirror.view.xy, place, strict=True) if key in self.mirror.knobs]
        for key, position in there:
            self.mirror.turn(key, self.mirror.knobs[key].value(position))
        return not there or self._send("xy", list(place), gesture)

    def change(self, key: str, value: Any, gesture: int = 0, said: str = "") -> None:
        """Any other change. The status line says `said` when it is made, or why it cannot be."""
        self.run_worker(self.ask(key, value, gesture, said), group="changes")

    async def ask(self, key: str, value: Any, gesture: int = 0, said: str = "") -> bool:
        """`change`, and wait for the answer: whether it was made."""
        reply = await self.client.ask(key, value, gesture)
        if reply.error:
            self.rack_screen.status.say(reply.error, "error")
        elif said:
            self.rack_screen.status.say(said)
        return not reply.error

    def _send(self, key: str, value: Any, gesture: int) -> bool:
        sent = self.client.set(key, value, gesture)
        if not sent:
            self.rack_screen.status.say("not connected; this change is not made", "error")
        return sent
