"""A list to choose from: one line each, a name and what there is to say about it."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.binding import Binding
from textual.message import Message

from ..art.text import Row, clip
from ..commands import bindings
from .drawn import Drawn


class Listing(Drawn, can_focus=True):
    """Lines of (name, about), one of them highlighted; keeps that one in sight."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("list")]

    class Highlighted(Message):
        """Another line is highlighted."""

    class Selected(Message):
        """The highlighted line was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[tuple[str, str]] = ()
        self.at = 0
        self._top = 0

    def show(self, lines: Sequence[tuple[str, str]], at: int = 0) -> None:
        """Draw these lines."""
        self._lines, self._top = lines, 0
        self.at = -1
        self._go(at)

    def _go(self, at: int) -> None:
        at = min(max(at, 0), len(self._lines) - 1)
        if at != self.at:
            self.at = at
            self.post_message(self.Highlighted())
        self.repaint()

    def action_step(self, step: int) -> None:
        self._go(self.at + step)

    def action_turn_page(self, step: int) -> None:
        self._go(self.at + step * max(self.size.height - 1, 1))

    def action_end(self, end: int) -> None:
        self._go(end * len(self._lines))

    def action_choose(self) -> None:
        if self._lines:
            self.post_message(self.Selected())

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if self._top + event.y < len(self._lines):
            self._go(self._top + event.y)
            self.action_choose()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_step(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_step(-1)

    def draw(self, width: int, height: int) -> list[Row]:
        last = max(len(self._lines) - height, 0)
        self._top = min(max(self._top, self.at - height + 1), max(self.at, 0), last)
        names, abouts = (max((len(line[i]) for line in self._lines), default=0) for i in (0, 1))
        wide = max(min(names, width - 5 - min(abouts, width // 3)), 1)
        rows: list[Row] = []
        for i, (name, about) in enumerate(self._lines[self._top : self._top + height], self._top):
            chosen = i == self.at
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
