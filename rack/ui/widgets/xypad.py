"""Two knobs under one hand: a pad with a reticle, rulers in the knobs' units, and what chooses the knobs."""

from __future__ import annotations

import time
from collections import deque

from textual import events
from textual.binding import Binding
from textual.message import Message

from rack.catalogue import KnobInfo
from rack.maps import Ground

from .. import turning
from ..art import field, surface
from ..art.surface import OFF, Surface
from ..art.text import Row, clip, short
from ..commands import bindings
from .drawn import Drawn

TRAIL = 12  # cells
Place = tuple[float, float]


class XYPad(Drawn, can_focus=True):
    """Positions 0..1 of two knobs, on a ground that says what each place sounds like.

    Without a map, or with `measure` off, the ground is lighter the nearer both are to their defaults.
    """

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("pad")]

    class Moved(Message):
        """A hand moved both knobs to these positions."""

        def __init__(self, place: Place, gesture: int):
            super().__init__()
            self.place, self.gesture = place, gesture

    class Typed(Message):
        """Enter: the values are to be typed."""

    class Chose(Message):
        """Another measure is to be seen."""

    def __init__(self, gestures: turning.Gestures, trail: bool = True, focusable: bool = True):
        super().__init__()
        self.can_focus = focusable
        self.place: Place = (0.5, 0.5)
        self._gestures, self._axes = gestures, ("", "")
        self._home: Place = (0.5, 0.5)
        self._fine: Place = (1.0, 1.0)
        self._trail: deque[tuple[int, int]] = deque(maxlen=TRAIL if trail else 0)
        self._shaded: tuple[tuple, list] = ((), [])
        self._gesture = 0
        self.measure = OFF
        self._map = Ground()
        self._surface: Surface | None = None
        self._marks: tuple[tuple[str, Place], ...] = ()

    def aim(self, axes: tuple[str, str], x: KnobInfo | None, y: KnobInfo | None) -> None:
        """The knobs it moves; None where there is none."""
        home = tuple(info.position(info.default) if info else 0.5 for info in (x, y))
        if (axes, home) != (self._axes, self._home):
            self._axes, self._home = axes, home  # type: ignore[assignment]
            self._trail.clear()
            self.repaint()

    def show_map(self, ground: Ground) -> None:
        """Draw this map behind the reticle; its side is 0 where there is none."""
        if ground != self._map:
            self._map = ground
            self._see(self.measure)

    def show_marks(self, marks: tuple[tuple[str, Place], ...]) -> None:
        """Draw a character at each of these places."""
        if marks != self._marks:
            self._marks = marks
            self.repaint()

    @property
    def legend(self) -> str:
        """What the ground shows, in words."""
        return surface.legend(self._surface, self.measure, self._map.whole, self.dense)

    @property
    def dense(self) -> bool:
        """Whether the ground is drawn in characters, because there are no shades."""
        return self.glyphs.name == "ascii" or self.look.few_colours

    def _see(self, measure: str) -> None:
        self.measure, self._surface = measure, surface.surface(self._map, measure)
        self._shaded = ((), [])
        self.repaint()

    def action_measure(self) -> None:
        self._see(surface.CHOICES[(surface.CHOICES.index(self.measure) + 1) % len(surface.CHOICES)])
        self.post_message(self.Chose())

    def show(self, place: Place) -> None:
        """Draw the reticle there."""
        if place != self.place:
            self.place = place
            self.repaint()

    def move(self, place: Place, gesture: int) -> None:
        """The hand moves it."""
        place = (min(max(place[0], 0.0), 1.0), min(max(place[1], 0.0), 1.0))
        width, height = self.size
        old = field.cell(*self.place, width, height)
        if old != field.cell(*place, width, height):
            self._trail.append(old)
        self.show(place)
        self.post_message(self.Moved(place, gesture))

    def action_move(self, right: float, up: float) -> None:
        x, y = self.place
        gesture = self._gestures.burst("xy", time.monotonic())
        self.move((round(x + right / 50, 6), round(y + up / 50, 6)), gesture)

    def action_default(self) -> None:
        self.move(self._home, self._gestures.new())

    def action_type(self) -> None:
        self.post_message(self.Typed())

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._gesture = self._gestures.new()
        self.capture_mouse()
        self._follow(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._gesture:
            self._follow(event)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self._gesture = 0
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if event.chain == 2:
            self.action_default()

    def _follow(self, event: events.MouseEvent) -> None:
        event.stop()
        inside = self.content_region
        column, row = event.screen_x - inside.x, event.screen_y - inside.y
        place = field.position(column, row, inside.width, inside.height)
        if place != self.place:
            self.move(place, self._gesture)

    def draw(self, width: int, height: int) -> list[Row]:
        key = (width, height, self._home)
        if self._shaded[0] != key:
            height_at = self._surface.at if self._surface else field.distance(self._home)
            self._shaded = (key, field.shade(height_at, width, height))
        over = self._overlay(width, height)
        shades = self.glyphs.shades if self.dense else ""
        least = 0 if self._surface else 2  # the defaults' ground is there for the eye, a map is read
        out: list[Row] = []
        for y, cells in enumerate(self._shaded[1]):
            row: Row = []
            for x, (top, bottom) in enumerate(cells):
                glyph, ink = over.get((x, y), ("", ""))
                if glyph:
                    row.append((glyph, f"{ink} on heat-{bottom}"))
                elif shades:
                    row.append((shades[max(bottom - least, 0) * (len(shades) - 1) // field.LEVELS], "faint"))
                elif top == bottom:
                    row.append((" ", f"text on heat-{bottom}"))
                else:
                    row.append(("▀", f"heat-{top} on heat-{bottom}"))
            out.append(row)
        return out

    def _overlay(self, width: int, height: int) -> dict[tuple[int, int], tuple[str, str]]:
        """What lies over the ground: the home mark, the trail, marked places, and the reticle on top."""
        across, down, middle = self.glyphs.cross
        over = {field.cell(*self._home, width, height): (self.glyphs.off, "dim")}
        for i, cell in enumerate(self._trail):
            over[cell] = (self.glyphs.point, "text" if i > len(self._trail) // 2 else "dim")
        for mark, place in self._marks:
            over[field.cell(*place, width, height)] = (mark, "lit b")
        x, y = field.cell(*self.place, width, height)
        ink = "focus b" if self.has_focus else "bright b"
        arms = [*((x + dx, y, across) for dx in (-2, -1, 1, 2)), *((x, y + dy, down) for dy in (-1, 1))]
        for column, row, glyph in arms:
            if 0 <= column < width and 0 <= row < height:
                over[column, row] = (glyph, ink)
        over[x, y] = (middle, ink)
        return over


class Ruler(Drawn):
    """The scale of one axis in its knob's unit, with a mark where the knob stands."""

    def __init__(self, upright: bool):
        super().__init__(classes="-upright" if upright else "-across")
        self._upright, self._position = upright, 0.5
        self._info: KnobInfo | None = None

    def show(self, info: KnobInfo | None, position: float) -> None:
        """Draw the scale of this knob."""
        if (info, position) != (self._info, self._position):
            self._info, self._position = info, position
            self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        if self._info is None:
            return []
        return self._downwards(self._info, width, height) if self._upright else [self._across(self._info, width)]

    def _downwards(self, info: KnobInfo, width: int, height: int) -> list[Row]:
        rows: list[Row] = [[] for _ in range(height)]
        _, now = field.cell(0.0, self._position, 1, height)
        for position in (0.0, 0.25, 0.5, 0.75, 1.0) if height > 8 else (0.0, 0.5, 1.0):
            _, y = field.cell(0.0, position, 1, height)
            if abs(y - now) > 1:
                rows[y] = [(_number(info, position, width), "faint")]
        rows[now] = [(_number(info, self._position, width), "focus b")]
        return rows

    def _across(self, info: KnobInfo, width: int) -> Row:
        start, text = now = _mark(info, self._position, width)
        marks = [_mark(info, p, width) for p in ((0.0, 1.0) if width < 40 else (0.0, 0.25, 0.5, 0.75, 1.0))]
        free = [(x, t) for x, t in marks if x + len(t) < start or x > start + len(text)]
        row: Row = []
        end = 0
        for x, words in sorted([*free, now]):
            row += [(" " * (x - end), ""), (words, "focus b" if (x, words) == now else "faint")]
            end = x + len(words)
        return row


def _number(info: KnobInfo, position: float, width: int) -> str:
    """The value there, at the right end of `width` cells."""
    return short(info.format(info.value(position)), width - 1).rjust(width - 1)


def _mark(info: KnobInfo, position: float, width: int) -> tuple[int, str]:
    """Where on a line of `width` cells a number stands, and the number."""
    text = info.format(info.value(position))
    x, _ = field.cell(position, 0.0, width, 1)
    return min(max(x - len(text) // 2, 0), max(width - len(text), 0)), text


class Axis(Drawn, can_focus=True):
    """Names the knob of one axis; up and down choose another, Enter shows the list."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("axis")]

    class Cycle(Message):
        """Take the next (+1) or previous (-1) knob."""

        def __init__(self, axis: Axis, step: int):
            super().__init__()
            self.axis, self.step = axis, step

    class Pick(Message):
        """Show the list of knobs."""

        def __init__(self, axis: Axis):
            super().__init__()
            self.axis = axis

    def __init__(self, name: str):
        super().__init__(id=f"axis-{name}")
        self.letter, self.key, self._value = name, "", ""

    def show(self, key: str, value: str) -> None:
        """Draw the knob's name and its value."""
        if (key, value) != (self.key, self._value):
            self.key, self._value = key, value
            self.repaint()

    def action_cycle(self, step: int) -> None:
        self.post_message(self.Cycle(self, step))

    def action_pick(self) -> None:
        self.post_message(self.Pick(self))

    def on_click(self, event: events.Click) -> None:
        self.action_pick()

    def draw(self, width: int, height: int) -> list[Row]:
        ink = "focus b" if self.has_focus else "text"
        name = self.key.replace(".", " / ") or "no knob chosen"
        return [[(f" {self.letter}  ", "dim"), (clip(name, width - 16), ink), (f"  {self._value}", "lit")]]
