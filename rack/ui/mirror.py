"""The rack as this client believes it to be: the server's view, with our own turns drawn before their echo arrives."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rack.catalogue import KnobInfo
from rack.jobs import JobLine
from rack.maps import Ground
from rack.protocol import Moved, SlotView, Snapshot, Turned, View

ECHO_S = 1.0  # after this long without an echo the server is believed, not the hand


class Mirror:
    """Knob values by "slot.knob", and everything else of the view. Knows no socket and no screen."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._server: dict[str, float] = {}
        self._mine: dict[str, tuple[float, float]] = {}  # turned here and not echoed yet: value, when
        self.view = View(rack="", racks=(), slots=())
        self.sequence = -1
        self.ground = Ground()  # the map behind the pad, as far as it is drawn
        self.knobs: dict[str, KnobInfo] = {}

    def snapshot(self, message: Snapshot) -> None:
        """Take over the server's view."""
        self.sequence, self.view = message.sequence, message.view
        self.knobs, self._server = {}, {}
        for slot in message.view.slots:
            for info, value in zip(slot.knobs, slot.values, strict=False):
                self.knobs[f"{slot.id}.{info.name}"] = info
                self._server[f"{slot.id}.{info.name}"] = value
        for key in self._mine.keys() - self.knobs.keys():
            del self._mine[key]
        for key in list(self._mine):
            self._settle(key)

    def turned(self, message: Turned) -> bool:
        """Take an echo; True where what is drawn has to change."""
        if message.key not in self.knobs or message.sequence < self.sequence:
            return False
        before = self.value(message.key)
        self._server[message.key] = message.value
        self._settle(message.key)
        return not self._same(message.key, before, self.value(message.key))

    def moved(self, message: Moved) -> bool:
        """Take the SuperKnob's place; False where it is older than the view."""
        if message.sequence < self.sequence:
            return False
        superknob = msgspec.structs.replace(self.view.superknob, place=message.place)
        self.view = msgspec.structs.replace(self.view, superknob=superknob)
        return True

    def figure(self, message: JobLine) -> None:
        """Take a new figure of a job."""
        record = message.record
        jobs = tuple(
            job if job.id != message.id else msgspec.structs.replace(job, last=record, esr=record.esr or job.esr)
            for job in self.view.jobs
        )
        self.change(jobs=jobs)

    def turn(self, key: str, value: float) -> None:
        """The hand turned a knob."""
        if key in self.knobs:
            self._mine[key] = (value, self._clock())

    def change(self, **fields) -> None:
        """What the server is about to answer to a command, drawn at once."""
        self.view = msgspec.structs.replace(self.view, **fields)

    def expire(self) -> list[str]:
        """Keys whose echo never came; they show the server's value again."""
        now = self._clock()
        late = [key for key, (_, then) in self._mine.items() if now - then > ECHO_S]
        for key in late:
            del self._mine[key]
        return late

    def value(self, key: str) -> float:
        """The value to draw, in the knob's unit."""
        return self._mine[key][0] if key in self._mine else self._server[key]

    def slot(self, name: str) -> SlotView | None:
        """The slot with this id."""
        return next((slot for slot in self.view.slots if slot.id == name), None)

    def _settle(self, key: str) -> None:
        """Forget our own value once the server has it."""
        if key in self._mine and self._same(key, self._mine[key][0], self._server[key]):
            del self._mine[key]

    def _same(self, key: str, one: float, other: float) -> bool:
        """Values are float32 on their way, so nearly equal is equal."""
        info = self.knobs[key]
        return abs(one - other) <= 1e-5 * max(abs(info.high - info.low), 1e-9)
