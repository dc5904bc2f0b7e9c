"""The SuperKnob on the rack page: its dial (or pad), the list of examples, and one line that says what to do next."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message

from rack.catalogue import KnobInfo
from rack.examples import ExampleView, SuperPlace, SuperView

from ..art import dial
from ..art import knob as picture
from ..art.text import Row, clip
from ..commands import bindings
from ..turning import Gestures
from .drawn import Drawn, look_for
from .knob import Knob
from .listing import Listing
from .xypad import Place, XYPad

ROWS, TALL = 9, 11  # of the panel, in a usual terminal and in a tall one
TALL_FROM = 30  # rows of the page
MISSED = 0.01  # rms of an example that is worth a colour
OWN_S = 0.4  # so long after a turn here, an echo of an earlier one is not drawn
INFO = KnobInfo("superknob", "", 0.0, 1.0, 0.0)
LAMPS = {"no model": "off", "training": "wait", "up to date": "on", "stale": "fail"}  # glyphs


class SuperDial(Knob, inherit_css=False):
    """The SuperKnob of one knob: turned like any other, and counted among none of them."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("super")]

    def __init__(self, gestures: Gestures):
        super().__init__("superknob", INFO, 0.0, gestures)
        self.anchors: tuple[float, ...] = ()
        self.chosen = -1
        self._turned_at = 0.0

    def turn(self, value: float, gesture: int) -> None:
        self._turned_at = time.monotonic()
        super().turn(value, gesture)

    def place(self, value: float, anchors: tuple[float, ...], chosen: int) -> None:
        """Draw it there, unless a hand has just turned it somewhere else."""
        if time.monotonic() - self._turned_at > OWN_S:
            self.value = value
        self.anchors, self.chosen = anchors, chosen
        self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        inks = self._layer_inks() | {dial.ANCHOR: "text", dial.CHOSEN: "focus b", -1: self._value_ink}
        rows = dial.dial(width, height, self.value, self.anchors, self.glyphs, self.chosen)
        rows = dial.written(rows, self._value_text(8), -1)
        return [[(glyph, inks[layer]) for glyph, layer in row] for row in rows]

    def _layer_inks(self) -> dict[int, str]:
        return super()._layer_inks() | {picture.EMPTY: ""}


class SuperPad(XYPad, inherit_css=False):
    """The SuperKnob of two knobs."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("super")]

    class Steered(Message):
        """A hand moved it."""

        def __init__(self, place: Place, gesture: int):
            super().__init__()
            self.place, self.gesture = place, gesture

    def __init__(self, gestures: Gestures):
        super().__init__(gestures, trail=False)
        self._turned_at = 0.0

    def move(self, place: Place, gesture: int) -> None:
        place = (min(max(place[0], 0.0), 1.0), min(max(place[1], 0.0), 1.0))
        self._turned_at = time.monotonic()
        self.show(place)
        self.post_message(self.Steered(place, gesture))

    def action_type(self) -> None:
        """Nothing is typed here."""

    def place_at(self, place: Place) -> None:
        """Draw it there, unless a hand has just moved it somewhere else."""
        if time.monotonic() - self._turned_at > OWN_S:
            self.show(place)


class Lessons(Listing):
    """The examples: number, name, place, what the knobs are there, and how far it is missed."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("lessons")]

    def draw(self, width: int, height: int) -> list[Row]:
        if not self.lines:
            return [[("  no examples yet", "dim")]]
        name = min(max(len(e.name) for e in self.lines), max(width // 3, 8))
        worst = max((e.residual or 0.0 for e in self.lines), default=0.0)
        rows: list[Row] = []
        for i in self.window(height):
            example: ExampleView = self.lines[i]
            here = i == self.at and self.has_focus
            ground = " on well" if here else ""
            where = " ".join(f"{p:.2f}" for p in example.position)
            missed = "" if example.residual is None else f"{example.residual:.3f}"
            hot = (example.residual or 0.0) > MISSED and example.residual == worst
            words = clip(example.words, max(width - name - len(where) - 15, 0), self.glyphs.ellipsis)
            rows.append(
                [
                    ("> " if here else "  ", f"focus b{ground}"),
                    (f"{i + 1:>2} ", f"dim{ground}"),
                    (
                        clip(example.name, name, self.glyphs.ellipsis).ljust(name),
                        f"{'focus b' if here else 'text'}{ground}",
                    ),
                    (f" {where}  ", f"lit{ground}"),
                    (words.ljust(max(width - name - len(where) - 14, 0)), f"dim{ground}"),
                    (missed.rjust(6), f"{'warm b' if hot else 'faint'}{ground}"),
                ]
            )
        return rows


class NextLine(Drawn):
    """What there is to do next."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def show(self, text: str) -> None:
        """Draw this line."""
        if text != self.text:
            self.text = text
            self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        return [[(" next: ", "dim"), (clip(self.text, width - 7, self.glyphs.ellipsis), "text")]]


class SuperPanel(Vertical):
    """All of it. `wanted` says whether it is worth its rows."""

    def __init__(self, gestures: Gestures):
        super().__init__()
        self.dial, self.pad = SuperDial(gestures), SuperPad(gestures)
        self.lessons, self._next = Lessons(), NextLine()
        self.view = SuperView()
        self.asked = False  # somebody wants to see it
        self.display = False
        self.pad.display = False

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self.dial
            yield self.pad
            yield self.lessons
        yield self._next

    @property
    def control(self) -> Drawn:
        """What turns it."""
        return self.dial if self.view.knobs == 1 else self.pad

    @property
    def chosen(self) -> ExampleView | None:
        """The example that is highlighted in the list."""
        return self.view.examples[self.lessons.at] if 0 <= self.lessons.at < len(self.view.examples) else None

    def show(self, view: SuperView) -> None:
        """Draw this SuperKnob."""
        before, self.view = self.view, view
        self.display = bool(self.asked or view.examples or view.links or view.lamp != "no model")
        self.dial.display, self.pad.display = view.knobs == 1, view.knobs == 2
        if before.examples != view.examples:
            more = len(view.examples) > len(before.examples)
            self.lessons.show(view.examples, len(view.examples) - 1 if more else self.lessons.at)
        self.set_class(view.playing, "-playing")
        self._caption()
        self.move_to(view.place)

    def move_to(self, place: SuperPlace) -> None:
        """Draw where it stands and what it says there."""
        anchors = tuple(e.position for e in self.view.examples)
        if self.view.knobs == 1:
            self.dial.place(place.position[0], tuple(p[0] for p in anchors), self._chosen)
        elif len(place.position) == 2:
            self.pad.place_at((place.position[0], place.position[1]))
            self.pad.show_marks(tuple((str(i + 1) if i < 9 else "+", (p[0], p[1])) for i, p in enumerate(anchors)))
        self._next.show(place.next)
        sure = f"confidence {place.confidence:.0%}" if self.view.examples else ""
        self.border_subtitle = Content(sure)

    @property
    def _chosen(self) -> int:
        return self.lessons.at if self.lessons.has_focus else -1

    def on_listing_highlighted(self) -> None:
        self.move_to(self.view.place)

    def _caption(self) -> None:
        view, glyphs = self.view, look_for(self).glyphs
        words = ["SuperKnob", "PLAY" if view.playing else "TEACH", f"{getattr(glyphs, LAMPS[view.lamp])} {view.lamp}"]
        words += ["by interpolation"] if view.exact else []
        words += [f"mapping {view.compare}"] if view.compare else []
        words += [f"glide {view.glide_ms:g} ms"] if view.glide_ms else []
        self.border_title = Content("  ".join(words))
