"""Input and output meters side by side, with peak hold, a latched clip light and the maximum in numbers."""

from __future__ import annotations

from textual import events
from textual.message import Message

from rack.protocol import Telemetry

from ..art import bars
from ..art.text import Row
from .drawn import Drawn

WIDTH = 9  # cells of its inside
ZONE_INKS = ("ok", "warm", "hot")


class Meters(Drawn):
    """Two channels in, two out. Levels come with ballistics applied; nothing is drawn while they stand still."""

    class Reset(Message):
        """A click: forget clips and maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.border_title = "level"
        self._levels = Telemetry()
        self._signature: tuple = ()

    def show(self, levels: Telemetry) -> None:
        """Take new levels; only rows of cells that differ are repainted."""
        self._levels = levels
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Reset())

    def draw(self, width: int, height: int) -> list[Row]:
        rows = height - 3
        if rows < 2:
            return []
        t = self._levels
        left, right = self._pair(t.input_db, t.input_hold_db, rows), self._pair(t.output_db, t.output_hold_db, rows)
        ticks = bars.ticks(rows)
        gap = " " * ((width - 8) // 2)
        middle = width - 4 - 2 * len(gap)
        out: list[Row] = [
            [*_side("CLIP" if t.input_clip else "", 4, "bright b on hot"), (" " * (width - 8), ""),
             *_side("CLIP" if t.output_clip else "", 4, "bright b on hot")],
            [*_side(bars.peak(t.input_max_db), 4, "dim"), (" " * (width - 8), ""),
             *_side(bars.peak(t.output_max_db), 4, "text")],
        ]  # fmt: skip
        for y in range(rows):
            tick = ticks.get(y, "").center(middle)
            out.append([(gap, ""), *left[y], (tick, "faint"), *right[y]])
        out.append([(" IN " + " " * (width - 8) + "OUT ", "dim")])
        return out

    def _pair(self, levels: tuple[float, ...], holds: tuple[float, ...], rows: int) -> list[Row]:
        """Two bars of a cell each; a mono signal fills both."""
        levels, holds = levels or (bars.SILENCE_DB,), holds or (bars.SILENCE_DB,)
        one, two = (bars.column(level, hold, rows, self.glyphs) for level, hold in (
            (levels[0], holds[0]), (levels[-1], holds[-1])))  # fmt: skip
        return [[_inked(a), _inked(b)] for a, b in zip(one, two, strict=True)]


def _inked(cell: tuple[str, int, bool]) -> tuple[str, str]:
    glyph, zone, _ = cell
    return glyph, f"{ZONE_INKS[zone]} on well"


def _side(text: str, width: int, ink: str) -> Row:
    return [(text.rjust(width), ink if text else "")]
