"""Maps of what the plane of two knobs sounds like: the messages about them, and the grid that they are drawn on.

A map has SIZE x SIZE points; column and row count the positions 0..1 of its two knobs. It is drawn coarse first: every
fourth point, every second, all.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

SIZE = 17
SIDES = (5, 9, 17)  # of the grids, the coarse one first
MEASURES = ("loudness", "brightness", "decay")
SILENT_DB = -90.0  # a point that is softer has no brightness and no decay

Cell = tuple[int, int]  # column, row


class MapPoint(msgspec.Struct, frozen=True, array_like=True):
    """What one place on the plane sounds like."""

    column: int
    row: int
    loudness: float  # dB, as the ear weights it
    brightness: float  # spectral centroid, Hz
    decay: float  # s, to fall by 60 dB after the note


class Heard(msgspec.Struct, frozen=True):
    """A slot that a map is drawn through: the files of its program, and where its knobs stand."""

    program: str
    arrays: str
    positions: tuple[float, ...]  # 1 for on, 0 for bypassed; then the knobs


class Map(msgspec.Struct, frozen=True, tag="map"):
    """Draw these points of a map. Any other order goes first: answered by a Mapped with fewer points, or Failed."""

    ticket: int
    slots: tuple[Heard, ...]
    axes: tuple[Cell | None, Cell | None]  # slot (of these) and knob of the columns and of the rows
    cells: tuple[Cell, ...]
    channels: int
    rate: int
    block: int
    size: int = SIZE


class Mapped(msgspec.Struct, frozen=True, tag="mapped"):
    """Points of a map, all that are known."""

    ticket: int
    points: tuple[MapPoint, ...]


class Ground(msgspec.Struct, frozen=True, tag="ground"):
    """The map behind the XY pad, to clients that subscribe to it: a grid of `side` x `side`, row by row from below.

    `side` is 0 where there is none: no knobs, or another sound whose map is not drawn yet.
    """

    side: int = 0
    whole: bool = False  # whether it will not get any finer
    loudness: tuple[float, ...] = ()
    brightness: tuple[float, ...] = ()
    decay: tuple[float, ...] = ()


def cells(side: int, axes: tuple[object | None, object | None] = (0, 0)) -> list[Cell]:
    """The points of the grid of `side` points a side, row by row; along an axis without a knob there is one."""
    step = (SIZE - 1) // (side - 1)
    columns, rows = (range(0, SIZE, step) if axis is not None else (0,) for axis in axes)
    return [(column, row) for row in rows for column in columns]


def next_row(known: Container[Cell], axes: tuple[object | None, object | None]) -> tuple[Cell, ...]:
    """What is to be drawn next: the unknown points of one row, coarse before fine; () where all is known."""
    for side in SIDES:
        missing = [cell for cell in cells(side, axes) if cell not in known]
        if missing:
            return tuple(cell for cell in missing if cell[1] == missing[0][1])
    return ()


def ground(points: dict[Cell, MapPoint], axes: tuple[object | None, object | None]) -> Ground:
    """The finest grid of which every point is known."""
    for side in reversed(SIDES):
        wanted = cells(side, axes)
        if all(cell in points for cell in wanted):
            break
    else:
        return Ground()
    across = [(c if axes[0] is not None else 0, r if axes[1] is not None else 0) for c, r in cells(side)]
    columns = {name: tuple(getattr(points[cell], name) for cell in across) for name in MEASURES}
    return Ground(side, side == SIDES[-1], **columns)
