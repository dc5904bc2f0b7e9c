"""The map of a pad's plane as a ground to draw on: one measure of it as a number 0..1 everywhere, and its legend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from rack.maps import MEASURES, SILENT_DB, Ground

OFF = "off"  # nothing is measured: the ground says how near the defaults are
CHOICES = (*MEASURES, OFF)
LEAST = {"loudness": 1.0, "brightness": 0.1, "decay": 0.3}  # a span, dB or octaves: less sounds the same
WORDS = {"loudness": "louder", "brightness": "brighter", "decay": "longer"}
UNHEARD_S = 0.005  # a decay that is shorter counts as so long

Field = Callable[[float, float], float]


class Surface(NamedTuple):
    """A measure of a map: `at(x, y)` is 0..1 over positions 0..1, and what its ends are, in words."""

    at: Field
    low: str
    high: str
    flat: bool  # it sounds the same everywhere


def surface(ground: Ground, measure: str) -> Surface | None:
    """One measure of a map; None where there is no map. What is silent lies at 0."""
    if not ground.side or measure not in MEASURES:
        return None
    values = [_scaled(measure, value) for value in getattr(ground, measure)]
    heard = [value for value, loudness in zip(values, ground.loudness, strict=True) if loudness > SILENT_DB]
    low, high = (min(heard), max(heard)) if heard else (0.0, 0.0)
    silent = len(heard) < len(values)
    flat = high - low < LEAST[measure] and not silent
    span = max(high - low, LEAST[measure])
    low = low if not flat else (low + high - span) / 2
    raised = 0.15 if silent and heard else 0.0  # the softest that is heard stands out from silence

    def height(value: float, loudness: float) -> float:
        return raised + (1 - raised) * (value - low) / span if loudness > SILENT_DB else 0.0

    heights = [height(value, loudness) for value, loudness in zip(values, ground.loudness, strict=True)]
    least, most = (_words(measure, value) for value in ((min(heard), max(heard)) if heard else (low, low)))
    return Surface(_between(heights, ground.side), least, most, flat)


def _scaled(measure: str, value: float) -> float:
    """On a scale where equal steps sound equal: dB, octaves."""
    if measure == "loudness":
        return value
    return math.log2(max(value, UNHEARD_S if measure == "decay" else 20.0))


def _words(measure: str, value: float) -> str:
    if measure == "loudness":
        return f"{value:.0f} dB"
    value = 2.0**value
    if measure == "brightness":
        return f"{value / 1000:.1f} kHz" if value >= 1000 else f"{value:.0f} Hz"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def _between(heights: list[float], side: int) -> Field:
    """Linear between the points of a grid."""

    def at(x: float, y: float) -> float:
        column, row = (min(max(place, 0.0), 1.0) * (side - 1) for place in (x, y))
        i, j = min(int(column), side - 2), min(int(row), side - 2)
        u, v = column - i, row - j
        low = heights[j * side + i] * (1 - u) + heights[j * side + i + 1] * u
        high = heights[(j + 1) * side + i] * (1 - u) + heights[(j + 1) * side + i + 1] * u
        return low * (1 - v) + high * v

    return at


def legend(found: Surface | None, measure: str, whole: bool, dense: bool) -> str:
    """What the ground shows, in words; `dense` where there are no shades but thicker characters."""
    lighter = "denser" if dense else "lighter"
    if found is None:
        return ("" if measure == OFF else f"{measure}: not drawn yet; ") + f"{lighter} is nearer to the defaults"
    more = "" if whole else ", finer soon"
    if found.flat:
        return f"{measure}: about {found.high} everywhere{more}"
    return f"{measure} {found.low} .. {found.high}, {lighter} is {WORDS[measure]}{more}"
