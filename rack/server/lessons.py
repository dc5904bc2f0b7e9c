"""The examples of the SuperKnob as keys change them: added, overwritten, recalled, named, moved, deleted, taken over.

An example is named by its name or its number, from 1.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from ..checks import check_knob, nearest
from ..config import Rack
from ..errors import RackError
from ..examples import MOST_EXAMPLES, NEAR, Lesson, SuperKnob
from ..teachfile import free, imported
from ..teachfile import name as good
from ..teachfile import place as good_place
from .driving import driven_to, driving, standing, with_values
from .state import State, World, edit


class Say(msgspec.Struct, frozen=True):
    """Something that happened and is worth a line."""

    text: str
    level: str = "info"


Answer = tuple[State, list]


def with_superknob(state: State, superknob: SuperKnob, gesture: tuple, rack: Rack | None = None) -> State:
    """The state with this SuperKnob in the rack, or in another rack."""
    rack = rack or state.scene.rack
    return edit(state, replace(state.scene, rack=replace(rack, superknob=superknob)), gesture)


def with_changes(state: State, world: World, gesture: tuple = (), **changes) -> State:
    """The state with a SuperKnob that differs, and what it drives where it drives it now."""
    superknob = replace(state.scene.rack.superknob, **changes)
    after = with_superknob(state, superknob, gesture)
    if not superknob.playing:
        return after
    rack = driven_to(after, world, after.scene.rack, superknob.position)
    return with_superknob(state, superknob, gesture, rack)


def the_superknob(state: State) -> SuperKnob:
    """That of the rack that plays."""
    return state.scene.rack.superknob


def position_of(value: Any, count: int) -> tuple[float, ...]:
    """A place on the SuperKnob, 0..1 for each knob, from what somebody wrote; raises an error in words."""
    if isinstance(value, str):
        try:
            value = [_number(part) for part in value.replace(",", " ").split()]
        except ValueError:
            value = None
    return good_place(count)(value)


def _number(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _which(s: SuperKnob, value: Any) -> int:
    """The place of an example in the list, by its name or its number."""
    names = [lesson.name for lesson in s.lessons]
    if not names:
        raise ValueError("there are no examples yet")
    if isinstance(value, str) and value in names:
        return names.index(value)
    number = int(value) if isinstance(value, str) and value.isascii() and value[:4].isdigit() else value
    if type(number) is int and 1 <= number <= len(names):
        return number - 1
    raise ValueError(f"must be an example, one of {', '.join(names)}, or its number{nearest(str(value)[:99], names)}")


def _pair(value: Any, allowed: str) -> tuple[Any, Any]:
    if isinstance(value, str):
        first, _, rest = value.strip().partition(" ")
        value = [first, rest.strip()]
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(allowed)
    return value[0], value[1]


def _add(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """An example of where the knobs stand, at the SuperKnob's place; with a name or without."""
    s, now = the_superknob(state), standing(state, world)
    if not now:
        raise ValueError("no slot of this rack has a knob to be taught; add a box, or wait until it is built")
    if len(s.lessons) >= MOST_EXAMPLES:
        raise ValueError(f"there are {MOST_EXAMPLES} examples already; delete one")
    if there := [each.name for each in s.lessons if _distance(each.position, s.position) <= NEAR]:
        raise ValueError(
            f"{there[0]!r} is at {_said(s.position)} already; move the SuperKnob first, or overwrite that example"
        )
    number = len(s.lessons) + 1
    called = free(good(value) if value not in (None, "", True) else f"example {number}", s.lessons)
    lessons = (*s.lessons, Lesson(called, s.position, dict(now)))
    before = driving(state, world).driven
    after = with_changes(state, world, gesture, lessons=lessons, playing=False, held=())
    driven = driving(after, world).driven
    new = [key for key in driven if key not in before]
    words = f"{called!r} at {_said(s.position)}"
    words += f"; the SuperKnob now drives {', '.join(new[:4])}{' and more' * (len(new) > 4)}" if new else ""
    return after, [Say(words)]


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _said(place: tuple[float, ...]) -> str:
    return ", ".join(f"{p:.2f}" for p in place)


def _put(s: SuperKnob, at: int, **changes) -> tuple[Lesson, ...]:
    return (*s.lessons[:at], replace(s.lessons[at], **changes), *s.lessons[at + 1 :])


def _overwrite(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """An example with where the knobs stand now; without a name the one that is nearest to the SuperKnob."""
    s = the_superknob(state)
    at = _which(s, value) if value not in (None, "", True) else _nearest(s)
    lessons = _put(s, at, knobs=standing(state, world))
    return with_changes(state, world, gesture, lessons=lessons, playing=False, held=()), []


def _nearest(s: SuperKnob) -> int:
    if not s.lessons:
        raise ValueError("there are no examples yet")
    return min(range(len(s.lessons)), key=lambda i: _distance(s.lessons[i].position, s.position))


def _recall(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """The SuperKnob at an example, and the knobs as they stood there."""
    s, found = the_superknob(state), driving(state, world)
    lesson = s.lessons[_which(s, value)]
    wanted = {key: v for key, v in lesson.knobs.items() if not found.driven or key in found.driven}
    rack = with_values(state.scene.rack, found.infos, wanted)
    after = with_superknob(state, replace(s, position=lesson.position, held=()), gesture, rack)
    return replace(after, glides=tuple(g for g in after.glides if not g.goal)), []


def _rename(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """An example and its new name."""
    s = the_superknob(state)
    which, new = _pair(value, 'must be an example and its new name, as in "2 edge of breakup"')
    at = _which(s, which)
    taken = [lesson for i, lesson in enumerate(s.lessons) if i != at]
    return with_changes(state, world, gesture, lessons=_put(s, at, name=free(good(new), taken))), []


def _move(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """An example and its new place; without one, to where the SuperKnob stands."""
    s = the_superknob(state)
    which, to = value, s.position
    if isinstance(value, list | tuple) or isinstance(value, str) and value.partition(" ")[2]:
        which, new = _pair(value, 'must be an example and its new place, as in "2 0.5"')
        to = position_of(new, s.knobs)
    at = _which(s, which)
    others = [lesson for i, lesson in enumerate(s.lessons) if i != at]
    if there := [each.name for each in others if _distance(each.position, to) <= NEAR]:
        raise ValueError(f"{there[0]!r} is at {_said(to)} already; choose another place, or delete one of them")
    return with_changes(state, world, gesture, lessons=_put(s, at, position=to)), []


def _delete(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    s = the_superknob(state)
    at = _which(s, value)
    return with_changes(state, world, gesture, lessons=(*s.lessons[:at], *s.lessons[at + 1 :])), []


def _clear(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Forget the examples; what was learned from them plays on."""
    if not the_superknob(state).lessons:
        raise ValueError("there are no examples to clear")
    return with_changes(state, world, gesture, lessons=()), []


def _import(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Examples as TOML in place of those that there are."""
    if not isinstance(value, str):
        raise ValueError("must be examples as TOML; superknob.examples shows how they are written")
    s, infos = the_superknob(state), driving(state, world).infos
    try:
        count, lessons = imported(value)
    except RackError as error:
        raise ValueError(str(error)) from None
    kept = []
    for lesson in lessons:
        known = {key: v for key, v in lesson.knobs.items() if key in infos}
        kept.append(replace(lesson, knobs={key: check_knob(infos[key], v) for key, v in known.items()}))
    lost = {key for lesson in lessons for key in lesson.knobs} - set(infos)
    if not any(lesson.knobs for lesson in kept):
        raise ValueError(f"this rack has none of their knobs ({', '.join(sorted(lost)[:4]) or 'there are none'})")
    position = s.position if count == s.knobs else (*s.position, 0.5)[:count]
    said = [Say(f"{', '.join(sorted(lost)[:4])}: not in this rack, left out", "warning")] if lost else []
    return with_changes(state, world, gesture, knobs=count, position=position, lessons=tuple(kept), held=()), said


LESSON_KEYS = {
    "superknob.add": _add,
    "superknob.overwrite": _overwrite,
    "superknob.recall": _recall,
    "superknob.rename": _rename,
    "superknob.move": _move,
    "superknob.delete": _delete,
    "superknob.clear": _clear,
    "superknob.examples": _import,
}
