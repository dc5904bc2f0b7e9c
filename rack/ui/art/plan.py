"""Where the slots of a rack go: panels in reading order, as large as the page allows.

A panel shows its knobs big (arc, value, label), small (arc, label) or as lines of text. First choice is all of them
big; then the focused slot big and the others small; then the others as lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BORDER = 2  # cells that a panel's border takes, both sides together


@dataclass(frozen=True)
class Form:
    """One way of drawing a knob, and its cells."""

    name: str
    width: int
    height: int


BIG = Form("big", 11, 6)
SMALL = Form("small", 7, 4)
LINE = Form("line", 16, 1)
LONG = 30  # cells from which a line shows a slider


@dataclass(frozen=True)
class Box:
    """A rectangle in cells, and the form of what is in it."""

    x: int
    y: int
    width: int
    height: int
    form: Form


def columns(count: int, form: Form, width: int, most: int = 99) -> int:
    """How many knobs stand side by side, so that the rows are evenly filled."""
    most = min(max(width // form.width, 1), most)
    rows = -(-max(count, 1) // most)
    return -(-max(count, 1) // rows)


def _natural(count: int, form: Form, least: int, width: int, most: int = 99) -> tuple[int, int]:
    """Width and height that a panel of `count` knobs wants."""
    across = columns(count, form, width - BORDER, most)
    wanted = max(across * form.width, least) + BORDER
    rows = -(-count // across) if count else 1
    return min(wanted, width), max(rows * form.height, 1) + BORDER


def _flow(counts: Sequence[int], titles: Sequence[int], forms: Sequence[Form], width: int, most: int = 99) -> list[Box]:
    """Panels from left to right, a new row where one does not fit; each row is stretched to the full width."""
    rows: list[list[int]] = []
    sizes = [_natural(n, f, t, width, most if f is LINE else 99) for n, t, f in zip(counts, titles, forms, strict=True)]
    used = width + 1
    for i, (wide, _) in enumerate(sizes):
        if used + wide > width:
            rows.append([])
            used = 0
        rows[-1].append(i)
        used += wide
    boxes: dict[int, Box] = {}
    y = 0
    for row in rows:
        x, spare = 0, width - sum(sizes[i][0] for i in row)
        tall = max(sizes[i][1] for i in row)
        for k, i in enumerate(row):
            wide = sizes[i][0] + spare * (k + 1) // len(row) - spare * k // len(row)
            boxes[i] = Box(x, y, wide, tall, forms[i])
            x += wide
        y += tall
    return [boxes[i] for i in range(len(counts))]


def plan(counts: Sequence[int], titles: Sequence[int], focused: int, width: int, height: int) -> list[Box]:
    """A box for every slot: `counts` knobs each, a title of `titles` cells. May be taller than `height`, and scroll."""
    if not counts:
        return []
    tried: list[list[Box]] = []
    for mine, others in ((BIG, BIG), (BIG, SMALL), (BIG, LINE), (SMALL, LINE), (LINE, LINE)):
        forms = [mine if i == focused else others for i in range(len(counts))]
        # A slot with a great many knobs is readable as lines only.
        forms = [f if _natural(n, f, 0, width)[1] <= height else LINE for n, f in zip(counts, forms, strict=True)]
        for most in (99, 2, 1) if LINE in forms else (99,):  # narrow panels of lines stand side by side
            tried.append(_flow(counts, titles, forms, width, most))
            if bottom(tried[-1]) <= height:
                return tried[-1]
    big = [boxes for boxes in tried if boxes[focused].form is not LINE] or tried
    return min(big, key=bottom)


def bottom(boxes: Sequence[Box]) -> int:
    """The rows that a plan takes."""
    return max((box.y + box.height for box in boxes), default=0)


def grid(count: int, form: Form, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The knobs of one panel as (x, y, width, height) inside its border, evenly spaced."""
    across = columns(count, form, width)
    if form is LINE:  # as wide as there is room for
        wide = min(width // across, 44)
        return [(i % across * wide, i // across, wide - 1, 1) for i in range(count)]
    rows = -(-count // across)
    pitch = min(width // across, form.width + 4)
    left = min((width - pitch * across) // 2, 2)
    top = min(max(height - rows * form.height, 0) // 2, 1)
    margin = (pitch - form.width) // 2
    return [
        (left + i % across * pitch + margin, top + i // across * form.height, form.width, form.height)
        for i in range(count)
    ]


def neighbour(regions: Sequence[tuple[int, int, int, int]], current: int, step: int) -> int:
    """The index of the next (+1) or previous (-1) control as one reads: along a row, then on to the row below.

    `regions` are (x, y, width, height). A row ends where a control begins below the first of the row.
    """

    order = sorted(range(len(regions)), key=lambda i: regions[i][1])
    rows: dict[int, int] = {}
    floor, number = -1, -1
    for i in order:
        _, y, _, height = regions[i]
        if y >= floor:
            number, floor = number + 1, y + height
        rows[i] = number
    reading = sorted(order, key=lambda i: (rows[i], regions[i][0]))
    return reading[(reading.index(current) + step) % len(reading)]
