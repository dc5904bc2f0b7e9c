"""The rack as a value: what plays, what can be undone, and what clients are shown of it. Nothing here does anything.

`server.keys` says how a state changes; the server compares the state before with the one after and does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from ..catalogue import BoxInfo, KnobInfo
from ..checks import check_knob
from ..config import MODEL, OF_FILES, Audio, Rack, Racks, Slot, SourceChoice
from ..examples import SuperPlace
from ..jobs import without_figures
from ..protocol import AudioView, BoxSpec, Built, SlotView, View

DEEPEST_UNDO = 200
MOST_TRIM_DB = 24.0


class Facts(msgspec.Struct, frozen=True):
    """What the workshop found out about a box, or why it could not make it."""

    knobs: tuple[KnobInfo, ...] = ()
    latency: int = 0
    receptive_field: int | None = None
    parameters: int = 0
    sample_rate: int | None = None
    input_db: float | None = None
    remarks: tuple[str, ...] = ()
    error: str = ""


def facts_of(built: Built) -> Facts:
    """What the workshop says with a box that it has made."""
    return Facts(**{name: getattr(built, name) for name in Facts.__struct_fields__ if name != "error"})


class Scene(msgspec.Struct, frozen=True):
    """All that undo brings back: which preset, how it stands, and the other one of A and B."""

    name: str
    rack: Rack
    other: Rack | None = None
    compare: str = "A"


class Glide(msgspec.Struct, frozen=True):
    """Something on its way: the SuperKnob from `start` to `goal`, or knobs by key from one position to another."""

    seconds: float
    elapsed_s: float = 0.0
    start: tuple[float, ...] = ()
    goal: tuple[float, ...] = ()
    knobs: dict[str, tuple[float, float]] = {}
    last: dict[str, float] = {}  # what it has set them to: one that stands elsewhere was taken by somebody

    @property
    def share(self) -> float:
        """How much of the way is done, 0..1."""
        return self.elapsed_s / self.seconds if self.seconds > 0 else 1.0


class State(msgspec.Struct, frozen=True):
    """Everything the server knows about the rack. `file` is racks.toml; `edited` holds the presets that differ."""

    scene: Scene
    file: Racks
    edited: dict[str, Rack] = {}
    undo: tuple[Scene, ...] = ()
    redo: tuple[Scene, ...] = ()
    gesture: tuple = ()  # (client, number) of the one that made the last undo step
    bypass: bool = False
    mute: bool = False
    source: SourceChoice = SourceChoice()
    recording: str = ""
    audio: Audio = Audio()
    audition: tuple[str, ...] = ()  # the models to step through, where they are not those of the folder
    facts: dict[str, Facts] = {}  # by `spec(slot).key()`
    building: frozenset[str] = frozenset()  # ids of slots that the workshop has in hand
    training: bool = False  # the workshop has the SuperKnob's examples in hand
    glides: tuple[Glide, ...] = ()
    match: bool = False  # A and B are made equally loud
    levels_db: dict[str, float] = {}  # how loud each of them is, as far as it was heard


class World(msgspec.Struct, frozen=True):
    """What a change may ask of the world outside; tests give it their own."""

    catalogue: dict[str, BoxInfo]
    find: Callable[[str], str] = lambda path: ""  # the absolute path of a file, or ""
    is_folder: Callable[[str], bool] = lambda path: True
    beside: Callable[[str], list[str]] = lambda path: []  # files of the same kind in the same folder, sorted
    playable: Callable[[str], list[str]] = lambda path: []  # the models that play in the folder of a model
    library: Callable[[], dict] = dict  # how much is in the library, and from which folders
    check_sound: Callable[[str], str] = lambda path: ""  # what is wrong with a sound file, or ""
    recording: Callable[[], str] = lambda: ""  # a path for a new recording
    models: Callable[[], list[str]] = lambda: []  # model files that could be chosen
    responses: Callable[[], list[str]] = lambda: []  # impulse responses that could be chosen
    seed: Callable[[], int] = lambda: 0  # of what is to be random


def begin(racks: Racks) -> State:
    """The state that a racks.toml describes."""
    name = racks.rack if racks.rack in racks.racks else next(iter(racks.racks))
    scene = Scene(name, racks.racks[name])
    return State(scene=scene, file=replace(racks, rack=name), source=racks.source, audio=racks.audio)


def with_scene(state: State, scene: Scene, **changes) -> State:
    """The state with another scene, the list of edited presets kept true."""
    edited = {name: rack for name, rack in state.edited.items() if name != scene.name}
    if scene.rack != state.file.racks.get(scene.name):
        edited[scene.name] = scene.rack
    if (scene.name, scene.compare) != (state.scene.name, state.scene.compare):
        changes.setdefault("glides", ())
    return replace(state, scene=scene, edited=edited, **changes)


def edit(state: State, scene: Scene, gesture: tuple = ()) -> State:
    """An undoable step; changes of one gesture, one right after the other, are one step."""
    if scene == state.scene:
        return state
    going_on = bool(gesture) and gesture == state.gesture
    undo = state.undo if going_on else (*state.undo[1 - DEEPEST_UNDO :], state.scene)
    return with_scene(state, scene, undo=undo, redo=(), gesture=gesture)


def undo(state: State) -> State:
    """One step back; the same state where there is none."""
    if not state.undo:
        return state
    redo = (*state.redo, state.scene)
    return with_scene(state, state.undo[-1], undo=state.undo[:-1], redo=redo, gesture=(), glides=())


def redo(state: State) -> State:
    """One step forward again."""
    if not state.redo:
        return state
    undo = (*state.undo, state.scene)
    return with_scene(state, state.redo[-1], redo=state.redo[:-1], undo=undo, gesture=(), glides=())


def saved(state: State, written: Racks) -> State:
    """What `to_save` said a moment ago stands in racks.toml now, and the present rack is called so."""
    edited = {n: rack for n, rack in state.edited.items() if n not in (written.rack, state.scene.name)}
    file = replace(written, racks={**state.file.racks, **written.racks})
    return with_scene(replace(state, file=file, edited=edited), replace(state.scene, name=written.rack), gesture=())


def to_save(state: State, name: str) -> Racks:
    """What a save under this name writes."""
    return Racks(name, state.audio, state.source, {name: state.scene.rack}, state.file.library)


def trim_db(state: State) -> float:
    """What the one of A and B that plays is turned down by, so that it is as loud as the other."""
    mine = state.levels_db.get(state.scene.compare)
    other = state.levels_db.get("B" if state.scene.compare == "A" else "A")
    if not state.match or mine is None or other is None:
        return 0.0
    return round(max(min(other - mine, 0.0), -MOST_TRIM_DB), 1)


# --- Slots ------------------------------------------------------------------------------------------------------------


def spec(slot: Slot, positions: tuple[float, ...] | None = None) -> BoxSpec:
    """What the workshop needs to know to make a slot."""
    return BoxSpec(slot.type, slot.model, slot.settings, positions)


def knobs(state: State, world: World, slot: Slot) -> tuple[KnobInfo, ...]:
    """The knobs of a slot, as far as they are known."""
    facts = state.facts.get(spec(slot).key())
    if facts is None and slot.type == MODEL:
        facts = _same_file(state, slot)
    if facts is not None and not facts.error:
        return facts.knobs
    if slot.type in world.catalogue and slot.type not in OF_FILES:
        return world.catalogue[slot.type].knobs
    return ()


def _same_file(state: State, slot: Slot) -> Facts | None:
    """What is known of a model with other settings: its knobs stay on the screen while it is built again."""
    start = spec(replace(slot, settings={})).key().removesuffix("[]]")
    return next((facts for key, facts in state.facts.items() if key.startswith(start) and not facts.error), None)


def values(slot: Slot, knobs: tuple[KnobInfo, ...]) -> tuple[float, ...]:
    """Where the knobs stand, in their units; what does not fit a knob is as if it were not there."""
    found = []
    for knob in knobs:
        try:
            found.append(check_knob(knob, slot.knobs.get(knob.name, knob.default)))
        except ValueError:
            found.append(knob.default)
    return tuple(found)


def positions(slot: Slot, knobs: tuple[KnobInfo, ...]) -> tuple[float, ...]:
    """The same as positions 0..1."""
    return tuple(knob.position(value) for knob, value in zip(knobs, values(slot, knobs), strict=True))


def failure(state: State, slot: Slot) -> str:
    """Why a slot is not played, or nothing."""
    if slot.error:
        return slot.error
    facts = state.facts.get(spec(slot).key())
    if facts is None:
        return ""
    return facts.error or (_unfit(slot, facts.knobs) if slot.unread else "")


def _unfit(slot: Slot, knobs: tuple[KnobInfo, ...]) -> str:
    """What racks.toml says about a model's knobs that the model does not have or take."""
    known = {knob.name: knob for knob in knobs}
    for name, value in slot.knobs.items():
        if name not in known:
            return f"{slot.id}.knobs.{name}: no such knob; this model has {', '.join(known) or 'none'}"
        try:
            check_knob(known[name], value)
        except ValueError as error:
            return f"{slot.id}.knobs.{name} = {value}: {error}"
    return ""


# --- What clients see -------------------------------------------------------------------------------------------------


def view(state: State, world: World, audio: AudioView = AudioView(), problems: tuple[str, ...] = ()) -> View:
    """The whole rack as clients draw it."""
    scene, rack = state.scene, state.scene.rack
    return View(
        rack=scene.name,
        racks=tuple(state.file.racks),
        slots=tuple(_slot_view(state, world, slot) for slot in rack.slots),
        title=rack.title,
        notes=rack.notes,
        modified=scene.name in state.edited,
        channels=rack.channels,
        xy=rack.xy,
        bypass=state.bypass,
        mute=state.mute,
        compare=scene.compare,
        source=state.source.kind,
        source_path=state.source.path,
        recording=state.recording,
        undo=len(state.undo),
        redo=len(state.redo),
        audio=audio,
        problems=problems,
        snapshots=tuple(kept.name for kept in rack.snapshots.kept),
        snapshot=rack.snapshots.current,
        match=state.match,
        trim_db=trim_db(state),
    )


def _slot_view(state: State, world: World, slot: Slot) -> SlotView:
    there, facts = knobs(state, world, slot), state.facts.get(spec(slot).key(), Facts())
    error = failure(state, slot)
    settings = {}
    if slot.type in world.catalogue:
        settings = {info.name: info.default for info in world.catalogue[slot.type].settings}
    return SlotView(
        id=slot.id,
        type=slot.type,
        knobs=there,
        values=values(slot, there),
        bypass=slot.bypass,
        model=slot.model,
        settings={**settings, **slot.settings},
        notes=slot.notes,
        status="failed" if error else "building" if slot.id in state.building else "ready",
        error=error,
        latency=facts.latency,
        receptive_field=facts.receptive_field,
        parameters=facts.parameters,
        sample_rate=facts.sample_rate,
        input_db=facts.input_db,
        remarks=facts.remarks,
    )


def turned(before: View, after: View) -> list[tuple[str, float]] | None:
    """The knobs that stand elsewhere, as `slot.knob` and value; None where the slots themselves are others."""
    if len(before.slots) != len(after.slots):
        return None
    found: list[tuple[str, float]] = []
    for old, new in zip(before.slots, after.slots, strict=True):
        if old is new or old == new:
            continue
        if old.id != new.id or old.knobs != new.knobs:
            return None
        pairs = zip(new.knobs, old.values, new.values, strict=True)
        found += [(f"{new.id}.{knob.name}", value) for knob, was, value in pairs if was != value]
    return found


def still(view: View) -> View:
    """A view without the places of its knobs and of the SuperKnob, and without figures, to tell them from a change."""
    superknob = replace(view.superknob, place=SuperPlace())
    slots = tuple(replace(slot, values=()) for slot in view.slots)
    return replace(view, slots=slots, superknob=superknob, jobs=without_figures(view.jobs))
