"""Which job is heard in which slot, and which of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..jobs import LIVE
from . import jobfiles, jobslots
from .jobtable import Table
from .slotkeys import integer
from .state import State, World

AGAIN = "Enter on the train page (jobs.listen) plays it in a slot again"
PAD = {"steer": ("c1", "c2")}  # the knobs of what comes out of a recipe, for the XY pad


class Listening:
    """`commit` takes another state of the rack, `say(level, text)` what is to be said."""

    def __init__(
        self,
        table: Table,
        state: Callable[[], State],
        world: World,
        commit: Callable[[State], Any],
        say: Callable[[str, str], None],
    ):
        self._table, self._state, self._world, self._commit, self._say = table, state, world, commit, say
        self._away: set[str] = set()  # jobs whose rack does not play now, which was said

    def slot(self, id: Any) -> str:
        if not isinstance(id, str) or jobslots.slot_of(self._state(), id) is None:
            there = [slot.id for slot in self._state().scene.rack.slots]
            raise ValueError(f"{str(id)[:60]}: no such slot; there are: {', '.join(there) or 'none'}")
        return id

    def only_in(self, id: str, slot: str) -> None:
        """A slot plays one job: the others leave it."""
        for other in [kept.job for kept in self._table if kept.job.slot == slot and kept.job.id != id]:
            if other.rack == self._table[id].job.rack:
                self._table.change(other.id, slot="", playing=-1, bound=False)
                if other.state in LIVE:
                    what = f"slot {slot} plays {self._table[id].job.title} from now on"
                    self._say("info", f"{what}; {other.title} goes on unheard; {AGAIN}")

    def listen(self, value: Any) -> None:
        asked = fields(value, "id", "slot")
        kept, slot = self._table.find(asked.get("id")), asked.get("slot", "")
        if not slot:
            self._table.change(kept.job.id, slot="", rack="", playing=-1, following=True, bound=False)
            return
        rack = self._state().scene.name
        self._table.change(kept.job.id, slot=self.slot(slot), rack=rack, following=True, bound=False)
        self.only_in(kept.job.id, slot)
        self.play()

    def undo_checkpoint(self, value: Any) -> None:
        asked = fields(value, "id", "checkpoint")
        kept = self._table.find(asked.get("id"))
        numbers = [each.number for each in kept.job.checkpoints]
        if "checkpoint" in asked:
            wanted = integer(asked["checkpoint"])
            if wanted not in numbers:
                raise ValueError(
                    f"checkpoint {wanted} is not kept; there are: {', '.join(map(str, numbers)) or 'none'}"
                )
        else:
            now = kept.job.playing if kept.job.playing in numbers else (numbers or [0])[-1]
            earlier = [each for each in numbers if each < now]
            if not earlier:
                raise ValueError(f"{kept.job.id} has no earlier checkpoint")
            wanted = earlier[-1]
        self._table.change(kept.job.id, following=False, playing=wanted)
        self.play()

    def play(self) -> None:
        """Bring the slots to what their jobs say."""
        for kept in self._table:
            job = kept.job
            wanted = next((e for e in job.checkpoints if not job.following and e.number == job.playing), None)
            wanted = wanted or (job.checkpoints[-1] if job.checkpoints and job.following else None)
            if not job.slot or wanted is None:
                continue
            state = self._state()
            slot = jobslots.slot_of(state, job.slot)
            ours = slot is not None and jobfiles.is_ours(slot.model, job.id)
            if ours or state.scene.name == job.rack:
                self._away.discard(job.id)
            if ours and job.following and job.slot in state.building:
                continue  # it is heard first: with a newer one each time, none ever would be on a slow machine
            if ours or (slot and not kept.bound and state.scene.name == job.rack):
                after = jobslots.heard(state, self._world, job.id, job.slot, wanted.path, PAD.get(job.kind, ()))
                if job.playing != wanted.number or not kept.bound:
                    self._table.change(job.id, playing=wanted.number, bound=True)
                if after is not state:
                    self._commit(after)
            elif state.scene.name == job.rack and job.playing >= 0 and job.following:
                what = "plays something else now" if slot else "is gone"
                self._table.change(job.id, playing=-1, bound=True)
                if job.state in LIVE:
                    self._say("warning", f"slot {job.slot} {what}; {job.title} goes on unheard; {AGAIN}")
            elif state.scene.name != job.rack and job.state in LIVE and job.id not in self._away:
                self._away.add(job.id)
                where = f"slot {job.slot} of the rack {job.rack}"
                self._say("info", f"{job.title} plays in {where}; it goes on unheard until you are back there")


def fields(value: Any, *names: str) -> dict[str, Any]:
    """A table with some of these fields, or their values as text, in order. Raises ValueError."""
    if isinstance(value, str):
        return dict(zip(names, value.split(None, len(names) - 1), strict=False))
    if isinstance(value, list | tuple) and len(value) <= len(names):
        return dict(zip(names, value, strict=False))
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise ValueError(f"must be a table of {', '.join(names)}")
    return {name: each for name, each in value.items() if each is not None}
