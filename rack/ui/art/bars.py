"""Level meters: the scale, and a column of cells filled from below."""

from __future__ import annotations

from .glyphs import Glyphs

SILENCE_DB = -120.0
WARM_DB, HOT_DB = -12.0, -3.0
OK, WARM, HOT = 0, 1, 2
# IEC 60268-18 as digital meters use it: level in dBFS and height. Its steps give most room to what is loud.
_SCALE = ((-70.0, 0.0), (-60.0, 0.025), (-50.0, 0.075), (-40.0, 0.15), (-30.0, 0.30), (-20.0, 0.50), (0.0, 1.0))
_TICKS_DB = (0, -6, -12, -20, -30, -40, -60, -3, -9, -16, -25, -50)


def height_of(level_db: float) -> float:
    """A level in dBFS as a height, 0..1."""
    if level_db <= _SCALE[0][0]:
        return 0.0
    for (low, start), (high, end) in zip(_SCALE, _SCALE[1:], strict=False):
        if level_db <= high:
            return start + (end - start) * (level_db - low) / (high - low)
    return 1.0


def zone(row: int, rows: int) -> int:
    """OK, WARM or HOT, for a cell counted from below."""
    height = (row + 0.5) / rows
    return OK if height < height_of(WARM_DB) else WARM if height < height_of(HOT_DB) else HOT


def column(level_db: float, hold_db: float, rows: int, glyphs: Glyphs) -> list[tuple[str, int, bool]]:
    """A meter from top to bottom, as (glyph, zone, whether it is the hold line)."""
    eighths = round(height_of(level_db) * rows * 8)
    hold = min(round(height_of(hold_db) * rows * 8), rows * 8 - 1)
    cells = []
    for row in reversed(range(rows)):
        fill, area = min(max(eighths - row * 8, 0), 8), zone(row, rows)
        if fill == 0 and hold > 0 and hold // 8 == row:
            cells.append((glyphs.hold[hold % 8 * 3 // 8], area, True))
        else:
            cells.append((glyphs.fills[area] if fill == 8 else glyphs.rises[fill], area, False))
    return cells


def ticks(rows: int) -> dict[int, str]:
    """Labels beside a meter: row from the top, and the level there. The important ones first, never two in a row."""
    labels: dict[int, str] = {}
    for level in _TICKS_DB:
        row = min(int((1.0 - height_of(level)) * rows), rows - 1)
        if not {row - 1, row, row + 1} & labels.keys():
            labels[row] = str(-level)
    return labels


def gauge(level_db: float, glyphs: Glyphs) -> str:
    """A level in one cell."""
    return glyphs.rises[min(round(height_of(level_db) * 8), 8)]


def peak(level_db: float) -> str:
    """A level in at most four cells: -3.1, -12, +0.4, -inf."""
    if level_db <= -99.5:
        return "-inf"
    return f"{level_db:+.1f}" if abs(level_db) < 9.95 else f"{level_db:+.0f}"
