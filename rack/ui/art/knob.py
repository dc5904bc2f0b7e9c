"""Knobs as pictures: a 270 degree arc from 7 to 5 o'clock, lit from its origin to its position, and a pointer.

Positions run 0..1. Lit and unlit differ in weight as well as in layer, so that they are told apart without colour.
"""

from __future__ import annotations

import math
from functools import lru_cache

from .canvas import Canvas, Cell
from .glyphs import COMPAT, UNICODE, Glyphs

EMPTY, TRACK, POINTER, LIT, GHOST = 0, 1, 2, 3, 6  # of two in one cell the higher has it
BIG, SMALL = (9, 4), (5, 2)
FRAMES = 256  # positions that are told apart
STEPS = 160  # of a ring, finer than its dots
START_DEG, SWEEP_DEG = 225.0, 270.0

# Dots: centre x and y, radius of the track, of the lit arc's inner line, and of the pointer from and to.
_RINGS = {BIG: (8.5, 8.5, 8.5, 7.6, 1.9, 5.2), SMALL: (4.5, 4.5, 4.5, 3.7, 0.0, 1.9)}

# Box drawing: the ring's characters unlit and lit, and its cells (row, column) from 7 to 5 o'clock.
_BOXES = {
    ("compat", BIG): ((" ╭─────╮ ", "╭╯     ╰╮", "│       │", "╰╮     ╭╯"),
                      (" ┏━━━━━┓ ", "┏┛     ┗┓", "┃       ┃", "┗┓     ┏┛")),
    ("compat", SMALL): (("╭───╮", "╵   ╵"), ("┏━━━┓", "╹   ╹")),
    ("ascii", BIG): ((" .-----. ", "/       \\", "|       |", "\\       /"),
                     (" #=====# ", "#       #", "#       #", "#       #")),
    ("ascii", SMALL): ((".---.", "'   '"), ("#===#", "#   #")),
}  # fmt: skip
_CENTRE = {BIG: (2, 4), SMALL: (1, 2)}  # row, column


def frame(position: float) -> int:
    """The number of the picture for a position; equal numbers look the same."""
    return round(min(max(position, 0.0), 1.0) * FRAMES)


@lru_cache(maxsize=4096)
def knob(
    size: tuple[int, int], number: int, bipolar: bool, glyphs: Glyphs = UNICODE, ghost: int | None = None
) -> tuple[tuple[Cell, ...], ...]:
    """Rows of (glyph, layer) for `frame(position)`; a bipolar knob is lit from 12 o'clock.

    A `ghost` is a mark at another frame: where something else would put the knob.
    """
    position, other = number / FRAMES, None if ghost is None else ghost / FRAMES
    lit = sorted((position, 0.5 if bipolar else 0.0))
    rows = _ring(size, position, lit, other) if glyphs.name == "unicode" else _box(size, position, lit, glyphs, other)
    return tuple(map(tuple, rows))


def _ring(size: tuple[int, int], position: float, lit: list[float], ghost: float | None) -> list[list[Cell]]:
    canvas = Canvas(*size, UNICODE)
    cx, cy, rim, inner, near, far = _RINGS[size]

    def dot(radius: float, along: float, layer: int) -> None:
        angle = math.radians(START_DEG - SWEEP_DEG * along)
        x, y = cx + radius * math.cos(angle), cy - radius * math.sin(angle)
        canvas.dot(math.floor(x + 0.5), math.floor(y + 0.5), layer)

    for i in range(STEPS + 1):
        along = i / STEPS
        on = lit[0] - 1e-9 <= along <= lit[1] + 1e-9 and lit[1] > lit[0]
        dot(rim, along, LIT if on else TRACK)
        if on:
            dot(inner, along, LIT)
    for i in range(25):
        dot(near + (far - near) * i / 24, position, POINTER)
    if ghost is not None:
        for i in range(9):
            dot(rim - (rim - near) * 0.4 * i / 8, ghost, GHOST)
    return canvas.rows()


def _box(
    size: tuple[int, int], position: float, lit: list[float], glyphs: Glyphs, ghost: float | None
) -> list[list[Cell]]:
    light, heavy = _BOXES["compat" if glyphs.name == COMPAT.name else "ascii", size]
    rows: list[list[Cell]] = [[(" ", EMPTY)] * size[0] for _ in range(size[1])]
    path = _path(light)
    for i, (row, column) in enumerate(path):
        on = lit[0] - 0.5 / len(path) <= i / (len(path) - 1) <= lit[1] + 1e-9 and lit[1] > lit[0]
        rows[row][column] = (heavy[row][column], LIT) if on else (light[row][column], TRACK)
    if ghost is not None:
        row, column = path[round(ghost * (len(path) - 1))]
        rows[row][column] = (glyphs.off, GHOST)
    row, column = _CENTRE[size]
    angle = math.radians(START_DEG - SWEEP_DEG * position)
    right, up = math.cos(angle), math.sin(angle)
    if size == BIG:
        rows[row][column] = (glyphs.point, TRACK)
        row, column = row - round(up), column + round(2 * right)
    else:  # above the centre is the ring itself
        column += round(right)
    rows[row][column] = (_hand(right, up, glyphs), POINTER)
    return rows


def _path(picture: tuple[str, ...]) -> list[tuple[int, int]]:
    """The ring's cells, clockwise from the one left of the mouth."""
    half = len(picture[0]) / 2 - 0.5
    cells = [(row, column) for row, line in enumerate(picture) for column, glyph in enumerate(line) if glyph != " "]
    left = [(r, c) for r, c in cells if c < half]
    right = [(r, c) for r, c in cells if c > half]
    # From the bottom to the top on the left: a row's outer cell first where the ring opens upwards from it.
    bottom = len(picture) - 1

    def order(cell):
        row, column = cell
        outwards = abs(column - half)
        return (bottom - row, outwards if row == bottom else -outwards)

    top = [(r, c) for r, c in cells if c == half]
    return sorted(left, key=order) + top + sorted(right, key=order)[::-1]


def _hand(right: float, up: float, glyphs: Glyphs) -> str:
    flat, upright, falling, rising = "-|\\/" if glyphs.name == "ascii" else "─│╲╱"
    if abs(up) < 0.4:
        return flat
    if abs(right) < 0.4:
        return upright
    return rising if (right > 0) == (up > 0) else falling


def slider(
    position: float, width: int, bipolar: bool, glyphs: Glyphs = UNICODE, ghost: float | None = None
) -> list[Cell]:
    """A knob in one line: a track, lit from the origin to a thumb; a ghost where something else would put it."""
    last = width - 1
    at, origin = round(min(max(position, 0.0), 1.0) * last), last // 2 if bipolar else 0
    low, high = sorted((at, origin))
    cells = [(glyphs.bar, LIT) if low <= i <= high else (glyphs.track, TRACK) for i in range(width)]
    if ghost is not None:
        cells[round(min(max(ghost, 0.0), 1.0) * last)] = (glyphs.off, GHOST)
    cells[at] = (glyphs.thumb, POINTER)
    return cells
