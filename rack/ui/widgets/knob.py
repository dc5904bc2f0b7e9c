"""A knob: big, small or one line long, whatever its place allows."""

from __future__ import annotations

import time

from textual import events
from textual.binding import Binding
from textual.message import Message

from rack.catalogue import KnobInfo

from .. import turning
from ..art import knob as picture
from ..art.plan import BIG, LONG, SMALL
from ..art.text import Row, centre, label, short
from ..commands import bindings
from .drawn import Drawn

LINKS = {"driven": "~", "held": "!", "locked": "=", "linked": "+"}  # how the SuperKnob and a knob stand
ENTRY = "0123456789."  # a key of these begins a typed value


class Knob(Drawn, can_focus=True):
    """One knob of a slot. Says `Turned` for every change a hand makes; `show` draws one that came from elsewhere."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("knob")]

    class Turned(Message):
        """A hand set the knob to `value`; `gesture` is the same for all that one undo takes back."""

        def __init__(self, knob: Knob, value: float, gesture: int):
            super().__init__()
            self.knob, self.value, self.gesture = knob, value, gesture

        @property
        def control(self) -> Knob:
            return self.knob

    class Entry(Message):
        """A value is being typed; `text` is None when that ends, `error` says why it cannot be taken."""

        def __init__(self, knob: Knob, text: str | None, error: str = ""):
            super().__init__()
            self.knob, self.text, self.error = knob, text, error

    def __init__(self, key: str, info: KnobInfo, value: float, gestures: turning.Gestures):
        super().__init__()
        self.key, self.info, self.value = key, info, value
        self.asleep = False  # its slot is bypassed
        self.entry: str | None = None
        self.link = ""  # one of LINKS
        self._ghost: float | None = None
        self._gestures = gestures
        self._drag: tuple[float, float, bool, int] | None = None  # cell and value it started at, fine, gesture

    # --- values ---

    def show(self, value: float, asleep: bool) -> None:
        """Draw a value, and whether the slot sleeps."""
        if (value, asleep) != (self.value, self.asleep):
            self.value, self.asleep = value, asleep
            self.repaint()

    def mark(self, link: str, ghost: float | None) -> None:
        """Draw whether the SuperKnob drives it, and the position where that would put it."""
        if (link, ghost) != (self.link, self._ghost):
            self.link, self._ghost = link, ghost
            self.repaint()

    def turn(self, value: float, gesture: int) -> None:
        """The hand sets it."""
        self.value = value
        self.repaint()
        self.post_message(self.Turned(self, value, gesture))

    def action_nudge(self, steps: float) -> None:
        self._end_entry()
        gesture = self._gestures.burst(self.key, time.monotonic())
        self.turn(turning.nudge(self.info, self.value, steps), gesture)

    def action_edge(self, end: int) -> None:
        self.turn(self.info.high if end else self.info.low, self._gestures.new())

    def action_default(self) -> None:
        self.turn(self.info.default, self._gestures.new())

    # --- typed values ---

    def action_type(self) -> None:
        self._write("")

    def on_key(self, event: events.Key) -> None:
        if self.entry is None:
            if event.character and event.character in ENTRY:
                self._write(event.character)
                event.stop()
            return
        if event.key == "enter":
            self._commit(self.entry)
        elif event.key == "escape" or (event.key == "backspace" and not self.entry):
            self._end_entry()
        elif event.key == "backspace":
            self._write(self.entry[:-1])
        elif event.is_printable and event.character:
            self._write(self.entry + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._write((self.entry or "") + event.text.strip())

    def on_blur(self) -> None:
        self._end_entry()

    def _write(self, text: str) -> None:
        self.entry = text[:24]
        self.repaint()
        self.post_message(self.Entry(self, self.entry))

    def _commit(self, text: str) -> None:
        if not text:
            return self._end_entry()
        try:
            value = self.info.parse(text)
        except ValueError as error:
            self.post_message(self.Entry(self, text, str(error)))
            return None
        self._end_entry()
        return self.turn(value, self._gestures.new())

    def _end_entry(self) -> None:
        if self.entry is not None:
            self.entry = None
            self.repaint()
            self.post_message(self.Entry(self, None))

    # --- mouse ---

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._drag = (event.pointer_screen_y, self.value, event.shift, self._gestures.new())
        self.capture_mouse()
        event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._drag is None:
            return
        start, value, fine, gesture = self._drag
        if event.shift != fine:  # another ratio from here on, so that the knob does not jump
            start, value = event.pointer_screen_y, self.value
            self._drag = (start, value, event.shift, gesture)
        turned = turning.drag(self.info, value, start - event.pointer_screen_y, event.shift)
        if turned != self.value:
            self.turn(turned, gesture)
        event.stop()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self._drag = None
        self.release_mouse()
        event.stop()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if event.chain == 2:
            self.action_default()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, steps: int) -> None:
        event.stop()  # the rack must not scroll under a hand that turns
        event.prevent_default()
        self.action_nudge(steps * (turning.FINE if event.ctrl or event.shift else 1))

    # --- drawing ---

    def _layer_inks(self) -> dict[int, str]:
        lit = "faint" if self.asleep else "focus" if self.has_focus else "lit"
        pointer = "dim" if self.asleep else "bright b"
        return {picture.EMPTY: "", picture.TRACK: "track", picture.LIT: lit, picture.POINTER: pointer,
                picture.GHOST: "bright b"}  # fmt: skip

    @property
    def _label_ink(self) -> str:
        return "focus b" + " r" * self.look.mono if self.has_focus else "dim"

    @property
    def _value_ink(self) -> str:
        return "bright b" if self.entry is not None else "faint" if self.asleep else "text"

    def _value_text(self, width: int) -> str:
        if self.entry is not None:
            return (self.entry + self.glyphs.cursor)[-width:]
        return short(self.info.format(self.value), width if width > SMALL.width else width - 1)

    def draw(self, width: int, height: int) -> list[Row]:
        if height == 1:
            return [self._line(width)]
        big = height >= BIG.height and width >= BIG.width - 2
        size = picture.BIG if big else picture.SMALL
        inks = self._layer_inks()
        number = picture.frame(self.info.position(self.value))
        ghost = None if self._ghost is None else picture.frame(self._ghost)
        rows = picture.knob(size, number, self.info.bipolar, self.glyphs, ghost)
        left = (width - size[0]) // 2
        out: list[Row] = [[(" " * left, ""), *((glyph, inks[layer]) for glyph, layer in row)] for row in rows]
        out.append([(centre(self._value_text(width), width), self._value_ink)])
        mark = LINKS.get(self.link, "")
        out.append([(centre(mark + label(self.info.name, width - len(mark)), width), self._label_ink)])
        return out

    def _line(self, width: int) -> Row:
        position = self.info.position(self.value)
        long = width >= LONG
        wide = min(11, width // 3) if long else width - 9
        mark = LINKS.get(self.link, "")
        name = (mark + label(self.info.name, wide - len(mark))).ljust(wide)
        if not long:
            gauge = self.glyphs.rises[max(round(position * 8), 1)]
            lit = self._layer_inks()[picture.LIT]
            return [(gauge, lit), (" ", ""), (name, self._label_ink), (f"{self._value_text(7):>7}", self._value_ink)]
        cells = picture.slider(position, width - wide - 11, self.info.bipolar, self.glyphs, self._ghost)
        inks = self._layer_inks()
        row = [(name, self._label_ink), (" ", ""), *((glyph, inks[layer]) for glyph, layer in cells)]
        return [*row, (f" {self._value_text(9):>9}", self._value_ink)]
