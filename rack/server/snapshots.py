"""The keys of a rack's snapshots: knob values with a name, recalled at once or in a glide; and random variation.

    snapshot  snapshot.step  snapshot.keep  snapshot.rename  snapshot.delete  snapshot.glide
    morph  morph.from  morph.to  vary

A snapshot is named by its name or its number, from 1. `morph` is a place between two of them, 0..1, like a knob.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ..catalogue import KnobInfo
from ..checks import check_knob, nearest
from ..examples import Kept, Snapshots
from ..teachfile import MOST_SNAPSHOTS, free, glide_ms
from ..teachfile import name as good
from .driving import driving, standing, with_positions, with_values
from .glide import TICK_S, advance, with_glide
from .lessons import Answer, Say
from .slotkeys import integer, number
from .state import Glide, State, World, edit

GLIDE = KnobInfo("glide", "ms", 0.0, 60_000.0, 0.0)
_TIMED = re.compile(r"(.*\S)\s+(\d[\d.]*\s*(?:ms|s))")  # a name and a time
VARY = 0.1  # of a knob's travel: so far a variation goes at most, unless it is told


def _snapshots(state: State) -> Snapshots:
    return state.scene.rack.snapshots


def _edited(state: State, gesture: tuple, **changes) -> State:
    rack = state.scene.rack
    rack = replace(rack, snapshots=replace(rack.snapshots, **changes))
    return edit(state, replace(state.scene, rack=rack), gesture)


def _which(state: State, value: Any) -> int:
    names = [kept.name for kept in _snapshots(state).kept]
    if not names:
        raise ValueError("there are no snapshots yet; keep one first (n)")
    if isinstance(value, str) and value in names:
        return names.index(value)
    at = int(value) if isinstance(value, str) and value.isascii() and value[:4].isdigit() else value
    if type(at) is int and 1 <= at <= len(names):
        return at - 1
    raise ValueError(f"must be a snapshot, one of {', '.join(names)}, or its number{nearest(str(value)[:99], names)}")


def _recall(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """A snapshot, at once or in the rack's glide; with a time ("verse 2s", or a pair) in that."""
    which, glide = value, _snapshots(state).glide_ms
    if isinstance(value, list | tuple) and len(value) == 2:
        which, glide = value[0], _time(value[1])
    elif isinstance(value, str) and value not in [kept.name for kept in _snapshots(state).kept]:
        if timed := _TIMED.fullmatch(value.strip()):
            which, glide = timed[1], _time(timed[2])
    return _go(state, world, _which(state, which), glide, gesture), []


def _time(value: Any) -> float:
    return check_knob(GLIDE, value) if isinstance(value, str) else glide_ms(value)


def _go(state: State, world: World, at: int, glide: float, gesture: tuple) -> State:
    kept, infos = _snapshots(state).kept[at], driving(state, world).infos
    now = standing(state, world)
    goal = with_values(state.scene.rack, infos, kept.knobs)
    snapshots = replace(goal.snapshots, current=kept.name)
    if not glide:
        after = edit(state, replace(state.scene, rack=replace(goal, snapshots=snapshots)), gesture)
        return replace(after, glides=tuple(g for g in after.glides if g.goal))
    there = standing(replace(state, scene=replace(state.scene, rack=goal)), world)
    ways = {k: (infos[k].position(now[k]), infos[k].position(v)) for k, v in there.items() if v != now[k]}
    after = _edited(state, gesture, current=kept.name)
    first = advance(with_glide(after, Glide(glide / 1e3, knobs=ways)), world, TICK_S)  # so that there is a step to undo
    return replace(edit(after, first.scene, gesture or ("snapshot",)), glides=first.glides) if ways else after


def _step(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """The next snapshot, or the one before."""
    s = _snapshots(state)
    names = [kept.name for kept in s.kept]
    step = integer(value, "must be 1 or -1")
    _which(state, 1)
    at = (names.index(s.current) + step) % len(names) if s.current in names else 0 if step > 0 else len(names) - 1
    return _go(state, world, at, s.glide_ms, gesture), [Say(f"snapshot {at + 1}: {names[at]}")]


def _keep(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Where the knobs stand now, under a name; a snapshot of this name is overwritten."""
    s, now = _snapshots(state), standing(state, world)
    if not now:
        raise ValueError("no slot of this rack has a knob to be kept; add a box, or wait until it is built")
    names = [kept.name for kept in s.kept]
    called = good(value) if value not in (None, "", True) else free(f"snapshot {len(names) + 1}", s.kept)
    if called not in names and len(names) >= MOST_SNAPSHOTS:
        raise ValueError(f"there are {MOST_SNAPSHOTS} snapshots already; delete one")
    new = Kept(called, dict(now))
    kept = tuple(new if each.name == called else each for each in s.kept) if called in names else (*s.kept, new)
    return _edited(state, gesture, kept=kept, current=called), [Say(f"kept as {called!r}")]


def _rename(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """A snapshot and its new name."""
    if isinstance(value, str):
        first, _, rest = value.strip().partition(" ")
        value = [first, rest.strip()]
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError('must be a snapshot and its new name, as in "2 chorus"')
    s, at = _snapshots(state), _which(state, value[0])
    old, new = s.kept[at].name, free(good(value[1]), [kept for i, kept in enumerate(s.kept) if i != at])
    kept = (*s.kept[:at], replace(s.kept[at], name=new), *s.kept[at + 1 :])
    ends = tuple(new if end == old else end for end in s.ends)
    current = new if s.current == old else s.current
    return _edited(state, gesture, kept=kept, current=current, ends=ends), []


def _delete(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    s, at = _snapshots(state), _which(state, value)
    gone = s.kept[at].name
    ends = tuple("" if end == gone else end for end in s.ends)
    current = "" if s.current == gone else s.current
    return _edited(state, gesture, kept=(*s.kept[:at], *s.kept[at + 1 :]), current=current, ends=ends), []


def _glide(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    return _edited(state, gesture, glide_ms=_time(value)), []


def _end(side: int) -> Callable:
    def choose(state: State, world: World, value: Any, gesture: tuple) -> Answer:
        ends = list(_snapshots(state).ends)
        ends[side] = _snapshots(state).kept[_which(state, value)].name if value != "" else ""
        return _edited(state, gesture, ends=(ends[0], ends[1])), []

    return choose


def _morph(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """Between the two snapshots: 0 is the first, 1 the second."""
    share = _share(value)
    s = _snapshots(state)
    if not all(s.ends):
        raise ValueError("goes between two snapshots; choose them with morph.from and morph.to")
    infos = driving(state, world).infos
    a, b = (_positions(state, world, end) for end in s.ends)
    wanted = {key: (a[key] + (b[key] - a[key]) * share) if not infos[key].labels else (a if share < 0.5 else b)[key]
              for key in a.keys() & b.keys()}  # fmt: skip
    rack = with_positions(state.scene.rack, infos, wanted)
    rack = replace(rack, snapshots=replace(s, morph=share))
    return edit(state, replace(state.scene, rack=rack), gesture), []


def _share(value: Any) -> float:
    """A number 0..1, or its text, or percent."""
    percent = isinstance(value, str) and value.endswith("%")
    found = number(value[:-1] if percent else value, "must be a number from 0 to 1") / (100 if percent else 1)
    if not 0 <= found <= 1:
        raise ValueError("must be a number from 0 to 1")
    return found


def _positions(state: State, world: World, name: str) -> dict[str, float]:
    """Where all knobs stand in a snapshot; what it does not hold as it is now."""
    infos, kept = driving(state, world).infos, _snapshots(state).kept[_which(state, name)]
    rack = with_values(state.scene.rack, infos, kept.knobs)
    there = standing(replace(state, scene=replace(state.scene, rack=rack)), world)
    return {key: infos[key].position(value) for key, value in there.items() if key in kept.knobs}


def _vary(state: State, world: World, value: Any, gesture: tuple) -> Answer:
    """All knobs a little elsewhere, by up to a tenth of their travel, or by as much as is said; locked ones stay.

    Choices and toggles stay, and so does what is bypassed; no knob that stood within its range leaves it.
    """
    most = _share(value) if value not in (None, "", True) else VARY
    if not most:
        raise ValueError("must be more than 0")
    infos, now = driving(state, world).infos, standing(state, world)
    locked = state.scene.rack.superknob.locked
    asleep = {slot.id for slot in state.scene.rack.slots if slot.bypass}
    dice, wanted = random.Random(world.seed()), {}
    for key, info in infos.items():
        if not info.labels and key not in locked and key.partition(".")[0] not in asleep:
            wanted[key] = min(max(info.position(now[key]) + dice.uniform(-most, most), 0.0), 1.0)
    if not wanted:
        raise ValueError("there is no knob to vary in this rack")
    rack = with_positions(state.scene.rack, infos, wanted)
    said = f"{len(wanted)} knobs varied by up to {most:.0%}; u takes it back, v tries again"
    return edit(state, replace(state.scene, rack=rack), gesture), [Say(said)]


SNAPSHOT_KEYS = {
    "snapshot": _recall,
    "snapshot.step": _step,
    "snapshot.keep": _keep,
    "snapshot.rename": _rename,
    "snapshot.delete": _delete,
    "snapshot.glide": _glide,
    "morph": _morph,
    "morph.from": _end(0),
    "morph.to": _end(1),
    "vary": _vary,
}
SNAPSHOT_READS: dict[str, Callable[[State, World], Any]] = {
    "snapshot": lambda state, world: _snapshots(state).current,
    "snapshots": lambda state, world: [kept.name for kept in _snapshots(state).kept],
    "snapshot.glide": lambda state, world: _snapshots(state).glide_ms,
    "morph": lambda state, world: _snapshots(state).morph,
    "morph.from": lambda state, world: _snapshots(state).ends[0],
    "morph.to": lambda state, world: _snapshots(state).ends[1],
}
