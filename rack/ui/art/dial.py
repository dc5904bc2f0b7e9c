"""The SuperKnob's dial: a large arc with a digit where each example is, solid where something is taught.

Beyond the outermost examples the arc is dotted: there everything is a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .canvas import Canvas, Cell
from .glyphs import Glyphs
from .knob import EMPTY, LIT, POINTER, START_DEG, SWEEP_DEG, TRACK

ANCHOR, CHOSEN = 4, 5  # layers beside those of a knob
STEPS = 360
GAP = 3  # dots from one dot of a dotted arc to the next
TALL = 2.0  # a cell's height in cell widths


def dial(
    width: int, height: int, position: float, anchors: Sequence[float], glyphs: Glyphs, chosen: int = -1
) -> list[list[Cell]]:
    """Rows of (glyph, layer); `anchors` are the examples' positions in their order, `chosen` the one in focus."""
    canvas = Canvas(width, height, glyphs)
    radius = max(min((TALL * height - 2.3) / (1 + math.sqrt(0.5)), width / 2 - 2), 1.0)
    middle, centre = width / 2, 2.0 + radius
    dotted = max(round(STEPS * GAP / (math.radians(SWEEP_DEG) * radius * canvas.dx)), 1)
    low, high = (min(anchors), max(anchors)) if anchors else (2.0, -1.0)

    def at(along: float, reach: float) -> tuple[float, float]:
        angle = math.radians(START_DEG - SWEEP_DEG * along)
        return middle + reach * math.cos(angle), centre - reach * math.sin(angle)

    def dot(along: float, reach: float, layer: int) -> None:
        x, y = at(along, reach)
        canvas.dot(math.floor(x * canvas.dx), math.floor(y * canvas.dy / TALL), layer)

    for i in range(STEPS + 1):
        along = i / STEPS
        lit = along <= position and position > 0
        if low - 1e-9 <= along <= high + 1e-9 or i % dotted == 0:
            dot(along, radius, LIT if lit else TRACK)
            if lit and glyphs.dots != (1, 1):
                dot(along, radius - 0.45, LIT)
    for i in range(33):
        dot(position, radius * (0.3 + 0.45 * i / 32), POINTER)
    rows = canvas.rows()
    for i, anchor in enumerate(anchors):
        x, y = at(anchor, radius + 1.3)
        row, column = min(max(int(y / TALL), 0), height - 1), min(max(int(x), 0), width - 1)
        rows[row][column] = (str(i + 1) if i < 9 else glyphs.point, CHOSEN if i == chosen else ANCHOR)
    return rows


def written(rows: list[list[Cell]], text: str, layer: int = EMPTY) -> list[list[Cell]]:
    """The same with a text in the mouth of the arc."""
    last = rows[-1]
    start = max((len(last) - len(text)) // 2, 0)
    last[start : start + len(text)] = [(glyph, layer) for glyph in text[: len(last) - start]]
    return rows
