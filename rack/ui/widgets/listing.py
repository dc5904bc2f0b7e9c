"""A list to choose from: one line each, a name and what there is to say about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import events
from textual.binding import Binding
from textual.message import Message

from ..art.text import Row, clip
from ..commands import bindings
from .drawn import Drawn


class Listing(Drawn, can_focus=True):
    """Lines of (name, about), one of them highlighted; keeps that one in sight. Others may draw other lines."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("list")]

    class Highlighted(Message):
        """Another line is highlighted."""

        def __init__(self, listing: Listing):
            super().__init__()
            self.listing = listing

    class Selected(Message):
        """The highlighted line was chosen."""

        def __init__(self, listing: Listing):
            super().__init__()
            self.listing = listing

    def __init__(self) -> None:
        super().__init__()
        self.lines: Sequence[Any] = ()
        self.at = 0
        self._top = 0

    def show(self, lines: Sequence[Any], at: int = 0) -> None:
        """Draw these lines."""
        self.lines, self._top = lines, 0
        self.at = -1
        self.go(at)

    def go(self, at: int) -> None:
        """Highlight the line at this place, or the nearest there is."""
        at = min(max(at, 0), len(self.lines) - 1)
        if at != self.at:
            self.at = at
            self.post_message(self.Highlighted(self))
        self.repaint()

    def action_step(self, step: int) -> None:
        self.go(self.at + step)

    def action_turn_page(self, step: int) -> None:
        self.go(self.at + step * max(self.size.height - 1, 1))

    def action_end(self, end: int) -> None:
        self.go(end * len(self.lines))

    def action_choose(self) -> None:
        if self.lines:
            self.post_message(self.Selected(self))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if self._top + event.y < len(self.lines):
            self.go(self._top + event.y)
            self.action_choose()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_step(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_step(-1)

    def window(self, height: int) -> range:
        """The lines that are in sight, the highlighted one among them."""
        last = max(len(self.lines) - height, 0)
        self._top = min(max(self._top, self.at - height + 1), max(self.at, 0), last)
        return range(self._top, min(self._top + height, len(self.lines)))

    def draw(self, width: int, height: int) -> list[Row]:
        names, abouts = (max((len(line[i]) for line in self.lines), default=0) for i in (0, 1))
        wide = max(min(names, width - 5 - min(abouts, width // 3)), 1)
        rows: list[Row] = []
        for i in self.window(height):
            (name, about), chosen = self.lines[i], i == self.at
            text = clip(about, max(width - wide - 5, 0), self.glyphs.ellipsis)
            mark = "> " if chosen else "  "
            ground = " on well" if chosen else ""
            rows.append(
                [
                    (mark, f"focus b{ground}"),
                    (clip(name, wide, self.glyphs.ellipsis).ljust(wide), f"{'focus b' if chosen else 'text'}{ground}"),
                    (f"  {text}".ljust(width - wide - 2), f"{'text' if chosen else 'dim'}{ground}"),
                ]
            )
        return rows
