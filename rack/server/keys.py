"""One name for everything that can be changed, used by the terminal and the command line alike.

    slot.knob  slot.bypass  slot.model  slot.model.step  slot.settings.name (or slot.name)  slot.notes
    slots.add  slots.remove  slots.move  rack  rack.step  save  undo  redo  compare  compare.copy  compare.match
    bypass  mute  source  record  xy  xy.x  xy.y  meters.reset  audio.block (and its like)  stop
    library.mark  library.add  library.remove  library.audition  library.ahead
    jobs.start (and its like: `rack.jobs`)
    superknob and its like (`server.teach`)  snapshot, morph, vary and their like (`server.snapshots`)

Values come typed, or as text the way a person types it. `change` is pure: it answers the state that follows, and what
else is to be done; anything that cannot be is a ChangeError that names the key, the value and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from ..checks import AUDIO, check_knob, free_id, good_id, good_name, nearest, shown, text
from ..config import LIMITER, MODEL, MOST_SLOTS, Rack, Slot, SourceChoice
from ..errors import RackError
from ..jobs import JOB_KEYS
from ..protocol import View
from .librarykeys import LIBRARY_KEYS, LibraryEffect
from .slotkeys import change_slot, fresh, integer, mended, number, on_off, slot_keys
from .snapshots import SNAPSHOT_KEYS, SNAPSHOT_READS
from .state import Scene, State, World, edit, knobs, redo, undo, values
from .teach import TEACH_KEYS, TEACH_READS, TeachEffect, by_hand, without_slot


class ChangeError(RackError):
    """A change that cannot be made, or a key that does not exist."""


class Save(msgspec.Struct, frozen=True):
    """Write the present rack to racks.toml under this name."""

    name: str


class ResetMeters(msgspec.Struct, frozen=True):
    """Forget clipping and largest levels."""


class Stop(msgspec.Struct, frozen=True):
    """End the server and all its processes."""


Effect = Save | ResetMeters | Stop | LibraryEffect | TeachEffect


def change(state: State, world: World, key: str, value: Any = None, gesture: tuple = ()) -> tuple[State, list[Effect]]:
    """The state after a change, and what is left to do. Raises ChangeError."""
    try:
        if key in _WHOLE:
            return _WHOLE[key](state, world, value, gesture)
        if key.startswith("audio.") and key[6:] in AUDIO:
            return _audio(state, key[6:], value), []
        place, _, rest = key.partition(".")
        index = next((i for i, slot in enumerate(state.scene.rack.slots) if slot.id == place), None)
        if index is None or not rest:
            raise KeyError(key)
        slot = change_slot(state, world, state.scene.rack.slots[index], rest, value)
        rack, said = by_hand(state, world, (key,), replace(state.scene.rack, slots=_put(state, index, slot)))
        return _edit_rack(state, rack, gesture), said
    except KeyError:
        raise ChangeError(f"{key[:100]}: no such key{_hint(state, world, key[:100])}") from None
    except ValueError as error:
        raise ChangeError(f"{key} = {shown(value)}: {error}") from None


def _hint(state: State, world: World, key: str) -> str:
    near = nearest(key, all_keys(state, world))
    if near:
        return near
    place, _, _ = key.partition(".")
    here = next((slot for slot in state.scene.rack.slots if slot.id == place), None)
    if here is None:
        return f"; the slots are {', '.join(s.id for s in state.scene.rack.slots) or '(none)'}"
    return f"; {here.id} has {', '.join(slot_keys(state, world, here))}"


def all_keys(state: State, world: World) -> list[str]:
    """Every key there is at present."""
    slots = [f"{slot.id}.{name}" for slot in state.scene.rack.slots for name in slot_keys(state, world, slot)]
    return [*slots, *_WHOLE, *(f"audio.{name}" for name in AUDIO), *JOB_KEYS]


def _audio(state: State, name: str, value) -> State:
    now = getattr(state.audio, name)
    if isinstance(value, str) and isinstance(now, int):
        value = integer(value)
    elif isinstance(value, str) and isinstance(now, tuple):
        value = [integer(part, "must be channel numbers, as in 1,2") for part in value.replace(",", " ").split()]
    return replace(state, audio=replace(state.audio, **{name: AUDIO[name](value)}))


# --- The row of slots -------------------------------------------------------------------------------------------------


def _put(state: State, index: int, slot: Slot) -> tuple[Slot, ...]:
    slots = list(state.scene.rack.slots)
    slots[index] = slot
    return tuple(slots)


def _edit_slots(state: State, slots: tuple[Slot, ...], gesture: tuple) -> State:
    return _edit_rack(state, replace(state.scene.rack, slots=slots), gesture)


def _edit_rack(state: State, rack: Rack, gesture: tuple) -> State:
    return edit(state, replace(state.scene, rack=rack), gesture)


def _add(state: State, world: World, value, gesture: tuple):
    """`delay`, `delay 2`, `model /path/to/file 0`, or a table with type, index and model."""
    kind, model, index, slots = "", "", None, state.scene.rack.slots
    if isinstance(value, str):
        kind, _, rest = value.strip().partition(" ")
        head, _, last = rest.strip().rpartition(" ")
        if last.isdigit():
            index, rest = integer(last), head
        model = rest.strip()
    elif isinstance(value, dict) and set(value) <= {"type", "index", "model"}:
        kind, model, index = value.get("type"), value.get("model") or "", value.get("index")
    else:
        raise ValueError('must be a type and a place, as in "delay 2", or a table with type, index and model')
    kinds = sorted({MODEL, *world.catalogue} - {LIMITER})
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"must begin with one of {', '.join(kinds)}{nearest(kind, kinds)}")
    if len(slots) >= MOST_SLOTS:
        raise ValueError(f"a rack has at most {MOST_SLOTS} slots")
    if model and kind != MODEL:
        raise ValueError(f"{kind} takes no model file")
    name = kind
    if kind == MODEL:
        model = world.find(text(model)) if model else ""
        if not model:
            raise ValueError("a model needs the path of a model file that exists")
        stem = Path(model).stem.lower()
        name = stem if good_id(stem) else MODEL
    at = len(slots) if index is None else min(max(integer(index), 0), len(slots))
    slot = Slot(id=free_id(name, {s.id for s in slots}), type=kind, model=model, settings=fresh(world, kind))
    return _edit_slots(state, (*slots[:at], slot, *slots[at:]), gesture), []


def _find_slot(state: State, name) -> int:
    names = [slot.id for slot in state.scene.rack.slots]
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"must name one of the slots {', '.join(names) or '(none)'}{nearest(str(name)[:99], names)}")
    return names.index(name)


def _remove(state: State, world: World, value, gesture: tuple):
    at, rack = _find_slot(state, value), state.scene.rack
    slots = (*rack.slots[:at], *rack.slots[at + 1 :])
    x, y = ("" if axis.partition(".")[0] == value else axis for axis in rack.xy)
    superknob = without_slot(rack, rack.slots[at].id)
    return _edit_rack(state, replace(rack, slots=slots, xy=(x, y), superknob=superknob), gesture), []


def _move(state: State, world: World, value, gesture: tuple):
    """A slot and its new place, counted from 0."""
    pair = value.split() if isinstance(value, str) else value
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError('must be a slot and its new place counted from 0, as in "delay 2"')
    at, slots = _find_slot(state, pair[0]), list(state.scene.rack.slots)
    to = min(max(integer(pair[1], "the new place must be a whole number"), 0), len(slots) - 1)
    slots.insert(to, slots.pop(at))
    return _edit_slots(state, tuple(slots), gesture), []


# --- The whole rack ---------------------------------------------------------------------------------------------------


def _switch(state: State, name: str, gesture: tuple):
    if name == state.scene.name:
        return state, []
    return edit(state, Scene(name, state.edited.get(name, state.file.racks[name])), gesture), []


def _rack(state: State, world: World, value, gesture: tuple):
    if not isinstance(value, str) or value not in state.file.racks:
        raise ValueError(f"must be one of {', '.join(state.file.racks)}{nearest(str(value)[:99], state.file.racks)}")
    return _switch(state, value, gesture)


def _rack_step(state: State, world: World, value, gesture: tuple):
    names = list(state.file.racks)
    at = names.index(state.scene.name) if state.scene.name in names else 0
    return _switch(state, names[(at + integer(value, "must be 1 or -1")) % len(names)], gesture)


def _compare(state: State, world: World, value, gesture: tuple):
    """A and B: two versions of the same rack; without a letter, the other one."""
    scene = state.scene
    wanted = value.upper() if isinstance(value, str) and value.upper() in ("A", "B") else None
    if wanted is None and not (value is None or value is True or value == "toggle"):
        raise ValueError("must be A, B or toggle")
    if wanted == scene.compare:
        return state, []
    letter = "B" if scene.compare == "A" else "A"
    return edit(state, Scene(scene.name, scene.other or scene.rack, scene.rack, letter), gesture), []


def _copy(state: State, world: World, value, gesture: tuple):
    return edit(state, replace(state.scene, other=state.scene.rack), gesture), []


def _match(state: State, world: World, value, gesture: tuple):
    """A and B equally loud: the louder one is turned down."""
    on = on_off("toggle" if value in (None, True) else value, state.match)
    return replace(state, match=on), []


def _undo(state: State, world: World, value, gesture: tuple):
    if not state.undo:
        raise ValueError("there is nothing to undo")
    return undo(state), []


def _redo(state: State, world: World, value, gesture: tuple):
    if not state.redo:
        raise ValueError("there is nothing to do again")
    return redo(state), []


def _save(state: State, world: World, value, gesture: tuple):
    name = state.scene.name if value in (None, "", True) else value
    if not good_name(name):
        raise ValueError("a rack's name is 1 to 64 printable characters")
    return state, [Save(name)]


def _bypass(state: State, world: World, value, gesture: tuple):
    return replace(state, bypass=on_off(value, state.bypass)), []


def _mute(state: State, world: World, value, gesture: tuple):
    return replace(state, mute=on_off(value, state.mute)), []


def _source(state: State, world: World, value, gesture: tuple):
    if value in ("input", "loop"):
        return replace(state, source=SourceChoice(value)), []
    if not isinstance(value, str) or not value.startswith("file:"):
        raise ValueError("must be input, loop or file:PATH")
    path = world.find(text(value[5:])) if value[5:] else ""
    if not path:
        raise ValueError("no such file")
    if wrong := world.check_sound(path):
        raise ValueError(wrong)
    return replace(state, source=SourceChoice("file", path)), []


def _record(state: State, world: World, value, gesture: tuple):
    """on, off, toggle, or the path of the file to write."""
    try:
        on = on_off(value, bool(state.recording))
    except ValueError:
        if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
            raise ValueError("must be on, off, toggle or the whole path of a WAV file") from None
        path = text(value if value.lower().endswith(".wav") else f"{value}.wav")
        if state.recording:
            raise ValueError(f"is already recording {state.recording}; stop that first") from None
        return replace(state, recording=path), []
    if on == bool(state.recording):
        return state, []
    return replace(state, recording=world.recording() if on else ""), []


def _axis(number: int):
    def set_axis(state: State, world: World, value, gesture: tuple):
        there = [f"{s.id}.{knob.name}" for s in state.scene.rack.slots for knob in knobs(state, world, s)]
        if value != "" and (not isinstance(value, str) or value not in there):
            raise ValueError(f'must be a knob of this rack as "slot.knob"{nearest(str(value)[:99], there)}')
        xy = list(state.scene.rack.xy)
        xy[number] = value
        return _edit_rack(state, replace(state.scene.rack, xy=(xy[0], xy[1])), gesture), []

    return set_axis


def _xy(state: State, world: World, value, gesture: tuple):
    """Both axes at once, as positions 0..1."""
    pair = value.replace(",", " ").split() if isinstance(value, str) else value
    allowed = "must be two numbers from 0 to 1"
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError(allowed)
    places = [number(part, allowed) for part in pair]
    if not all(0 <= place <= 1 for place in places):
        raise ValueError(allowed)
    if not any(state.scene.rack.xy):
        raise ValueError("this rack's pad has no knobs yet; set xy.x and xy.y")
    slots = list(state.scene.rack.slots)
    for axis, place in zip(state.scene.rack.xy, places, strict=True):
        name, _, knob_name = axis.partition(".")
        for i, slot in enumerate(slots):
            knob = next((k for k in knobs(state, world, slot) if k.name == knob_name), None)
            if slot.id == name and knob:
                slots[i] = mended(slot, knobs={**slot.knobs, knob_name: check_knob(knob, knob.value(place))})
    rack, said = by_hand(state, world, state.scene.rack.xy, replace(state.scene.rack, slots=tuple(slots)))
    return _edit_rack(state, rack, gesture), said


_WHOLE = {
    "rack": _rack,
    "rack.step": _rack_step,
    "save": _save,
    "undo": _undo,
    "redo": _redo,
    "compare": _compare,
    "compare.copy": _copy,
    "compare.match": _match,
    "bypass": _bypass,
    "mute": _mute,
    "source": _source,
    "record": _record,
    "slots.add": _add,
    "slots.remove": _remove,
    "slots.move": _move,
    "xy": _xy,
    "xy.x": _axis(0),
    "xy.y": _axis(1),
    "meters.reset": lambda state, *_: (state, [ResetMeters()]),
    "stop": lambda state, *_: (state, [Stop()]),
    **LIBRARY_KEYS,
    **TEACH_KEYS,
    **SNAPSHOT_KEYS,
}


# --- Reading ----------------------------------------------------------------------------------------------------------


def get(state: State, world: World, view: View, key: str) -> Any:
    """What a key stands at, as plain values. Raises ChangeError."""
    scene = state.scene
    whole: dict[str, Any] = {
        "": lambda: all_keys(state, world),
        "keys": lambda: all_keys(state, world),
        "rack": lambda: scene.name,
        "racks": lambda: list(state.file.racks),
        "slots": lambda: [slot.id for slot in scene.rack.slots],
        "status": lambda: msgspec.to_builtins(view),
        "bypass": lambda: state.bypass,
        "mute": lambda: state.mute,
        "compare": lambda: scene.compare,
        "compare.match": lambda: state.match,
        "undo": lambda: len(state.undo),
        "redo": lambda: len(state.redo),
        "source": lambda: state.source.word,
        "record": lambda: state.recording or False,
        "save": lambda: scene.name not in state.edited,
        "xy": lambda: _places(state, world),
        "xy.x": lambda: scene.rack.xy[0],
        "xy.y": lambda: scene.rack.xy[1],
        "models": lambda: world.models(),
        "library": lambda: world.library(),
        "irs": lambda: world.responses(),
        "notes": lambda: scene.rack.notes,
        "audio": lambda: asdict(state.audio) | {"now": msgspec.to_builtins(view.audio)},
    }
    if key in whole:
        return whole[key]()
    if read := {**TEACH_READS, **SNAPSHOT_READS}.get(key):
        return read(state, world)
    if key.startswith("audio.") and key[6:] in AUDIO:
        return getattr(state.audio, key[6:])
    place, _, rest = key.partition(".")
    slot = next((slot for slot in scene.rack.slots if slot.id == place), None)
    found = next((s for s in view.slots if s.id == place), None)
    if slot is not None and found is not None:
        plain = {"bypass": found.bypass, "model": found.model, "notes": found.notes, "settings": found.settings}
        turned = dict(zip((k.name for k in found.knobs), found.values, strict=True))
        keys = {**{f"settings.{k}": v for k, v in found.settings.items()}, **found.settings, **turned, **plain}
        if not rest:
            return msgspec.to_builtins(found) | {"knobs": turned}
        if rest in keys:
            return keys[rest]
    raise ChangeError(f"{key[:100]}: no such key{_hint(state, world, key[:100])}")


def _places(state: State, world: World) -> list[float | None]:
    """Where the XY pad's point stands."""
    places: list[float | None] = []
    for axis in state.scene.rack.xy:
        name, _, knob_name = axis.partition(".")
        place = None
        for slot in (slot for slot in state.scene.rack.slots if slot.id == name):
            there = knobs(state, world, slot)
            for knob, value in zip(there, values(slot, there), strict=True):
                place = round(knob.position(value), 6) if knob.name == knob_name else place
        places.append(place)
    return places
