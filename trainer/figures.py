"""Charts as values: numbers in, a drawing out; `pictures` makes SVG and PNG of it.

A drawing is a list of marks in pixels from the top left; an ink is a name, and a page says what it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

INKS = {  # light, dark
    "paper": ("#ffffff", "#16181d"), "text": ("#1d2129", "#e8eaee"), "soft": ("#5c6470", "#a3abb8"),
    "grid": ("#e3e6ea", "#2c3038"), "grey": ("#9aa2ad", "#79828f"), "a": ("#0b6bcb", "#6cb4ff"),
    "b": ("#d9480f", "#ff9a5c"), "c": ("#2b8a3e", "#69db7c"), "d": ("#9c36b5", "#e08cf5"), "e": ("#b58900", "#ffd43b"),
    "f": ("#0c8599", "#3bc9db"), "g": ("#c2255c", "#ff8fb3"), "h": ("#5c3d2e", "#c9a58f"),
}  # fmt: skip
SERIES = "abcdefgh"
SCALE = ("#30123b", "#4662d7", "#36aaf9", "#1ae4b6", "#72fe5e", "#c8ef34", "#faba39", "#f66b19", "#cb2a04")  # turbo
MOST_POINTS = 700  # of a curve: more are fewer than pixels
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 44  # around the plot


class Text(NamedTuple):
    """Words at a point."""

    x: float
    y: float
    words: str
    anchor: str = "start"  # start, middle, end
    ink: str = "soft"
    size: float = 12
    up: bool = False  # read from bottom to top
    bold: bool = False


class Path(NamedTuple):
    """A line through points."""

    points: Sequence[tuple[float, float]]
    ink: str
    width: float = 1.5
    dash: bool = False


class Box(NamedTuple):
    """A filled rectangle; `note` is shown where the mouse rests on it."""

    x: float
    y: float
    width: float
    height: float
    ink: str  # a name, or #rrggbb
    note: str = ""


class Dot(NamedTuple):
    """A filled circle."""

    x: float
    y: float
    radius: float
    ink: str
    note: str = ""


class Drawing(NamedTuple):
    """One figure."""

    name: str  # of its PNG
    title: str
    width: int
    height: int
    marks: Sequence[Text | Path | Box | Dot]


class Axis(NamedTuple):
    """What is along one side of a plot. Limits None: those of the data."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False


class Series(NamedTuple):
    """A curve; `best` is the index of a point to mark."""

    label: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    ink: str = "a"
    dash: bool = False
    width: float = 1.8
    dots: bool = False
    best: int | None = None


# --- charts -----------------------------------------------------------------------------------------------------------


def lines(
    name: str, title: str, series: Sequence[Series], x: Axis, y: Axis, width: int = 560, height: int = 320
) -> Drawing:
    """Curves over an axis; what is not finite leaves a gap."""
    x = _fitted(x, [each.x for each in series], 0.0)
    y = _fitted(y, [each.y for each in series], 0.06)
    plot = _Plot(x, y, width, height)
    marks = [*plot.frame(title), *_legend(series, width)]
    for each in series:
        for points in _unbroken(plot, _thinned(np.asarray(each.x, float), np.asarray(each.y, float))):
            if len(points) > 1:
                marks.append(Path(points, each.ink, each.width, each.dash))
            if each.dots or len(points) == 1:
                marks += [Dot(px, py, 2.6, each.ink) for px, py in points]
        if each.best is not None and len(each.y) > each.best:
            where, value = float(each.x[each.best]), float(each.y[each.best])
            at = plot.at(where, value)
            marks.append(Dot(*at, 5.0, each.ink, f"{each.label}: best {value:.4g} at {where:.4g}"))
            marks.append(Dot(*at, 2.2, "paper"))
    return Drawing(name, title, width, height, marks)


def bars(
    name: str,
    title: str,
    groups: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], str]],  # label, one value for each group, ink
    y: Axis,
    width: int = 560,
    height: int = 320,
    unit: str = "",
) -> Drawing:
    """Groups of bars that stand on the lower end of the axis; a value that is not finite has none."""
    y = _fitted(y, [values for _, values, _ in series], 0.06)
    plot = _Plot(Axis("", 0.0, float(max(1, len(groups)))), y, width, height)
    keys = [Series(label, [], [], ink) for label, _, ink in series]
    marks = [*plot.frame(title, ticks=False), *_legend(keys if len(keys) > 1 else [], width)]
    floor = plot.at(0, float(y.low or 0.0))[1]
    room = (width - LEFT - RIGHT) / max(1, len(groups))
    thick = min(40.0, 0.76 * room / max(1, len(series)))
    slanted = max((len(group) for group in groups), default=0) * 6.5 > room
    for n, group in enumerate(groups):
        middle = LEFT + (n + 0.5) * room
        low = slanted and n % 2
        marks.append(Text(middle, height - BOTTOM + (30 if low else 16), group, "middle", size=11))
        for k, (label, values, ink) in enumerate(series):
            if np.isfinite(values[n]):
                left = middle + (k - len(series) / 2) * thick
                top = min(floor, plot.at(0, float(np.clip(values[n], y.low or 0.0, y.high or 1.0)))[1])
                note = f"{group}, {label}: {values[n]:.4g} {unit}".strip()
                marks.append(Box(left, top, thick - 1.5, max(0.0, floor - top), ink, note))
    return Drawing(name, title, width, height, marks)


def heat(
    name: str,
    title: str,
    values: np.ndarray,  # [rows, columns], the first row at y.low
    x: Axis,
    y: Axis,
    unit: str,
    width: int = 360,
    height: int = 340,
) -> Drawing:
    """A field of colours with its scale beside it; what is not finite is left grey."""
    values = np.asarray(values, float)
    rows, columns = values.shape
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    span = high - low or 1.0
    plot = _Plot(_around(x, columns), _around(y, rows), width - 62, height)
    left, right, top, bottom = LEFT, width - 62 - RIGHT, TOP, height - BOTTOM
    wide, tall = (right - left) / columns, (bottom - top) / rows
    marks: list = []
    for row in range(rows):
        for column in range(columns):
            value = values[row, column]
            where = f"{_place(x, column, columns)}, {_place(y, row, rows)}"
            shown = f"{value:.3g} {unit}" if np.isfinite(value) else "not measurable"
            ink = colour((value - low) / span) if np.isfinite(value) else "grid"
            box = (left + column * wide, bottom - (row + 1) * tall, wide + 0.4, tall + 0.4)
            marks.append(Box(*box, ink, f"{where}: {shown}"))
    marks += plot.frame(title, grid=False)
    steps = 48
    for n in range(steps):
        size = (bottom - top) / steps
        marks.append(Box(right + 14, bottom - (n + 1) * size, 13, size + 0.4, colour(n / (steps - 1))))
    for tick in ticks(low, low + span, False):
        marks.append(Text(right + 31, bottom - (tick - low) / span * (bottom - top) + 4, _number(tick), size=11))
    marks.append(Text(right + 14, top - 8, unit, size=11))
    return Drawing(name, title, width, height, marks)


def _place(axis: Axis, at: int, count: int) -> str:
    low, high = float(axis.low or 0.0), float(1.0 if axis.high is None else axis.high)
    return f"{axis.label} {low + (high - low) * at / max(1, count - 1):.3g}"


def _around(axis: Axis, count: int) -> Axis:
    """The axis half a cell longer at both ends: values belong to the middles of their cells."""
    low, high = float(axis.low or 0.0), float(1.0 if axis.high is None else axis.high)
    half = (high - low) / max(1, count - 1) / 2
    return axis._replace(low=low - half, high=high + half)


def colour(share: float) -> str:
    """0..1 as #rrggbb, from dark blue over green to red."""
    place = float(np.clip(share, 0, 1)) * (len(SCALE) - 1)
    n = min(int(place), len(SCALE) - 2)
    ends = [np.array([int(SCALE[k][i : i + 2], 16) for i in (1, 3, 5)]) for k in (n, n + 1)]
    mixed = np.rint(ends[0] + (ends[1] - ends[0]) * (place - n)).astype(int)
    return "#" + "".join(f"{part:02x}" for part in mixed)


# --- plots ------------------------------------------------------------------------------------------------------------


class _Plot:
    """Where values lie on a drawing."""

    def __init__(self, x: Axis, y: Axis, width: int, height: int):
        self.x, self.y, self.width, self.height = x, y, width, height

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, up = _share(self.x, x), _share(self.y, y)
        return (
            LEFT + across * (self.width - LEFT - RIGHT),
            self.height - BOTTOM - up * (self.height - TOP - BOTTOM),
        )

    def frame(self, title: str, ticks: bool = True, grid: bool = True) -> list:
        left, right, top, bottom = LEFT, self.width - RIGHT, TOP, self.height - BOTTOM
        marks: list = [Text(LEFT, 18, title, ink="text", size=13.5, bold=True)]
        for tick in _ticks(self.y):
            py = self.at(self.x.low or 0.0, tick)[1]
            marks += [Path([(left, py), (right, py)], "grid", 1)] if grid else []
            marks.append(Text(left - 7, py + 4, _number(tick), "end", size=11))
        for tick in _ticks(self.x) if ticks else []:
            px = self.at(tick, self.y.low or 0.0)[0]
            marks += [Path([(px, top), (px, bottom)], "grid", 1)] if grid else []
            marks.append(Text(px, bottom + 16, _number(tick), "middle", size=11))
        if grid:
            marks.append(Path([(left, bottom), (right, bottom)], "grey", 1))
        marks.append(Text((left + right) / 2, self.height - 8, self.x.label, "middle"))
        marks.append(Text(15, (top + bottom) / 2, self.y.label, "middle", up=True))
        return marks


def _share(axis: Axis, value: float) -> float:
    low, high = float(axis.low or 0.0), float(1.0 if axis.high is None else axis.high)
    if axis.log:
        low, high, value = np.log(low), np.log(high), np.log(max(value, 1e-30))
    return float(np.clip((value - low) / (high - low), -0.02, 1.02))


def _fitted(axis: Axis, data: Sequence, room: float) -> Axis:
    """The axis with both limits, around all finite data."""
    found = np.concatenate([np.asarray(each, float).ravel() for each in data]) if len(data) else np.zeros(0)
    found = found[np.isfinite(found) & ((found > 0) | (not axis.log))]
    low, high = (float(found.min()), float(found.max())) if len(found) else (1.0, 10.0) if axis.log else (0.0, 1.0)
    if axis.log:
        margin = max((high / low) ** room, 1.001 if room else 1.0)
        low, high = low / margin, high * margin
    else:
        margin = room * (high - low)
        low, high = low - margin, high + margin
    low, high = low if axis.low is None else axis.low, high if axis.high is None else axis.high
    if not high > low:
        low, high = (low / 2, low * 2) if axis.log else (low - 0.5, low + 0.5)
    return axis._replace(low=low, high=high)


def _ticks(axis: Axis) -> list[float]:
    return ticks(float(axis.low or 0.0), float(1.0 if axis.high is None else axis.high), axis.log)


def ticks(low: float, high: float, log: bool) -> list[float]:
    """Round numbers between two limits."""
    if log:
        decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
            found = [step * 10.0**power for power in decades for step in steps]
            found = [tick for tick in found if low * 0.999 <= tick <= high * 1.001]
            if len(found) >= 3:
                break
        return found if len(found) >= 2 else [low, high]
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(n * step) for n in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.0e}"


def _legend(series: Sequence[Series], width: int) -> list:
    """Names of the curves along the top right; those without a label have none."""
    marks: list = []
    right = width - RIGHT
    for each in reversed([each for each in series if each.label]):
        right -= 6.4 * len(each.label)
        marks.append(Text(right, 18, each.label, size=11.5))
        marks.append(Path([(right - 22, 14), (right - 5, 14)], each.ink, 2.6, each.dash))
        right -= 34
    return marks


def _thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points `[N, 2]`, of many the lowest and the highest of every few."""
    if len(x) <= MOST_POINTS:
        return np.stack([x, y], axis=1) if len(x) else np.zeros((0, 2))
    edges = np.linspace(0, len(x), MOST_POINTS // 2 + 1).astype(int)
    chosen = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        part = np.nan_to_num(y[start:stop])
        chosen += sorted({start + int(part.argmin()), start + int(part.argmax())})
    return np.stack([x[chosen], y[chosen]], axis=1)


def _unbroken(plot: _Plot, points: np.ndarray) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if np.isfinite(x) and np.isfinite(y) and (y > 0 or not plot.y.log) and (x > 0 or not plot.x.log):
            runs[-1].append(plot.at(x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
