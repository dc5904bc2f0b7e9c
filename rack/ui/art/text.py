"""Lines of text and runs of one ink: cutting, spreading and merging them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

Run = tuple[str, str]  # text, name of its ink
Row = list[Run]
VOWELS = "aeiou"


def merge(cells: Iterable[Run]) -> Row:
    """Neighbours of one ink as one run: every run costs the terminal an escape sequence.

    Blanks without an ink take that of their left neighbour, unless it would show in a blank.
    """
    row: Row = []
    for text, ink in cells:
        if row and (row[-1][1] == ink or (not ink and text.isspace() and _invisible(row[-1][1]))):
            row[-1] = (row[-1][0] + text, row[-1][1])
        elif text:
            row.append((text, ink))
    return row


@lru_cache
def _invisible(ink: str) -> bool:
    """Whether a blank in this ink looks like any other blank: no ground, underline or reverse."""
    return not {"on", "u", "r"} & set(ink.split())


def length(row: Row) -> int:
    """Cells that a row takes; everything we draw is one cell wide."""
    return sum(len(text) for text, _ in row)


def cut(row: Row, width: int) -> Row:
    """The first `width` cells of a row."""
    out: Row = []
    for text, ink in row:
        out.append((text[:width], ink))
        width -= len(text)
        if width <= 0:
            break
    return out


def shorten(row: Row, width: int, ellipsis: str = "…") -> Row:
    """A row of at most `width` cells; what was cut ends in an ellipsis."""
    if length(row) <= width:
        return row
    kept = cut(row, max(width - 1, 0))
    return [*kept, (ellipsis[:width], kept[-1][1] if kept else "")]


def clip(text: str, width: int, ellipsis: str = "…") -> str:
    """Text of at most `width` cells; what was cut ends in an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + ellipsis[:width]


def clip_start(text: str, width: int, ellipsis: str = "…") -> str:
    """Text of at most `width` cells that keeps its end: paths are told apart by their ends."""
    return text if len(text) <= width else ellipsis[:width] + text[len(text) - max(width - 1, 0) :]


def label(name: str, width: int) -> str:
    """A knob's name in `width` cells: underscores become blanks, and vowels go (from the end) where it is too long.

    A number at its end stays: `control 13` and `control 12` must not look the same.
    """
    text = name.replace("_", " ")
    stem = text.rstrip("0123456789")
    if stem != text and len(text) > width:
        number = text[len(stem) :][:width]
        return label(stem.rstrip(), width - len(number)) + number
    for i in range(len(text) - 1, 0, -1):
        if len(text) <= width:
            return text
        if text[i] in VOWELS and text[i - 1] != " ":
            text = text[:i] + text[i + 1 :]
    return text[:width].rstrip()


def short(value: str, width: int) -> str:
    """A value with its unit in `width` cells: without its blank, else with the unit's prefix only, else bare."""
    number, _, unit = value.partition(" ")
    prefix = unit[:1] if unit in ("kHz", "ms") else ""
    for text in (value, number + unit, number + prefix, number):
        if len(text) <= width:
            return text
    return clip(value, width)


def centre(text: str, width: int, ellipsis: str = "…") -> str:
    """Text in the middle of `width` cells, cut if it must be."""
    return clip(text, width, ellipsis).center(width)


def spread(left: Row, right: Row, width: int, ink: str = "text") -> Row:
    """`left` at the start and `right` at the end of a line; where both do not fit, `right` gives way."""
    gap = width - length(left) - length(right)
    if gap < 1:
        return cut(left, width)
    return [*left, (" " * gap, ink), *right]


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are any: 0:12, 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"
