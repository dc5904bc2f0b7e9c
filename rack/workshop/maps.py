"""What the plane of two knobs sounds like: a note through the slots between them, by the programs they play with.

Nothing is compiled for a map, so a point costs what it plays: half a second of sound. It is dropped in the middle
when another order waits. What was drawn once is kept beside the programs, by their structure and weights.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np
from jax.experimental import serialize_executable

from jaxmodels.levels import guitar_signal, power_db, weighted_power
from rack.maps import SILENT_DB, Map, Mapped, MapPoint
from rack.paths import write_atomically
from rack.shared import KNOBS

BEFORE_S, PHRASE_S = 0.06, 0.3  # silence, in which a slot settles at other knobs, and the phrase
TAIL_S = 1.0  # of decay that is listened to; what rings longer is reckoned from how it falls
FRAME_S = 0.01
FALLEN_DB = 60.0  # a sound that is so much softer has decayed
LONGEST_S = 30.0
GLANCE = 32  # blocks between two looks at the orders that wait
REMEMBERED = 8  # slots, loaded


class Interrupted(Exception):
    """Another order waits."""


class Loaded(NamedTuple):
    """A slot as the engine runs it."""

    run: Callable[..., Any]
    weights: tuple
    state: tuple
    known: int  # numbers at the head of the state: where the knobs stand
    digest: str  # of its weights


def draw(order: Map, folder: Path, pressed: Callable[[], bool] = lambda: False) -> Mapped:
    """The points of an order, and all others of that map that are known; fewer than ordered where `pressed` says so.

    Raises OSError or ValueError where the programs of the slots are gone.
    """
    slots = [_loaded(slot.program, slot.arrays) for slot in order.slots]
    path = folder / f"{_key(order, slots)}.map"
    points = _remembered(path)
    known = {(point.column, point.row) for point in points}
    fresh = []
    with suppress(Interrupted):
        for column, row in order.cells:
            if (column, row) not in known:
                fresh.append(MapPoint(column, row, *_heard(order, slots, column, row, pressed)))
    if fresh:
        points += fresh
        write_atomically(path, msgspec.msgpack.encode(points))
    return Mapped(order.ticket, tuple(points))


def _key(order: Map, slots: list[Loaded]) -> str:
    """A word for all that a map depends on; where the two knobs stand is not part of it."""
    places = [list(slot.positions) for slot in order.slots]
    for axis in filter(None, order.axes):
        places[axis[0]][1 + axis[1]] = 0.0
    words = [Path(slot.program).name for slot in order.slots] + [slot.digest for slot in slots]
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    parts = (code, words, places, order.axes, order.size, order.channels, order.rate)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def _remembered(path: Path) -> list[MapPoint]:
    try:
        points = msgspec.msgpack.decode(path.read_bytes(), type=list[MapPoint])
        os.utime(path)
        return points
    except (OSError, msgspec.DecodeError):
        return []


@lru_cache(REMEMBERED)
def _loaded(program: str, arrays: str) -> Loaded:
    try:
        with open(program, "rb") as file:
            _, *parts = pickle.load(file)
        with open(arrays, "rb") as file:
            known, weights, state = pickle.load(file)
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{program}: not the program of a slot ({error}); it is made again with the rack") from None
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    run = serialize_executable.deserialize_and_load(*parts)
    return Loaded(run, jax.device_put(weights), state, known, digest.hexdigest())


def _heard(order: Map, slots: list[Loaded], column: int, row: int, pressed) -> tuple[float, float, float]:
    """Loudness, brightness and decay at one point. Raises Interrupted."""
    places = [list(slot.positions) for slot in order.slots]
    for axis, step in zip(order.axes, (column, row), strict=True):
        if axis is not None:
            places[axis[0]][1 + axis[1]] = step / (order.size - 1)
    sound, blocks = [], phrase(order.rate, order.block)
    ends = len(blocks) * order.block
    for block in _played(order, slots, places, blocks, pressed):
        sound.append(block)
        if len(sound) > len(blocks) and _is_over(sound, order, ends):
            break
    return measured(np.concatenate(sound), order.rate, ends)


@lru_cache(REMEMBERED)
def phrase(rate: int, block: int) -> np.ndarray:
    """Silence and a note of our guitar, cut off sharply: blocks `[n, block]`."""
    guitar = guitar_signal(rate)
    size = int(PHRASE_S * rate)
    power = np.concatenate([[0.0], np.cumsum(guitar.astype(np.float64) ** 2)])
    loudest = int(np.argmax(power[size:] - power[:-size]))
    x = np.concatenate([np.zeros(int(BEFORE_S * rate)), guitar[loudest : loudest + size]]).astype(np.float32)
    return x[: len(x) // block * block].reshape(-1, block)


def _played(order: Map, slots: list[Loaded], places: list[list[float]], blocks, pressed) -> Iterator[np.ndarray]:
    """Mono blocks of what comes out, the tail behind the phrase included."""
    targets = [np.zeros((1, KNOBS), np.float32) for _ in slots]
    states = []
    for slot, target, place in zip(slots, targets, places, strict=True):
        target[0, : len(place)] = place
        state = tuple(map(np.array, slot.state))
        state[0][: slot.known] = target[0, : slot.known]
        states.append((state,))
    silence = np.zeros((order.block, order.channels), np.float32)
    for i in range(len(blocks) + math.ceil(TAIL_S * order.rate / order.block)):
        if i % GLANCE == 0 and pressed():
            raise Interrupted
        x = key = blocks[i][:, None].repeat(order.channels, axis=1) if i < len(blocks) else silence
        for n, slot in enumerate(slots):
            x, states[n], _ = slot.run((slot.weights,), states[n], x, key, targets[n])
        yield np.asarray(x).mean(axis=1)


def _is_over(sound: list[np.ndarray], order: Map, ends: int) -> bool:
    """Whether the last frames of the tail are as soft as they need to be; looked at now and then."""
    if len(sound) % GLANCE:
        return False
    levels = _levels_db(np.concatenate(sound)[ends:], order.rate)
    loudest = max(_levels_db(np.concatenate(sound)[:ends], order.rate), default=SILENT_DB)
    return len(levels) > 2 and max(levels[-3:]) < max(loudest - FALLEN_DB, SILENT_DB)


def _levels_db(y: np.ndarray, rate: int) -> list[float]:
    """The level of each whole frame, dB."""
    size = int(FRAME_S * rate)
    return [power_db(float(np.mean(np.square(y[at : at + size])))) for at in range(0, len(y) - size + 1, size)]


def measured(y: np.ndarray, rate: int, ends: int) -> tuple[float, float, float]:
    """Loudness (dB, as the ear weights it), brightness (spectral centroid, Hz) and decay (s from sample `ends` on).

    Decay is the time to fall by 60 dB; what rings beyond `y` is reckoned from how fast it falls.
    """
    y = np.nan_to_num(y, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
    sound = y[int(BEFORE_S * rate) : ends]
    loudness = power_db(weighted_power(sound, rate))
    if loudness < SILENT_DB:
        return max(loudness, -120.0), 0.0, 0.0
    size = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    hertz = np.fft.rfftfreq(len(sound), 1 / rate)
    heard = (hertz >= 20) & (hertz <= 20000)
    brightness = float((size * hertz)[heard].sum() / max(size[heard].sum(), 1e-12))
    return loudness, brightness, _decay_s(y, rate, ends)


def _decay_s(y: np.ndarray, rate: int, ends: int) -> float:
    levels = np.array(_levels_db(y[ends:], rate))
    loudest = max(_levels_db(y[:ends], rate))
    above = np.flatnonzero(levels > max(loudest - FALLEN_DB, SILENT_DB))
    if not len(above):
        return 0.0
    if above[-1] < len(levels) - 1:
        return float((above[-1] + 1) * FRAME_S)
    half = levels[len(levels) // 2 :]
    slope = -np.polyfit(np.arange(len(half)) * FRAME_S, half, 1)[0] if len(half) > 2 else 0.0
    return min(float(FALLEN_DB / slope), LONGEST_S) if slope > FALLEN_DB / LONGEST_S else LONGEST_S
