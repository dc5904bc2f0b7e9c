"""The single lines around the page: header, chain, status and footer."""

from __future__ import annotations

import time
from pathlib import PurePath

from textual import events
from textual.message import Message
from textual.timer import Timer

from rack.catalogue import KnobInfo
from rack.protocol import SlotView, Telemetry, View

from .. import turning
from ..art import bars
from ..art.text import Row, clip, clip_start, clock, cut, length, spread
from ..commands import Command, footer_key
from .drawn import Drawn

LINKED = {
    "driven": "follows the SuperKnob",
    "held": "by hand: f gives it back to the SuperKnob",
    "linked": "linked to the SuperKnob",
    "locked": "locked: the SuperKnob leaves it alone",
}


class Header(Drawn):
    """Which rack, how it is doing, what it plays: the right end gives way first where the line is short."""

    def __init__(self) -> None:
        super().__init__()
        self._view = View(rack="", racks=(), slots=())
        self._load, self._late, self._recorded_s, self._link_hz = 0, 0, 0, 0
        self._lost = False

    def show_link(self, lost: bool) -> None:
        """Draw whether the server is gone."""
        self._lost = lost
        self.repaint()

    def show(self, view: View) -> None:
        """Draw this rack."""
        self._view = view
        self.repaint()

    def measure(self, t: Telemetry, link_hz: float) -> None:
        """Draw the numbers of the engine and of the link."""
        numbers = (round(t.load * 100), t.late, int(t.recorded_s), round(link_hz))
        if numbers != (self._load, self._late, self._recorded_s, self._link_hz):
            self._load, self._late, self._recorded_s, self._link_hz = numbers
            self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        v, g = self._view, self.glyphs
        name = clip(v.rack or "no rack", max(width // 4, 10), g.ellipsis)
        left: Row = [(" nafx-rack ", "dim"), (name, "bright b"), ("* " if v.modified else "  ", "focus b")]
        badges = ((self._lost, "NO SERVER", "hot"), (v.mute, "MUTED", "focus"), (v.bypass, "BYPASS", "focus"))
        for on, text, ground in badges:
            if on:
                left += [(f" {text} ", "b r" if self.look.mono else f"ground b on {ground}"), (" ", "")]
        if v.recording:
            left += [(f"{g.on} REC {clock(self._recorded_s)}", "hot b"), ("  ", "")]
        load = "hot b" if self._load >= 80 else "warm" if self._load >= 50 else "text"
        parts: list[Row] = [
            [("dsp ", "dim"), (f"{self._load} %", load)],
            [("late ", "dim"), (str(self._late), "warm b" if self._late else "text")],
            [(self._audio(), "text")],
            [("A", "bright b u" if v.compare == "A" else "dim"), ("=", "lit b") if v.match else ("/", "dim"),
             ("B", "bright b u" if v.compare == "B" else "dim")],
            [(self._source(width), "text")],
            [(f"{self._link_hz} fps", "dim")],
        ]  # fmt: skip
        right: Row = []
        for part in parts:
            if length(left) + length(right) + length(part) + 4 <= width:
                right += [*part, ("   " if width >= 100 else "  ", "")]
        return [spread(left, [*right[:-1], (" ", "")] if right else [], width)]

    def _audio(self) -> str:
        audio = self._view.audio
        return f"{audio.rate / 1000:g}k/{audio.block}" + ("" if audio.backend == "portaudio" else f" {audio.backend}")

    def _source(self, width: int) -> str:
        if self._view.source == "file":
            return clip_start(PurePath(self._view.source_path).name, max(width // 6, 10), self.glyphs.ellipsis)
        return self._view.source


class Chain(Drawn):
    """The signal's way through the slots, with the level behind each; a click chooses a slot."""

    class Chosen(Message):
        """A slot was clicked."""

        def __init__(self, slot: str):
            super().__init__()
            self.slot = slot

    def __init__(self) -> None:
        super().__init__()
        self._slots: tuple[SlotView, ...] = ()
        self._current, self._gauges = "", ()
        self._spans: list[tuple[int, int, str]] = []

    def show(self, slots: tuple[SlotView, ...], current: str) -> None:
        """Draw these slots, one of them current."""
        if (slots, current) != (self._slots, self._current):
            self._slots, self._current = slots, current
            self.repaint()

    def measure(self, t: Telemetry) -> None:
        """Draw the level behind each slot."""
        gauges = tuple(bars.gauge(level, self.glyphs) for level in t.slots_db)
        if gauges != self._gauges:
            self._gauges = gauges
            self.repaint()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        for start, end, slot in self._spans:
            if start <= event.x < end:
                self.post_message(self.Chosen(slot))

    def draw(self, width: int, height: int) -> list[Row]:
        # Names are shortened until all fit; a very long chain is cut at its end.
        longest = max((len(slot.id) for slot in self._slots), default=0)
        for most in range(longest, 1, -1):
            row = self._row(most)
            if length(row) <= width:
                return [row]
        return [cut(self._row(2), width)]

    def _row(self, most: int) -> Row:
        g = self.glyphs
        row: Row = [(" in ", "dim")]
        self._spans = []
        for i, slot in enumerate(self._slots):
            current = slot.id == self._current
            mark, ink = self._state(slot)
            name = clip(slot.id, most, g.ellipsis)
            gauge = self._gauges[i] if i < len(self._gauges) else " "
            start = length(row)
            shown = "focus b u" if current else "faint" if slot.bypass else "text"
            row += [(f"{g.link} ", "line"), (mark, ink), (" ", ""), (name, shown), (" ", ""), (gauge, "ok")]
            self._spans.append((start, length(row), slot.id))
        return [*row, (f"{g.link} ", "line"), ("out", "dim")]

    def _state(self, slot: SlotView) -> tuple[str, str]:
        g = self.glyphs
        if slot.status == "failed":
            return g.fail, "hot b"
        if slot.status == "building":
            return g.wait, "warm"
        return (g.off, "faint") if slot.bypass else (g.on, "lit")


class StatusLine(Drawn):
    """What was touched last, in full precision; or what went wrong.

    A warning stays for a while when the focus merely passes over knobs; then the knob in focus is shown.
    """

    LEVELS = {"info": ("", "dim"), "warning": ("warning: ", "warm b"), "error": ("error: ", "hot b")}
    HOLD_S = 4.0  # that a message stays

    def __init__(self) -> None:
        super().__init__()
        self.text = "connecting to the server ..."
        self.shows = ""  # the key of the knob that stands there or follows the message, if one does
        self._row: Row = [(f" {self.text}", "dim")]
        self._held_until = 0.0
        self._next: Timer | None = None  # shows the knob in focus when the message has stayed long enough

    def say(self, text: str, level: str = "info", hold: bool = False) -> None:
        """A line of words."""
        prefix, ink = self.LEVELS.get(level, self.LEVELS["info"])
        self._set([(" " + prefix, ink), (" ".join(text.split()), "text")])
        self._held_until = time.monotonic() + self.HOLD_S if prefix or hold else 0.0

    def knob(self, key: str, info: KnobInfo, value: float, entry: str | None = None, passing: bool = False,
             link: str = "") -> None:  # fmt: skip
        """A knob, its value (or what is being typed), its range, and how the SuperKnob and it stand.

        Where the focus is only `passing`, a message that is still held stays, and the knob follows it.
        """
        slot, _, name = key.rpartition(".")
        shown = turning.exact(info, value) if entry is None else entry + self.glyphs.cursor
        row: Row = [(f" {slot}  ", "dim"), (name.replace("_", " "), "text"), (" = ", "dim")]
        row += [(shown, "bright b" if entry is None else "focus b"), (f"   {turning.span(info)}", "faint")]
        row = [*row, (f"   {LINKED[link]}", "lit")] if link in LINKED else row
        shows = key if entry is None else ""
        wait_s = self._held_until - time.monotonic() if passing else 0.0
        if wait_s > 0:
            self.stay()
            self._next, self.shows = self.set_timer(wait_s, lambda: self._set(row, shows)), shows
        else:
            self._held_until = 0.0
            self._set(row, shows)

    def stay(self) -> None:
        """What is said stays: a knob that was to follow it is not in focus any more."""
        if self._next:
            self._next.stop()
            self._next, self.shows = None, ""

    def _set(self, row: Row, shows: str = "") -> None:
        self.stay()
        self._row, self.text, self.shows = row, "".join(text for text, _ in row).strip(), shows
        self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        row = self._row
        if length(row) > width:
            row = [*cut(row, width - 1), (self.glyphs.ellipsis, "dim")]
        return [row]


class Keys(Drawn):
    """The footer: what the keys do here. A click on one does it."""

    class Pressed(Message):
        """A command was clicked."""

        def __init__(self, command: Command):
            super().__init__()
            self.command = command

    def __init__(self) -> None:
        super().__init__()
        self._commands: list[Command] = []
        self._spans: list[tuple[int, int, Command]] = []

    def show(self, commands: list[Command]) -> None:
        """The commands to offer, most wanted first."""
        if commands != self._commands:
            self._commands = commands
            self.repaint()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        for start, end, command in self._spans:
            if start <= event.x < end:
                self.post_message(self.Pressed(command))

    def draw(self, width: int, height: int) -> list[Row]:
        row: Row = []
        self._spans = []
        plain = self.glyphs.name == "ascii"
        for command in self._commands:
            part: Row = [(f" {footer_key(command, plain)}", "focus b"), (f" {command.short} ", "dim")]
            if length(row) + length(part) > width:
                continue
            self._spans.append((length(row), length(row) + length(part), command))
            row += part
        return [row]
