"""Curves on axes: lines of dots, the best point marked, values at the left and below. Also the picture of a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .canvas import Canvas, Cell
from .glyphs import Glyphs

EMPTY, BEHIND, DIM, BRIGHT, MARK, AXIS = range(6)  # layers; of two lines in one cell the higher has it
PLAIN = " .o#"  # what the first four are where there are no dots, so that lines can be told apart
GUTTER = 7  # cells of the numbers at the left, their line included

Point = tuple[float, float]
Tick = tuple[float, str]


@dataclass(frozen=True)
class Line:
    """A line through points, both coordinates 0..1 with y upwards; None is a gap."""

    points: Sequence[Point | None]
    layer: int


def plot(width: int, height: int, lines: Sequence[Line], glyphs: Glyphs, *, y_ticks: Sequence[Tick] = (),
         x_ticks: Sequence[Tick] = (), mark: Point | None = None) -> list[list[Cell]]:  # fmt: skip
    """Rows of (glyph, layer): the lines in a frame of a line at the left and numbers below."""
    across, down = max(width - GUTTER, 1), max(height - 1, 1)
    canvas = Canvas(across, down, glyphs)
    for line in sorted(lines, key=lambda line: line.layer):
        _trace(canvas, line)
    rows = canvas.rows()
    if glyphs.name == "ascii":
        rows = [[(PLAIN[layer] if glyph != " " else " ", layer) for glyph, layer in row] for row in rows]
    if mark is not None:
        x, y = min(int(mark[0] * across), across - 1), min(int((1 - mark[1]) * down), down - 1)
        rows[max(y, 0)][max(x, 0)] = (glyphs.thumb, MARK)
    labels = _labels(y_ticks, down)
    rail = "|" if glyphs.name == "ascii" else "│"
    rows = [[*((c, AXIS) for c in f"{labels.get(y, ''):>{GUTTER - 1}}{rail}"), *row] for y, row in enumerate(rows)]
    if height > 1:
        rows.append([(c, AXIS) for c in _below(x_ticks, width)])
    return rows


def _trace(canvas: Canvas, line: Line) -> None:
    """All points as dots, joined by columns; where several fall in one column, it spans them."""
    before: tuple[int, int] | None = None
    for point in line.points:
        if point is None:
            before = None
            continue
        x = round(min(max(point[0], 0.0), 1.0) * (canvas.across - 1))
        y = round((1 - min(max(point[1], 0.0), 1.0)) * (canvas.down - 1))
        if before is None:
            canvas.dot(x, y, line.layer)
        else:
            _join(canvas, before, (x, y), line.layer)
        before = (x, y)


def _join(canvas: Canvas, start: tuple[int, int], end: tuple[int, int], layer: int) -> None:
    (x0, y0), (x1, y1) = start, end
    if x1 <= x0:
        canvas.column(x1, min(y0, y1), max(y0, y1), layer)
        return
    last = y0
    for x in range(x0 + 1, x1 + 1):
        y = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        top, bottom = (y, y) if y == last else (last + 1, y) if y > last else (y, last - 1)
        canvas.column(x, top, bottom, layer)
        last = y


def _labels(ticks: Sequence[Tick], rows: int) -> dict[int, str]:
    """Numbers by row; of two in one row, or one right below another, the first stays."""
    found: dict[int, str] = {}
    for at, text in ticks:
        row = min(int((1 - min(max(at, 0.0), 1.0)) * rows), rows - 1)
        if not {row - 1, row, row + 1} & found.keys():
            found[row] = text[: GUTTER - 1]
    return found


def _below(ticks: Sequence[Tick], width: int) -> str:
    """Numbers below the frame, each centred under its place; one that would touch another is left out."""
    line = [" "] * width
    for at, text in ticks:
        middle = GUTTER + round(min(max(at, 0.0), 1.0) * (width - GUTTER - 1))
        start = min(max(middle - len(text) // 2, 0), max(width - len(text), 0))
        around = line[max(start - 1, 0) : start + len(text) + 1]
        if all(c == " " for c in around) and start + len(text) <= width:
            line[start : start + len(text)] = text
    return "".join(line)


# --- scales -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` as 0..1, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value stands."""
        low, high, value = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)


def log_scale(values: Sequence[float]) -> Scale:
    """A logarithmic scale that holds all positive values, a little wider than they are."""
    there = [value for value in values if value > 0 and math.isfinite(value)]
    low, high = (min(there), max(there)) if there else (0.1, 1.0)
    if high < low * 1.2:
        low, high = low / 1.1, high * 1.1
    return Scale(low / 1.05, high * 1.05, True)


def log_ticks(scale: Scale) -> list[Tick]:
    """Powers of ten first, then 2 and 5 times them, and the ends where there are none of these."""
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    wanted = [times * 10.0**power for times in (1, 2, 5, 3, 7) for power in range(first, last + 1)]
    ticks = [(scale.at(value), number(value)) for value in wanted if scale.low <= value <= scale.high]
    return ticks or [(0.95, number(scale.high)), (0.05, number(scale.low))]


def number(value: float) -> str:
    """A value in at most six cells: 0.0012, 0.45, 1.2k."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k" if value < 1e6 else f"{value / 1e6:.3g}M"
    if value >= 1000:
        return f"{value / 1000:.1f}k".replace(".0k", "k")
    if 0 < value < 0.0005:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.3g}"


def step_ticks(last: float, width: int) -> list[Tick]:
    """0, the end, and round numbers between."""
    if last <= 0:
        return [(0.0, "0")]
    size = 10.0 ** math.floor(math.log10(last))
    sizes = (size * part for part in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0))
    step = next((each for each in sizes if last / each <= width / 12), last)
    ticks = [(0.0, "0")]
    while (value := step * len(ticks)) < last * 0.93:
        ticks.append((value / last, number(value)))
    return [*ticks, (1.0, number(last))]


# --- a pair of recordings ---------------------------------------------------------------------------------------------


def wave(low: Sequence[float], high: Sequence[float], width: int, height: int, glyphs: Glyphs,
         layer: int = BRIGHT) -> list[list[Cell]]:  # fmt: skip
    """A recording given in columns (least and largest sample of each), as high as its loudest sample."""
    canvas = Canvas(width, height, glyphs)
    loudest = max((abs(value) for value in (*low, *high)), default=0.0) or 1.0
    middle, count = (canvas.down - 1) / 2, min(len(low), len(high))
    for x in range(canvas.across if count else 0):
        start = x * count // canvas.across
        stop = max((x + 1) * count // canvas.across, start + 1)
        top, bottom = max(high[start:stop]) / loudest, min(low[start:stop]) / loudest
        canvas.column(x, round(middle * (1 - top)), round(middle * (1 - bottom)), layer)
    return canvas.rows()
