"""What a state wants of the engine and the journal, as plain values: the server compares before and after with them."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from .. import protocol
from ..config import LIMITER, Slot
from . import state
from .line import LIMITER_ID, Wanted
from .state import State, World

LIMITER_SLOT = Slot(LIMITER_ID, LIMITER)
MATCH_ID, MATCH = "=", "gain"  # turns the louder one of A and B down; no slot can be called so


def stream(of: State) -> protocol.Stream:
    """The stream that its sound settings and its rack's channels ask for."""
    return protocol.Stream(**asdict(of.audio), channels=of.scene.rack.channels)


def structure(of: State) -> tuple:
    """What the engine's line depends on: turning knobs leaves it alone."""
    slots = [(s.id, state.spec(s).key(), state.failure(of, s)) for s in of.scene.rack.slots]
    return slots, of.match, stream(of)


def targets(of: State, world: World, slot: Slot) -> tuple[float, ...]:
    """On or off, and the positions of a slot's knobs."""
    on = slot.id in (LIMITER_ID, MATCH_ID) or not (slot.bypass or of.bypass)
    return float(on), *state.positions(slot, state.knobs(of, world, slot))


def wanted(of: State, world: World) -> list[Wanted]:
    """The row of slots that should play."""
    found = []
    own = (match_slot(of),) if of.match else ()
    for slot in (s for s in (*of.scene.rack.slots, *own, LIMITER_SLOT) if not state.failure(of, s)):
        known = state.knobs(of, world, slot)
        places = state.positions(slot, known) if known else None
        found.append(Wanted(slot.id, state.spec(slot, places), targets(of, world, slot)))
    return found


def match_slot(of: State) -> Slot:
    """What makes A and B equally loud."""
    return Slot(MATCH_ID, MATCH, knobs={"gain": state.trim_db(of)})


def forgiving(of: State, key: str) -> State:
    """The state without the failures of the slot that is about to be changed: it is tried again."""
    place, _, rest = key.partition(".")
    slot = next((s for s in of.scene.rack.slots if s.id == place), None)
    if slot is None or not rest.startswith(("model", "settings")):
        return of
    mine = state.spec(slot).key()
    facts = {k: f for k, f in of.facts.items() if k != mine or not f.error}
    return replace(of, facts=facts)


def remembered(of: State) -> tuple:
    """What the journal keeps of a state."""
    return of.scene, of.edited, of.bypass, of.mute, of.source, of.audio
