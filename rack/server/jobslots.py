"""A job's model in a slot of the rack. Pure: states in, states out; the server plays what follows from them.

The first model of a job in a slot is an edit like any other, and can be undone. Each later one takes the place of the
one before, in what undo would bring back as well: whoever undoes a turned knob does not go back to an older model.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..config import MODEL, Rack, Slot
from .jobfiles import is_ours
from .slotkeys import fresh
from .state import Scene, State, World, edit, spec, with_scene


def slot_of(state: State, id: str) -> Slot | None:
    """The slot of the present rack with this id."""
    return next((slot for slot in state.scene.rack.slots if slot.id == id), None)


def heard(state: State, world: World, job: str, id: str, model: str, pad: tuple[str, ...] = ()) -> State:
    """The state with a job's model in a slot; the same state where it is there already, or where there is no slot.

    The knobs stay where they are. `pad` names two knobs that the XY pad gets with the first model.
    """
    slot = slot_of(state, id)
    if slot is None or slot.model == model:
        return state
    if not is_ours(slot.model, job):
        return _first(state, world, slot, model, pad)
    facts = dict(state.facts)
    new = replace(slot, model=model, error="", unread=False)
    known = facts.get(spec(slot).key())
    if known and not known.error:
        facts.setdefault(spec(new).key(), known)  # the same network: its knobs need not be found out first
    used = _models(state)
    stale = [key for key in facts if f"/jobs/{job}/" in key and not any(path in key for path in (*used, model))]
    facts = {key: found for key, found in facts.items() if key not in stale}

    def past(scenes: tuple[Scene, ...]) -> tuple[Scene, ...]:
        return tuple(replace(scene, rack=_swapped(scene.rack, job, id, model)) for scene in scenes)

    scene = replace(state.scene, rack=_swapped(state.scene.rack, job, id, model))
    return with_scene(replace(state, facts=facts), scene, undo=past(state.undo), redo=past(state.redo))


def _first(state: State, world: World, slot: Slot, model: str, pad: tuple[str, ...]) -> State:
    settings = slot.settings if slot.type == MODEL else {}
    kept = {name: value for name, value in settings.items() if name not in ("sample_rate", "submodel")}
    new = Slot(slot.id, MODEL, model=model, settings={**fresh(world, MODEL), **kept}, bypass=slot.bypass)
    rack = state.scene.rack
    axes = [f"{slot.id}.{name}" for name in pad]
    axes = axes or ["" if axis.partition(".")[0] == slot.id else axis for axis in rack.xy]
    slots = tuple(new if each is slot else each for each in rack.slots)
    return edit(state, replace(state.scene, rack=replace(rack, slots=slots, xy=(axes[0], axes[1]))))


def _swapped(rack: Rack, job: str, id: str, model: str) -> Rack:
    slots = tuple(
        replace(slot, model=model, error="", unread=False) if slot.id == id and is_ours(slot.model, job) else slot
        for slot in rack.slots
    )
    return replace(rack, slots=slots)


def _models(state: State) -> set[str]:
    """Every model file that the rack, its other version or an edited preset plays."""
    racks = [state.scene.rack, state.scene.other, *state.edited.values(), *state.file.racks.values()]
    return {slot.model for rack in racks if rack for slot in rack.slots if slot.model}


def in_use(state: State) -> set[str]:
    """Model files that must not be deleted: a rack plays them, or undo may bring them back."""
    past = {slot.model for scene in (*state.undo, *state.redo) for slot in scene.rack.slots if slot.model}
    return _models(state) | past


def players(state: State, job: str) -> list[str]:
    """Where a job's files play, in words: slots of the present rack, and other racks."""
    here = [f"slot {slot.id}" for slot in state.scene.rack.slots if is_ours(slot.model, job)]
    racks = {**state.file.racks, **state.edited}
    other = [
        f"rack {name}"
        for name, rack in racks.items()
        if name != state.scene.name and any(is_ours(slot.model, job) for slot in rack.slots)
    ]
    return here + other
