"""What a rack's SuperKnob drives and where to, found once for each set of examples; and how that looks to clients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ..catalogue import KnobInfo
from ..checks import check_knob
from ..config import Rack, Slot
from ..examples import (
    NEAR,
    Example,
    ExampleError,
    Examples,
    ExampleView,
    Lesson,
    SuperKnob,
    SuperPlace,
    SuperView,
    fingerprint,
    glided,
)
from ..superknob import Player, confidence, player
from .slotkeys import mended
from .state import State, World, knobs, values

REMEMBERED = 4
APART = 0.004  # of a knob's travel: a ghost this near its knob is not worth showing
WORDS = 4  # knobs that an example names in words


class Driving(NamedTuple):
    """A SuperKnob with its rack: nothing in it depends on where any knob stands."""

    infos: dict[str, KnobInfo]  # of all knobs of the rack, by "slot.knob"
    taught: Examples  # what training gets, in positions
    driven: tuple[str, ...]  # what moves when it moves
    play: Player
    examples: tuple[ExampleView, ...]
    fresh: bool  # the mapping was made from these examples


_remembered: list[tuple[tuple, Driving]] = []


def driving(state: State, world: World) -> Driving:
    """What the SuperKnob of the present rack does."""
    rack = state.scene.rack
    s = rack.superknob
    rows = tuple((slot.id, knobs(state, world, slot)) for slot in rack.slots)
    marks = (rows, s.lessons, s.mapping, s.exact, s.knobs, s.linked, s.locked)
    for known, found in _remembered:
        if known == marks:
            return found
    infos = {f"{id}.{knob.name}": knob for id, there in rows for knob in there}
    _remembered.append((marks, found := _driving(s, infos)))
    del _remembered[:-REMEMBERED]
    return found


def _driving(s: SuperKnob, infos: dict[str, KnobInfo]) -> Driving:
    held = [_positions(lesson, infos) for lesson in s.lessons]
    taught = [key for key in infos if key not in s.locked and (key in s.linked or _differs(key, held))]
    learned = s.mapping.keys if s.mapping and not s.exact and s.mapping.knobs == s.knobs else ()
    driven = tuple(key for key in infos if key in taught or (key in learned and key not in s.locked))
    play, mapping = _player(s, held, driven, infos), s.mapping
    lessons = _examples(s, held, taught, infos)
    missed = [_missed(play, example, glided(lessons)) for example in lessons.examples]
    views = _example_views(s, driven, infos, missed)
    fresh = mapping is not None and mapping.made_from == fingerprint(lessons)
    return Driving(infos, lessons, driven, play, views, fresh)


def _player(s: SuperKnob, held: list[dict[str, float]], driven: tuple[str, ...], infos: dict[str, KnobInfo]) -> Player:
    """By the mapping where there is one that can be played; what it does not know is interpolated."""
    examples = _examples(s, held, driven, infos)
    if not examples.examples and s.mapping and not s.exact:
        examples = replace(examples, locked=s.locked)
    try:
        return player(examples, None if s.exact else s.mapping)
    except ExampleError:
        return player(examples)


def _examples(s: SuperKnob, held: list[dict[str, float]], wanted: Sequence[str], infos: dict) -> Examples:
    chosen = (
        Example(lesson.name, lesson.position, {key: at[key] for key in wanted if key in at})
        for lesson, at in zip(s.lessons, held, strict=True)
    )
    return Examples(s.knobs, tuple(chosen), switches=tuple(key for key in wanted if infos[key].labels))


def _positions(lesson: Lesson, infos: dict[str, KnobInfo]) -> dict[str, float]:
    """An example as positions; what no knob of the rack takes is left out."""
    found = {}
    for key, value in lesson.knobs.items():
        if key in infos:
            try:
                found[key] = infos[key].position(check_knob(infos[key], value))
            except ValueError:
                continue
    return found


def _differs(key: str, held: list[dict[str, float]]) -> bool:
    there = [at[key] for at in held if key in at]
    return bool(there) and max(there) - min(there) > NEAR


def _missed(play: Player, example: Example, wanted: Sequence[str]) -> float | None:
    """How far an example is missed, rms over its knobs."""
    known = [key for key in wanted if key in example.values]
    if not known:
        return None
    found = play(example.position)
    return math.sqrt(sum((found.get(k, 0.0) - example.values[k]) ** 2 for k in known) / len(known))


# --- moving knobs -----------------------------------------------------------------------------------------------------


def driven_to(state: State, world: World, rack: Rack, place: tuple[float, ...]) -> Rack:
    """A rack with its driven knobs where the SuperKnob has them at `place`; those that a hand holds stay."""
    found = driving(state, world)
    wanted = {k: p for k, p in found.play(place).items() if k in found.driven and k not in rack.superknob.held}
    return with_positions(rack, found.infos, wanted)


def with_positions(rack: Rack, infos: dict[str, KnobInfo], wanted: dict[str, float]) -> Rack:
    """A rack with knobs at other positions; a knob with labels stands at the nearest one."""
    return with_values(rack, infos, {key: infos[key].value(at) for key, at in wanted.items() if key in infos})


def with_values(rack: Rack, infos: dict[str, KnobInfo], wanted: dict[str, float | str]) -> Rack:
    """A rack with knobs at other values, in their units; what a knob does not take is left as it is."""
    by_slot: dict[str, dict[str, float | str]] = {}
    for key, value in wanted.items():
        if key in infos:
            try:
                info = infos[key]
                checked = check_knob(info, round(value) if info.labels and isinstance(value, float) else value)
            except ValueError:
                continue
            slot, _, name = key.partition(".")
            by_slot.setdefault(slot, {})[name] = checked
    slots = tuple(_with(slot, by_slot[slot.id]) if slot.id in by_slot else slot for slot in rack.slots)
    return replace(rack, slots=slots)


def _with(slot: Slot, wanted: dict[str, float | str]) -> Slot:
    now = {**slot.knobs, **wanted}
    return slot if now == slot.knobs else mended(slot, knobs=now)


def standing(state: State, world: World) -> dict[str, float]:
    """Where every knob of the rack stands, in its unit."""
    found: dict[str, float] = {}
    for slot in state.scene.rack.slots:
        there = knobs(state, world, slot)
        found |= {f"{slot.id}.{k.name}": value for k, value in zip(there, values(slot, there), strict=True)}
    return found


# --- what clients see -------------------------------------------------------------------------------------------------


def super_view(state: State, world: World) -> SuperView:
    """The SuperKnob of the present rack."""
    s, found = state.scene.rack.superknob, driving(state, world)
    lamp = (
        "training" if state.training else "no model" if s.mapping is None else "up to date" if found.fresh else "stale"
    )
    return SuperView(
        knobs=s.knobs,
        place=_place(s, found, standing(state, world), lamp),
        playing=s.playing,
        exact=s.exact,
        lamp=lamp,
        examples=found.examples,
        links=_links(s, found),
        glide_ms=s.glide_ms,
        compare=s.compare if s.other else "",
        on_pad=_on_pad(s, state.scene.rack.xy, found.infos),
    )


def _on_pad(s: SuperKnob, xy: tuple[str, str], infos: dict[str, KnobInfo]) -> tuple[tuple[float, float] | None, ...]:
    """Where each example has the two knobs of the XY pad, as positions; None where it does not say."""
    if not s.lessons or not all(key in infos for key in xy):
        return ()
    places: list[tuple[float, float] | None] = []
    for lesson in s.lessons:
        try:
            x, y = (round(infos[key].position(check_knob(infos[key], lesson.knobs[key])), 4) for key in xy)
            places.append((x, y))
        except (KeyError, ValueError):
            places.append(None)
    return tuple(places)


def _place(s: SuperKnob, found: Driving, now: dict[str, float], lamp: str) -> SuperPlace:
    ghosts = {}
    if found.driven:
        for key, at in found.play(s.position).items():
            if key in found.driven and abs(found.infos[key].position(now[key]) - at) > APART:
                ghosts[key] = round(at, 4)
    sure = round(confidence(found.taught, s.position), 3)
    return SuperPlace(s.position, sure, ghosts, _next(s, found, lamp, sure))


def _example_views(
    s: SuperKnob, driven: Sequence[str], infos: dict[str, KnobInfo], residuals: Sequence[float | None]
) -> tuple[ExampleView, ...]:
    views = []
    for lesson, missed in zip(s.lessons, residuals, strict=True):
        shown = [key for key in driven or infos if key in lesson.knobs]
        names = [key.partition(".")[2] for key in shown]
        called = [name if names.count(name) == 1 else key for key, name in zip(shown, names, strict=True)]
        words = [
            f"{word} {_shown(infos[key], lesson.knobs[key])}" for word, key in zip(called, shown[:WORDS], strict=False)
        ]
        words += [f"and {len(shown) - WORDS} more"] if len(shown) > WORDS else []
        views.append(ExampleView(lesson.name, lesson.position, ", ".join(words), missed and round(missed, 4)))
    return tuple(views)


def _shown(info: KnobInfo, value: float | str) -> str:
    return value if isinstance(value, str) else info.format(value)


def _links(s: SuperKnob, found: Driving) -> dict[str, str]:
    links = {key: "linked" for key in s.linked if key in found.infos}
    links |= {key: "held" if key in s.held else "driven" for key in found.driven}
    return links | {key: "locked" for key in s.locked if key in found.infos}


def _next(s: SuperKnob, found: Driving, lamp: str, sure: float) -> str:
    """The one thing that is worth doing next, in at most 58 characters."""
    count = len(s.lessons)
    held = [key for key in s.held if key in found.driven]
    if lamp == "training":
        return "training; what was learned before plays on (t cancels)"
    if not count:
        return (
            "it plays what it learned; a adds an example"
            if s.mapping
            else "set some knobs, then a adds an example here"
        )
    if count == 1:
        return "1 example: move this, change the sound, press a again"
    if not found.driven:
        return f"the {count} examples are alike: change a knob and press a"
    if s.playing and held:
        return f"{held[0]} stays with your hand; f gives it back"
    if s.mapping is None or s.exact:
        how = "by interpolation" if s.playing else f"{count} examples"
        return f"{how}: t trains, a adds another" + ("" if s.playing else ", Space here plays")
    if lamp == "stale":
        return "examples have changed since it was trained: t trains"
    if not s.playing:
        return "trained: Space here plays it, a adds another example"
    if sure < 1:
        return "a guess beyond the examples: set the knobs, press a"
    return "turn it; where it should differ, set the knobs, press a"
