"""What the SuperKnob plays, at control rate and in plain numpy: the trained network, or exact interpolation.

Knobs glide; toggles and choices stand as they do in the nearest example. Interpolation passes through every example:
with one knob it is monotone cubic (Fritsch and Butland 1984: no overshoot, whatever the examples), with two a sum of
cones (the radial basis r, which has one solution for any set of distinct points and becomes the straight line between
two), kept within what the examples hold. Beyond the outermost examples the first stays as it is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from .examples import NEAR, Example, ExampleError, Examples, Mapping, glided, keys

INPUTS, HIDDEN = 2, 16
MARGIN = 0.05  # as jaxmodels.superknob has it
REACH = 0.5  # of the SuperKnob's scale: so far beyond the examples nothing is known

Player = Callable[[Sequence[float]], dict[str, float]]


class Weights(msgspec.Struct, frozen=True):
    """A mapping's numbers: into [16, 2], bias [16], out [K, 16], offset [K]."""

    into: np.ndarray
    bias: np.ndarray
    out: np.ndarray
    offset: np.ndarray


def player(examples: Examples, mapping: Mapping | None = None) -> Player:
    """Position of the SuperKnob -> positions of the knobs it drives, by key.

    A mapping may be older than the examples: it plays the knobs it knows that are still driven, and those it does not
    know are interpolated; without a mapping all are. Call it as often as a control is read (some 20 us); the examples
    are looked at once. Raises ExampleError where the mapping is damaged. Positions beyond 0..1 count as the end.
    """
    known = set(mapping.keys) if mapping is not None and mapping.knobs == examples.knobs else set()
    rest = tuple(key for key in glided(examples) if key not in known)
    parts = [_interpolation(examples, rest), _switches(examples)]
    if mapping is not None and known:
        parts.append(_network(mapping, set(glided(examples)) if examples.examples else known))

    def play(position: Sequence[float]) -> dict[str, float]:
        place = np.array([min(1.0, max(0.0, p)) for p in position])
        found: dict[str, float] = {}
        for part in parts:
            found.update(part(place))
        return found

    return play


def confidence(examples: Examples, position: Sequence[float]) -> float:
    """1 between the examples, falling to 0 half a scale beyond the outermost ones (with two knobs: beyond their hull).

    Everything beyond them is a guess; with no examples it is 0 everywhere.
    """
    if not examples.examples:
        return 0.0
    return max(0.0, 1.0 - outside(np.array([e.position for e in examples.examples]), np.array(position)) / REACH)


# --- the network ------------------------------------------------------------------------------------------------------


def weights(mapping: Mapping) -> Weights:
    """The numbers of a mapping; ExampleError where they are not as many as they should be, or not finite."""
    count = len(mapping.keys)
    shapes = ((HIDDEN, INPUTS), (HIDDEN,), (count, HIDDEN), (count,))
    needed = sum(math.prod(shape) for shape in shapes)
    if len(mapping.weights) != 4 * needed or not len(mapping.low) == len(mapping.high) == count:
        held = f"{len(mapping.weights)} bytes instead of {4 * needed}"
        raise ExampleError(f"the SuperKnob's mapping holds {held}; train it again")
    numbers = np.frombuffer(mapping.weights, "<f4").astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ExampleError("the SuperKnob's mapping holds numbers that are not finite; train it again")
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return Weights(*(part.reshape(shape) for part, shape in zip(np.split(numbers, ends), shapes, strict=True)))


def packed(*arrays: np.ndarray) -> bytes:
    """into, bias, out, offset as `Mapping.weights` has them."""
    return b"".join(np.asarray(array, "<f4").tobytes() for array in arrays)


def _network(mapping: Mapping, wanted: set[str]) -> Callable[[np.ndarray], dict[str, float]]:
    net, low, high = weights(mapping), np.array(mapping.low), np.array(mapping.high)
    rows = [i for i, key in enumerate(mapping.keys) if key in wanted]
    names = [mapping.keys[i] for i in rows]
    into, out, offset = net.into[:, : mapping.knobs], net.out[rows], net.offset[rows]
    low, high = low[rows], high[rows]

    def play(place: np.ndarray) -> dict[str, float]:
        said = out @ np.tanh(into @ place + net.bias) + offset
        squashed = 0.5 + 0.5 * np.tanh(0.5 * said)  # the sigmoid, without overflow
        values = np.clip(squashed * (1 + 2 * MARGIN) - MARGIN, low, high)
        return dict(zip(names, values.tolist(), strict=True))

    return play


# --- interpolation ----------------------------------------------------------------------------------------------------


def _switches(examples: Examples) -> Callable[[np.ndarray], dict[str, float]]:
    """Each switch as in the nearest example that has it; of two equally near, the first in the list."""
    tables = []
    for key in (key for key in keys(examples) if key in examples.switches):
        having = [example for example in examples.examples if key in example.values]
        tables.append((key, np.array([e.position for e in having]), [e.values[key] for e in having]))

    def play(place: np.ndarray) -> dict[str, float]:
        return {key: values[int(np.argmin(((places - place) ** 2).sum(axis=1)))] for key, places, values in tables}

    return play


def _interpolation(examples: Examples, wanted: Sequence[str]) -> Callable[[np.ndarray], dict[str, float]]:
    """Knobs that the same examples hold are interpolated together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for key in wanted:
        having = tuple(i for i, example in enumerate(examples.examples) if key in example.values)
        groups.setdefault(having, []).append(key)
    curves = []
    for having, names in groups.items():
        places, values = merged([examples.examples[i] for i in having], names)
        curves.append((names, (monotone(places[:, 0], values) if examples.knobs == 1 else cones(places, values))))

    def play(place: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        for names, curve in curves:
            found.update(zip(names, curve(place).tolist(), strict=True))
        return found

    return play


def merged(examples: Sequence[Example], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Places [N, D] and values [N, K]; examples at one place become one that stands between them."""
    groups: list[list[Example]] = []
    for example in examples:
        at = (group for group in groups if math.dist(group[0].position, example.position) <= NEAR)
        group = next(at, None)
        groups.append([example]) if group is None else group.append(example)
    places = np.array([group[0].position for group in groups])
    return places, np.array([[np.mean([e.values[name] for e in group]) for name in names] for group in groups])


def monotone(places: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The monotone cubic through `places` [N] (distinct, any order) and `values` [N, K]; constant beyond the ends.

    Slopes inside are weighted harmonic means of those on either side, 0 at a turning point (Fritsch and Butland 1984);
    at an end, of the parabola through three points, within bounds (Moler 2004, `pchip`).
    """
    order = np.argsort(places)
    x, y = places[order], values[order]
    if len(x) == 1:
        return lambda place: y[0]
    gap = np.diff(x)[:, None]
    rise = np.diff(y, axis=0) / gap
    slope = np.zeros_like(y)
    if len(x) == 2:
        slope[:] = rise
    else:
        left, right = 2 * gap[1:] + gap[:-1], gap[1:] + 2 * gap[:-1]
        same = rise[:-1] * rise[1:] > 0
        before, after = np.where(same, rise[:-1], 1.0), np.where(same, rise[1:], 1.0)
        slope[1:-1] = np.where(same, (left + right) / (left / before + right / after), 0.0)
        slope[0] = _end_slope(gap[0], gap[1], rise[0], rise[1])
        slope[-1] = _end_slope(gap[-1], gap[-2], rise[-1], rise[-2])

    def curve(place: np.ndarray) -> np.ndarray:
        p = min(max(float(place[0]), x[0]), x[-1])
        i = min(int(np.searchsorted(x, p, "right")) - 1, len(gap) - 1)
        h, t = gap[i, 0], (p - x[i]) / gap[i, 0]
        up = t * t * (3 - 2 * t)
        return y[i] * (1 - up) + y[i + 1] * up + h * t * (1 - t) * ((1 - t) * slope[i] - t * slope[i + 1])

    return curve


def _end_slope(near_gap, far_gap, near, far) -> np.ndarray:
    slope = ((2 * near_gap + far_gap) * near - near_gap * far) / (near_gap + far_gap)
    slope = np.where(np.sign(slope) != np.sign(near), 0.0, slope)
    steep = (np.sign(near) != np.sign(far)) & (np.abs(slope) > 3 * np.abs(near))
    return np.where(steep, 3 * near, slope)


def cones(places: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A constant and a cone at each of `places` [N, D] (distinct), through `values` [N, K], within their range."""
    count = len(places)
    low, high = values.min(axis=0), values.max(axis=0)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = np.linalg.norm(places[:, None] - places[None], axis=-1)
    system[count, count] = 0.0
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros((1, values.shape[1]))]))
    heights, level = solved[:count], solved[count]

    def curve(place: np.ndarray) -> np.ndarray:
        distance = np.sqrt(((places - place) ** 2).sum(axis=1))
        return np.clip(distance @ heights + level, low, high)

    return curve


# --- where the examples end -------------------------------------------------------------------------------------------


def outside(places: np.ndarray, place: np.ndarray) -> float:
    """How far `place` [D] is from the hull of `places` [N, D]; 0 inside. D is 1 or 2."""
    if places.shape[1] == 1:
        return float(max(0.0, places.min() - place[0], place[0] - places.max()))
    corners = _hull([(float(x), float(y)) for x, y in places])
    if len(corners) == 1:
        return math.dist(corners[0], place)
    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))
    if len(corners) > 2 and all(_turn(a, b, place) >= 0 for a, b in sides):
        return 0.0
    return min(_to_side(np.array(a), np.array(b), place) for a, b in sides)


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the convex hull, counter-clockwise (Andrew 1979)."""
    points = sorted(set(points))
    if len(points) < 3:
        return points
    halves = []
    for ordered in (points, points[::-1]):
        half: list[tuple[float, float]] = []
        for point in ordered:
            while len(half) > 1 and _turn(half[-2], half[-1], point) <= 0:
                half.pop()
            half.append(point)
        halves += half[:-1]
    return halves


def _turn(a, b, c) -> float:
    """Positive where a, b, c turn left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _to_side(a: np.ndarray, b: np.ndarray, place: np.ndarray) -> float:
    way = b - a
    along = min(1.0, max(0.0, float((place - a) @ way / max(float(way @ way), 1e-12))))
    return float(np.linalg.norm(place - a - along * way))
