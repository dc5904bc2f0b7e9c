"""A widget that draws itself as rows of text in named inks, and sends only the rows that changed."""

from __future__ import annotations

from typing import Any, Self

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ..art.glyphs import Glyphs
from ..art.look import DEFAULT, Look
from ..art.text import Row, length, merge


class Drawn(Widget):
    """Base of everything we draw: a subclass says `draw(width, height)` and calls `repaint` when it would differ.

    An ink is words: a colour of `art.colours`, `on` and another for the ground, `b` bold, `r` reverse, `u` underlined:
    "lit", "bright b", "heat-3 on heat-4". An empty ink is the widget's own colour.
    """

    ALLOW_SELECT = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._rows: list[Row] = []
        self._drawn_at = (-1, -1)
        self._inks: dict[str, Style] = {}
        self._strips: dict[int, Strip] = {}
        self._lines: tuple[tuple, list[Strip]] = ((), [])  # what `render_lines` answered last, and to what

    def draw(self, width: int, height: int) -> list[Row]:
        """The rows, each at most `width` cells; missing ones are blank."""
        raise NotImplementedError

    @property
    def look(self) -> Look:
        """Colours and characters of this terminal."""
        return look_for(self)

    @property
    def glyphs(self) -> Glyphs:
        """The characters of this terminal."""
        return look_for(self).glyphs

    def repaint(self) -> None:
        """Draw, and refresh the rows that are not as they were, up to the last cell that differs."""
        width, height = self.size
        if not width or not height or not self.is_mounted:
            return
        if self._drawn_at != (width, height):
            self.refresh()
            return
        before, self._rows = self._rows, self._fresh(width, height)
        dirty = []
        for y, (old, new) in enumerate(zip(before, self._rows, strict=True)):
            if old != new:
                self._strips.pop(y, None)
                dirty.append(Region(0, y, _end_of_change(old, new, width), 1))
        if dirty:
            self.refresh(*dirty)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self._drawn_at != (width, height):
            self._rows, self._drawn_at = self._fresh(width, height), (width, height)
            self._strips.clear()
        if y not in self._strips:
            row = self._rows[y] if y < len(self._rows) else []
            base = self.rich_style
            segments = [Segment(text, self.ink(ink)) for text, ink in row]
            self._strips[y] = Strip(segments, length(row)).adjust_cell_length(width, base)
        return self._strips[y]

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a part; they are asked for whenever any widget between here and the far corner has changed."""
        asked = (crop, self.outer_size)
        if self._lines[0] != asked:
            self._lines = asked, super().render_lines(crop)
        return self._lines[1]

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        self._lines = ((), [])
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._inks.clear()
        self._strips.clear()
        self._lines = ((), [])

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.repaint()

    def ink(self, name: str) -> Style:
        """The Style of an ink on this widget's ground."""
        if name not in self._inks:
            palette = self.look.palette
            fore = back = None
            words = name.split()
            for i, word in enumerate(words):
                if len(word) > 1 and word != "on":
                    colour = Color.parse(palette[word]).rich_color
                    fore, back = (fore, colour) if i and words[i - 1] == "on" else (colour, back)
            self._inks[name] = self.rich_style + Style(
                color=fore,
                bgcolor=back,
                bold="b" in words or None,
                reverse="r" in words or None,
                underline="u" in words or None,
            )
        return self._inks[name]

    def _fresh(self, width: int, height: int) -> list[Row]:
        rows = [merge(row) for row in self.draw(width, height)[:height]]
        return rows + [[]] * (height - len(rows))


def look_for(widget: Widget) -> Look:
    """The look of the application that a widget is in."""
    return getattr(widget.app, "look", DEFAULT)


def _end_of_change(old: Row, new: Row, width: int) -> int:
    """One past the last cell in which two rows may differ."""
    tail = 0
    for (text, ink), (other, other_ink) in zip(reversed(old), reversed(new), strict=False):
        if (text, ink) != (other, other_ink):
            break
        tail += len(text)
    return width - tail if length(old) == length(new) == width else width
