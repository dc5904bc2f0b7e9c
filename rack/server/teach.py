"""The keys of the SuperKnob: teach it examples, train it, play it. All pure; training itself is left to the server.

    superknob  superknob.x  superknob.y  superknob.mode  superknob.add  superknob.overwrite  superknob.recall
    superknob.rename  superknob.move  superknob.delete  superknob.clear  superknob.train  superknob.reset
    superknob.compare  superknob.exact  superknob.glide  superknob.knobs  superknob.link  superknob.release
    superknob.examples

Three things are different: `train` goes on from what was learned,
`reset` forgets what was learned, `clear` forgets the examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from ..catalogue import KnobInfo
from ..checks import check_knob, nearest, tidy
from ..config import Rack
from ..examples import ExampleError, Mapping, SuperKnob, check
from ..teachfile import exported, glide_ms
from .driving import driven_to, driving, super_view
from .glide import place_now, with_glide
from .lessons import LESSON_KEYS, Answer, Say, position_of, the_superknob, with_changes, with_superknob
from .slotkeys import on_off
from .state import Glide, State, World

GLIDE = KnobInfo("glide", "ms", 0.0, 60_000.0, 0.0)


class Train(msgspec.Struct, frozen=True):
    """Train the SuperKnob of the present rack: on from its mapping, or anew."""

    anew: bool = False


class CancelTraining(msgspec.Struct, frozen=True):
    """What is being trained is not wanted any more."""


TeachEffect = Train | CancelTraining | Say


# --- turning it -------------------------------------------------------------------------------------------------------


def _turn(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """A position 0..1, or two of them for a pad."""
    return _to(state, world, position_of(value, the_superknob(state).knobs), gesture), []


def _axis(number: int) -> Callable:
    def turn(state: State, world: World, value: Any, gesture: tuple) -> Answer:
        s = the_superknob(state)
        if number >= s.knobs:
            raise ValueError("this SuperKnob has one knob; superknob.knobs 2 makes it a pad")
        position = list(s.position)
        position[number] = position_of(value, 1)[0]
        return _to(state, world, tuple(position), gesture), []

    return turn


def _to(state: State, world: World, place: tuple[float, ...], gesture: tuple) -> State:
    s = the_superknob(state)
    start = place_now(state)
    after = with_superknob(state, superknob := replace(s, position=place), gesture)
    if not s.playing:
        return after
    if s.glide_ms and start != place and driving(state, world).driven:
        return with_glide(after, Glide(s.glide_ms / 1e3, start=start, goal=place))
    return with_superknob(state, superknob, gesture, driven_to(state, world, after.scene.rack, place))


def _mode(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Teach: moving it moves nothing else. Play: it drives its knobs."""
    s = the_superknob(state)
    modes = {"play": True, "teach": False, "toggle": not s.playing, None: not s.playing, True: not s.playing}
    if not isinstance(value, str | bool | None) or value not in modes:
        raise ValueError("must be teach, play or toggle")
    if modes[value] and not s.lessons and s.mapping is None:
        raise ValueError("there is nothing to play yet; set some knobs and add an example first (a)")
    return with_changes(state, world, gesture, playing=modes[value], held=()), []


# --- training and what came of it -------------------------------------------------------------------------------------


def _train(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """On from what was learned; `anew` from nothing; `cancel` leaves it."""
    if value == "cancel":
        return state, [CancelTraining()]
    if value not in (None, "", True, "on", "continue", "anew"):
        raise ValueError("must be continue, anew or cancel")
    s, found = the_superknob(state), driving(state, world)
    if not s.lessons:
        raise ValueError("there are no examples yet; set some knobs and add one first (a)")
    if not any(example.values for example in found.taught.examples):
        raise ValueError(_nothing(s, found.infos))
    try:
        check(found.taught)
    except ExampleError as error:
        raise ValueError(str(error)) from None
    return with_changes(state, world, gesture, playing=True, exact=False), [Train(value == "anew")]


def _nothing(s: SuperKnob, infos: dict[str, KnobInfo]) -> str:
    """Why no knob can be learned."""
    if not any(key in infos for lesson in s.lessons for key in lesson.knobs):
        return "none of the knobs it was taught is in this rack now; put the slot back (u), or clear the examples"
    if len(s.lessons) == 1:
        return "one example says nothing yet; move the SuperKnob, change the sound and add another (a)"
    locked = " that is not locked" if s.locked else ""
    return (
        f"no knob{locked} stands differently in the {len(s.lessons)} examples; change one of them, or link a knob (f)"
    )


def taught(state: State, world: World, name: str, mapping: Mapping) -> State:
    """What was learned, in the rack it was learned for; the one before is kept to compare with. One undo step."""
    if name != state.scene.name:
        rack = state.edited.get(name) or state.file.racks.get(name)
        if rack is None:
            return state
        superknob = replace(rack.superknob, other=rack.superknob.mapping, mapping=mapping, compare="A")
        return replace(state, edited={**state.edited, name: replace(rack, superknob=superknob)})
    return with_changes(state, world, other=the_superknob(state).mapping, mapping=mapping, compare="A")


def _reset(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Forget what was learned; the examples stay, and are interpolated."""
    s = the_superknob(state)
    if s.mapping is None:
        raise ValueError("nothing was learned yet")
    return with_changes(state, world, gesture, mapping=None, other=s.mapping, compare="A"), []


def _compare(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """A is what was learned last, B what was before it."""
    s = the_superknob(state)
    if s.other is None:
        raise ValueError("there is only one mapping; train again to have two to compare")
    if value not in (None, True, "toggle", "A", "B", "a", "b"):
        raise ValueError("must be A, B or toggle")
    if isinstance(value, str) and value.upper() == s.compare:
        return state, []
    letter = "B" if s.compare == "A" else "A"
    return with_changes(state, world, gesture, mapping=s.other, other=s.mapping, compare=letter), []


def _exact(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """By interpolation, which meets every example exactly, or by what was learned."""
    return with_changes(state, world, gesture, exact=on_off(value, the_superknob(state).exact)), []


# --- how it drives ----------------------------------------------------------------------------------------------------


def _glide(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    found = check_knob(GLIDE, value) if isinstance(value, str) else glide_ms(value)
    return with_changes(state, world, gesture, glide_ms=found), []


def _knobs(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """1, or 2 for a pad: the examples keep their place on the first knob."""
    s = the_superknob(state)
    count = {"1": 1, "2": 2}.get(value, value) if isinstance(value, str) else value
    if type(count) is not int or count not in (1, 2):
        raise ValueError("must be 1, or 2 for a pad")
    if count == s.knobs:
        return state, []

    def placed(position: tuple[float, ...]) -> tuple[float, ...]:
        return (*position, 0.5)[:count]

    lessons = tuple(replace(lesson, position=placed(lesson.position)) for lesson in s.lessons)
    after = with_changes(state, world, gesture, knobs=count, position=placed(s.position), lessons=lessons)
    return replace(after, glides=()), [Say("what was learned was for another number of knobs; train again")] * bool(
        s.mapping
    )


def _link(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """A knob, and on or off. Without: a held one is given back, a driven one locked, any other one linked."""
    s, found = the_superknob(state), driving(state, world)
    key, word = (value, "") if isinstance(value, str) and value in found.infos else ("", "")
    if not key and isinstance(value, str | list | tuple):
        *name, word = value.split() if isinstance(value, str) else map(str, value)
        key = " ".join(name)
    if key not in found.infos or word not in ("", "on", "off"):
        near = nearest(str(value)[:99], found.infos)
        raise ValueError(f'must be a knob of this rack, as in "tone.cutoff", and on or off{near}')
    if not word and key in s.held:
        return with_changes(state, world, gesture, held=_without(s.held, key)), [
            Say(f"{key} follows the SuperKnob again")
        ]
    on = word == "on" if word else key not in found.driven and key not in s.linked
    linked, locked = (_without(keys, key) for keys in (s.linked, s.locked))
    after = with_changes(
        state,
        world,
        gesture,
        linked=(*linked, key) if on else linked,
        locked=locked if on else (*locked, key),
        held=_without(s.held, key),
    )
    said = f"{key} is linked to the SuperKnob" if on else f"{key} is locked: the SuperKnob leaves it alone"
    return after, [Say(said)]


def _without(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    return tuple(each for each in keys if each != key)


def _release(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Give all knobs that the hand holds back to the SuperKnob."""
    return with_changes(state, world, gesture, held=()), []


def by_hand(state: State, world: World, keys: tuple[str, ...], rack: Rack) -> tuple[Rack, list]:
    """A rack in which a hand has turned these knobs: those that the SuperKnob was driving stay with the hand."""
    s = state.scene.rack.superknob
    new = [k for k in keys if k not in s.held and k in driving(state, world).driven] if s.playing else []
    if not new:
        return rack, []
    text = f"{', '.join(new)}: with your hand now; f gives it back to the SuperKnob"
    return replace(rack, superknob=replace(s, held=(*s.held, *new))), [Say(text)]


def without_slot(rack: Rack, slot: str) -> SuperKnob:
    """The SuperKnob of a rack from which a slot has gone: nothing it was taught about it is left."""

    def stay(keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(key for key in keys if key.partition(".")[0] != slot)

    s = rack.superknob
    lessons = tuple(replace(each, knobs={k: each.knobs[k] for k in stay(tuple(each.knobs))}) for each in s.lessons)
    lessons = s.lessons if lessons == s.lessons else lessons
    return replace(s, lessons=lessons, linked=stay(s.linked), locked=stay(s.locked), held=stay(s.held))


def _get_position(state: State, world: World) -> Any:
    position = [tidy(p) for p in the_superknob(state).position]
    return position[0] if len(position) == 1 else position


TEACH_KEYS = {
    **LESSON_KEYS,
    "superknob": _turn,
    "superknob.x": _axis(0),
    "superknob.y": _axis(1),
    "superknob.mode": _mode,
    "superknob.train": _train,
    "superknob.reset": _reset,
    "superknob.compare": _compare,
    "superknob.exact": _exact,
    "superknob.glide": _glide,
    "superknob.knobs": _knobs,
    "superknob.link": _link,
    "superknob.release": _release,
}
TEACH_READS: dict[str, Callable[[State, World], Any]] = {
    "superknob": _get_position,
    "superknob.x": lambda state, world: the_superknob(state).position[0],
    "superknob.y": lambda state, world: (*the_superknob(state).position, None)[1],
    "superknob.mode": lambda state, world: "play" if the_superknob(state).playing else "teach",
    "superknob.train": lambda state, world: super_view(state, world).lamp,
    "superknob.compare": lambda state, world: the_superknob(state).compare,
    "superknob.exact": lambda state, world: the_superknob(state).exact,
    "superknob.glide": lambda state, world: the_superknob(state).glide_ms,
    "superknob.knobs": lambda state, world: the_superknob(state).knobs,
    "superknob.link": lambda state, world: super_view(state, world).links,
    "superknob.examples": lambda state, world: exported(the_superknob(state)),
    "superknob.status": lambda state, world: msgspec.to_builtins(super_view(state, world)),
}
