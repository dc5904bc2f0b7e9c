"""The oscilloscope: what goes in dim, what comes out bright, standing still by its trigger."""

from __future__ import annotations

from array import array

from textual.binding import Binding

from ..art.canvas import Canvas, trace, trigger
from ..art.text import Row
from ..commands import bindings
from .drawn import Drawn

DRY, WET = 1, 2
SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
PATIENCE = 15  # frames before the picture is magnified again
SHOWN = 2 / 3  # of the samples; the rest is room for the trigger
LARGE = 2000  # cells; a larger picture is drawn every other time, for the sake of the line to the terminal


class Scope(Drawn):
    """The last milliseconds of input and output. `show` takes float32 bytes, newest last."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("scope")]

    def __init__(self, focusable: bool = True):
        super().__init__()
        self.can_focus = focusable
        self.border_title = "scope"
        self.frozen = False
        self._dry: array[float] = array("f")
        self._wet: array[float] = array("f")
        self._scale = SCALES.index(1.0)
        self._quiet = 0
        self._passed = False
        self._caption(0.0)

    def show(self, dry: bytes, wet: bytes, rate: int) -> None:
        """Draw new samples, unless the picture is frozen."""
        self._passed = not self._passed and self.size.area > LARGE
        if self.frozen or self._passed:
            return
        a, b = array("f"), array("f")
        a.frombytes(dry[: len(dry) // 4 * 4])
        b.frombytes(wet[: len(wet) // 4 * 4])
        shown = int(len(b) * SHOWN)
        start = trigger(b, len(b) - shown)
        self._dry, self._wet = a[start : start + shown], b[start : start + shown]
        self._rescale(max(map(abs, (*self._dry, *self._wet)), default=0.0))
        self._caption(1000 * shown / rate if rate else 0.0)
        self.repaint()

    def action_freeze(self) -> None:
        self.frozen = not self.frozen
        self._caption(None)

    def _rescale(self, peak: float) -> None:
        wanted = next((i for i, scale in enumerate(SCALES) if scale >= peak), len(SCALES) - 1)
        self._quiet = self._quiet + 1 if wanted < self._scale else 0
        if wanted > self._scale or self._quiet > PATIENCE:
            self._scale, self._quiet = wanted, 0

    def _caption(self, shown_ms: float | None) -> None:
        if shown_ms is not None:
            self._shown_ms = shown_ms
        text = f"±{SCALES[self._scale]:g}   {self._shown_ms:.1f} ms" + "   FROZEN" * self.frozen
        if text != self.border_subtitle:
            self.border_subtitle = text

    def draw(self, width: int, height: int) -> list[Row]:
        canvas = Canvas(width, height, self.glyphs)
        scale = SCALES[self._scale]
        if self._wet:
            trace(canvas, self._dry, scale, DRY)
            trace(canvas, self._wet, scale, WET)
        rows: list[Row] = [[(g, ("", "dry", "lit")[k]) for g, k in row] for row in canvas.rows()]
        middle = height // 2
        rows[middle] = [(self.glyphs.track, "track") if g == " " else (g, ink) for g, ink in rows[middle]]
        return rows
