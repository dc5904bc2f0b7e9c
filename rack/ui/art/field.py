"""The ground of the XY pad: half-block cells shaded by a number, in few steps so that whole runs share one ink."""

from __future__ import annotations

import math
from collections.abc import Callable

LEVELS = 7


def distance(home: tuple[float, float]) -> Callable[[float, float], float]:
    """Nearness to `home`, 1 there and falling to 0 at the farthest corner; positions 0..1 with y upwards."""
    far = max(math.dist(home, corner) for corner in ((0, 0), (0, 1), (1, 0), (1, 1)))
    return lambda x, y: 1.0 - math.dist((x, y), home) / far


def shade(field: Callable[[float, float], float], width: int, height: int) -> list[list[tuple[int, int]]]:
    """Rows of cells as (level of the upper half, level of the lower half), levels 0..LEVELS - 1."""

    def level(x: int, half: int) -> int:
        value = field((x + 0.5) / width, 1.0 - (half + 0.5) / (2 * height))
        return min(max(int(value * LEVELS), 0), LEVELS - 1)

    return [[(level(x, 2 * y), level(x, 2 * y + 1)) for x in range(width)] for y in range(height)]


def cell(x: float, y: float, width: int, height: int) -> tuple[int, int]:
    """The column and row of a position, y upwards."""
    return min(int(x * width), width - 1), min(int((1.0 - y) * height), height - 1)


def position(column: float, row: float, width: int, height: int) -> tuple[float, float]:
    """The position at the middle of a cell, so that the edge cells reach 0 and 1."""
    x = column / max(width - 1, 1)
    y = 1.0 - row / max(height - 1, 1)
    return min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
