"""What the SuperKnob is taught: places on its scale, and where each driven knob stood there. Plain values.

A driven knob is named by a key, as `drive.gain`; its values are positions, 0..1. The SuperKnob has one knob, or two
(a pad). The order of the examples means nothing; their names are for people.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec

from .errors import RackError

NEAR = 0.005  # on the SuperKnob's scale: examples closer than this are at the same place
MOST_EXAMPLES = 64
MOST_TARGETS = 64


class ExampleError(RackError):
    """The examples cannot be learned from, or a mapping not be played; says why and what to do."""


class Example(msgspec.Struct, frozen=True):
    """One place on the SuperKnob, and the positions of driven knobs there; a knob may be missing."""

    name: str
    position: tuple[float, ...]
    values: dict[str, float]


class Examples(msgspec.Struct, frozen=True):
    """Everything taught to one SuperKnob."""

    knobs: int = 1  # 1, or 2 for a pad
    examples: tuple[Example, ...] = ()
    locked: tuple[str, ...] = ()  # keys that the SuperKnob leaves alone
    switches: tuple[str, ...] = ()  # keys of toggles and choices: they follow the nearest example


class Mapping(msgspec.Struct, frozen=True):
    """A trained network as it is sent and saved; what it plays is `rack.superknob.player`."""

    knobs: int
    keys: tuple[str, ...]  # the driven knobs, in the order of its outputs
    low: tuple[float, ...]  # the least and the most that was taught of each: it never plays beyond
    high: tuple[float, ...]
    weights: bytes  # float32, little endian: into [16, 2], bias [16], out [K, 16], offset [K]
    made_from: str = ""  # `fingerprint` of the examples


class Lesson(msgspec.Struct, frozen=True):
    """An example as a rack keeps it: where its knobs stood, in their units, by "slot.knob"."""

    name: str
    position: tuple[float, ...]
    knobs: dict[str, float | str] = {}


class SuperKnob(msgspec.Struct, frozen=True):
    """The SuperKnob of one rack: what it was taught and learned, and where it stands.

    It drives the knobs that stand differently in two examples, and those that are linked; a locked one never. A knob
    that was turned by hand while it played is held: it stays with the hand until it is given back.
    """

    knobs: int = 1  # 1, or 2 for a pad
    position: tuple[float, ...] = (0.0,)
    playing: bool = False  # Play; otherwise Teach, where moving it moves nothing else
    exact: bool = False  # by interpolation, even where there is a mapping
    glide_ms: float = 0.0
    linked: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    mapping: Mapping | None = None
    other: Mapping | None = None  # the one before, or after: to compare with
    compare: str = "A"  # A is what was learned last


class Kept(msgspec.Struct, frozen=True):
    """A snapshot: where all knobs of a rack stood, in their units, by "slot.knob"."""

    name: str
    knobs: dict[str, float | str] = {}


class Snapshots(msgspec.Struct, frozen=True):
    """The snapshots of one rack, which one was recalled last, and how long the way from one to the other is."""

    kept: tuple[Kept, ...] = ()
    current: str = ""
    glide_ms: float = 0.0
    ends: tuple[str, str] = ("", "")  # the two that `morph` goes between
    morph: float = 0.0


def keys(examples: Examples) -> tuple[str, ...]:
    """What the SuperKnob drives: every key that an example has and that is not locked, in order of appearance."""
    found = dict.fromkeys(key for example in examples.examples for key in example.values)
    return tuple(key for key in found if key not in examples.locked)


def glided(examples: Examples) -> tuple[str, ...]:
    """The keys that the network learns: all that are driven but the switches."""
    return tuple(key for key in keys(examples) if key not in examples.switches)


def fingerprint(examples: Examples) -> str:
    """A word for all that a mapping is made from; names and order do not count."""
    wanted = glided(examples)
    points = sorted(
        ([*map(float, example.position)], sorted((k, float(v)) for k, v in example.values.items() if k in wanted))
        for example in examples.examples
    )
    return hashlib.sha256(msgspec.json.encode((examples.knobs, points))).hexdigest()[:16]


def at(examples: Examples, position: Sequence[float]) -> int | None:
    """The number of the nearest example at this place (within NEAR), which a new one would contradict; or None."""
    near = [(math.dist(example.position, position), i) for i, example in enumerate(examples.examples)]
    distance, i = min(near, default=(math.inf, 0))
    return i if distance <= NEAR else None


def check(examples: Examples) -> None:
    """Raise ExampleError where these examples cannot be learned from."""
    if examples.knobs not in (1, 2):
        raise ExampleError(f"a SuperKnob has 1 or 2 knobs, not {examples.knobs}")
    if not examples.examples:
        raise ExampleError("there are no examples yet; set some knobs and add one")
    if len(examples.examples) > MOST_EXAMPLES:
        raise ExampleError(f"{len(examples.examples)} examples are more than {MOST_EXAMPLES}; delete some")
    driven = keys(examples)
    if not driven:
        why = "all their knobs are locked; unlock one" if examples.locked else "they hold no knobs; add one that does"
        raise ExampleError(f"the examples drive nothing: {why}")
    if len(driven) > MOST_TARGETS:
        raise ExampleError(f"the examples drive {len(driven)} knobs; {MOST_TARGETS} is the most, lock the others")
    for example in examples.examples:
        _check_numbers(example, examples)
    for i, one in enumerate(examples.examples):
        for other in examples.examples[:i]:
            _check_pair(other, one, driven)


def _check_numbers(example: Example, examples: Examples) -> None:
    if len(example.position) != examples.knobs:
        held = f"{len(example.position)} position{'s' if len(example.position) != 1 else ''}"
        raise ExampleError(f"example {example.name!r} has {held} where this SuperKnob has {examples.knobs}; delete it")
    for what, number in [*(("its position", p) for p in example.position), *example.values.items()]:
        if not 0 <= number <= 1:  # false for NaN as well
            raise ExampleError(f"example {example.name!r}: {what} is {number:g}, not 0..1; overwrite or delete it")


def _check_pair(one: Example, other: Example, driven: tuple[str, ...]) -> None:
    if math.dist(one.position, other.position) > NEAR:
        return
    for key in driven:
        if key in one.values and key in other.values and abs(one.values[key] - other.values[key]) > NEAR:
            where = ", ".join(f"{p:.2f}" for p in one.position)
            raise ExampleError(
                f"examples {one.name!r} and {other.name!r} are both at {where} but want {key} at "
                f"{one.values[key]:.2f} and {other.values[key]:.2f}; move or delete one of them"
            )


# --- what clients see of it -------------------------------------------------------------------------------------------


class ExampleView(msgspec.Struct, frozen=True):
    """One example: its name and place, what the knobs are there in words, and how far the mapping misses it."""

    name: str
    position: tuple[float, ...]
    words: str = ""
    residual: float | None = None  # rms of positions; None where nothing is driven


class SuperPlace(msgspec.Struct, frozen=True):
    """What changes with every turn of the SuperKnob."""

    position: tuple[float, ...] = (0.0,)
    confidence: float = 0.0  # 1 between the examples, 0 where everything is a guess
    ghosts: dict[str, float] = {}  # where it would put the knobs that stand elsewhere, as positions
    next: str = ""  # what there is to do next, in words


class SuperView(msgspec.Struct, frozen=True):
    """The SuperKnob as clients draw it."""

    knobs: int = 1
    place: SuperPlace = SuperPlace()
    playing: bool = False
    exact: bool = False
    lamp: str = "no model"  # or "training", "up to date", "stale"
    examples: tuple[ExampleView, ...] = ()
    links: dict[str, str] = {}  # of each knob that it concerns: driven, held, linked or locked
    glide_ms: float = 0.0
    compare: str = ""  # A or B, where there are two mappings to compare
    on_pad: tuple[tuple[float, float] | None, ...] = ()  # of each example, where it stands on the plane of the XY pad
