"""From the slots that should play to the line that the engine plays: what to build, when to send it, who has which row.

A slot that stays keeps its row, and with it its state in the engine. The engine gets a new line when every slot of it
has been built or has failed; until then the old one plays on. When edits rest, the row is fused into one program.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from ..protocol import BoxSpec, Build, Built, Failed, Fuse, Fused, Line, Placed, Stream
from ..shared import ROWS

LIMITER_ID = ""
AHEAD = 256  # boxes made ahead that are remembered
ANSWER_S = 10.0  # after which a line that nobody took is given up


class Wanted(msgspec.Struct, frozen=True):
    """A slot that should play; the last one is the limiter, its id LIMITER_ID."""

    id: str
    box: BoxSpec
    targets: tuple[float, ...]  # 1 for on, 0 for bypassed; then the knobs' positions


class _Instance:
    """A slot that is being built, waits, or plays."""

    def __init__(self, wanted: Wanted, ticket: int):
        self.id, self.box, self.targets, self.ticket = wanted.id, wanted.box, wanted.targets, ticket
        self.built: Built | None = None
        self.error = ""
        self.row: int | None = None
        self.generation = 0
        self.deaths = 0  # of workshops that had it in hand

    @property
    def pending(self) -> bool:
        return self.built is None and not self.error

    def placed(self) -> Placed:
        assert self.built is not None and self.row is not None
        return Placed(self.row, self.generation, self.built.program, self.built.arrays)


class Planner:
    """Orders builds and sends lines. `to_workshop` and `to_engine` take messages; they never wait and never fail.

    `at_rest` is called whenever a line has been taken that could be fused; whoever owns this calls `fuse` a little
    later, if nothing has changed by then.
    """

    def __init__(
        self,
        targets: np.ndarray,
        to_workshop: Callable[[Build | Fuse], None],
        to_engine: Callable[[Stream | Line], None],
        at_rest: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._targets, self._to_engine = targets, to_engine
        self._to_workshop = lambda order: to_workshop(order) if self._warm else None
        self._warm = False  # whether there is a workshop that takes orders
        self._at_rest, self._clock = at_rest, clock
        self._numbers = itertools.count(1)
        self.stream = Stream()
        self._open: Stream | None = None  # the stream that the engine has been told to play
        self._row: list[_Instance] = []  # as it should be
        self._sent: tuple[Line, list[_Instance]] | None = None  # not yet taken
        self._sent_at = 0.0
        self._playing: tuple[Line, list[_Instance]] | None = None
        self._fuse: Fuse | None = None
        self._fused: dict[tuple[str, ...], str] = {}  # programs of rows, by those of their slots
        self._ahead: dict[int, tuple] = {}  # what the workshop may be making before anybody wants it, by ticket
        self._in_hand = 0  # the ticket of what it should answer next of these
        self._made: dict[tuple, tuple[Built | None, Any]] = {}  # what came of that, and for which positions if not all

    # --- what should play

    def plan(self, wanted: Sequence[Wanted], stream: Stream) -> None:
        """Play these slots on this stream: order what is missing, and send what is complete."""
        if _shape(stream) != _shape(self.stream):
            old: dict[tuple, _Instance] = {}
        else:
            old = {(i.id, i.box.key()): i for i in self._row if not i.error}
        self.stream, self._fuse = stream, None
        self._row = []
        for slot in wanted:
            instance = old.get((slot.id, slot.box.key()))
            if instance is None:
                instance = _Instance(slot, next(self._numbers))
                made, _ = self._found(slot.box) or (None, None)
                if made:
                    instance.built = msgspec.structs.replace(made, ticket=instance.ticket)
                else:
                    self._order(instance)
            self._row.append(instance)
            self._aim(instance, slot.targets)
        if self._open is not None and self._open != stream and _shape(self._open) == _shape(stream):
            self._open_stream()  # another device plays what is built already
        self._send()

    def aim(self, id: str, targets: tuple[float, ...]) -> None:
        """Turn knobs of a slot: one store in shared memory."""
        for instance in self._row:
            if instance.id == id:
                self._aim(instance, targets)

    def _aim(self, instance: _Instance, targets: tuple[float, ...]) -> None:
        instance.targets = targets
        if instance.row is not None:
            self._targets[instance.row, : len(targets)] = targets

    @property
    def building(self) -> frozenset[str]:
        """The slots that are being built."""
        return frozenset(i.id for i in self._row if i.pending)

    @property
    def is_fused(self) -> bool:
        """Whether the row that should play does play, as one program."""
        return bool(self._playing and self._playing[0].fused and self._playing[1] == self._row and not self._sent)

    def row_of(self, id: str) -> int | None:
        """Where a slot's peaks stand in shared memory, if it plays."""
        return next((i.row for i in self._row if i.id == id), None)

    def built_of(self, id: str) -> Built | None:
        """What the workshop made of a slot, if it has."""
        return next((i.built for i in self._row if i.id == id), None)

    def id_of(self, row: int) -> str | None:
        """The slot that has this row."""
        return next((i.id for i in self._row if i.row == row), None)

    # --- the workshop

    def _order(self, instance: _Instance) -> None:
        s, self._in_hand = self.stream, 0  # the workshop may drop what it was to make ahead
        self._to_workshop(Build(instance.ticket, instance.box, s.channels, s.rate, s.block, levels_dbu=_levels(s)))

    def workshop_ready(self) -> None:
        """A new workshop: it gets the orders that nobody answered."""
        self._warm = True
        for instance in self._row:
            if instance.pending:
                self._order(instance)
        if self._fuse:
            self._to_workshop(self._fuse)

    def workshop_gone(self) -> int | None:
        """Orders wait for a new workshop. Answers the ticket of an order that has now killed two of them."""
        was_warm, self._warm = self._warm, False
        for ticket in list(self._ahead):
            self.made_ahead(ticket, None)  # it may have been that
        pending = [i for i in self._row if i.pending]
        if not pending or not was_warm:
            return None
        in_hand = min(pending, key=lambda i: i.ticket)
        in_hand.deaths += 1
        return in_hand.ticket if in_hand.deaths >= 2 else None

    def spec_of(self, ticket: int) -> BoxSpec | None:
        """What was ordered under this ticket, if it is still wanted or was ordered ahead."""
        ahead = self._ahead.get(ticket)
        return ahead[0] if ahead else next((i.box for i in self._row if i.ticket == ticket), None)

    # --- what may be wanted soon

    def has(self, box: BoxSpec) -> bool:
        """Whether this box was made ahead, or cannot be."""
        return self._found(box) is not None

    @property
    def idle(self) -> bool:
        """Whether the workshop is there and everything that was ordered of it plays."""
        settled = self._playing is not None and self._playing[1] == self._row and not self._sent
        return self._warm and settled and not self._fuse and not self._in_hand

    def ahead(self, box: BoxSpec) -> bool:
        """Have a box made that nobody wants yet; False where the workshop has better things to do."""
        if not self.idle:
            return False
        s, self._in_hand = self.stream, next(self._numbers)
        self._ahead = {self._in_hand: (box, self._key(box))}
        self._to_workshop(Build(self._in_hand, box, s.channels, s.rate, s.block, True, _levels(s)))
        return True

    def made_ahead(self, ticket: int, built: Built | None) -> bool:
        """Keep what was ordered ahead (None: it cannot be made); False where the ticket is of another order."""
        if ticket not in self._ahead:
            return False
        box, key = self._ahead.pop(ticket)
        self._in_hand = 0
        while len(self._made) >= AHEAD:
            del self._made[next(iter(self._made))]
        self._made[key] = (built, None if built is None or built.anywhere else box.positions)
        return True

    def _found(self, box: BoxSpec) -> tuple[Built | None, Any] | None:
        found = self._made.get(self._key(box))
        return found if found and found[1] in (None, box.positions) else None

    def _key(self, box: BoxSpec) -> tuple:
        files = (box.model, *box.settings.values())
        return box.key(), tuple(_changed(file) for file in files if _is_path(file)), _shape(self.stream)

    # --- what the workshop answers

    def built(self, message: Built) -> str | None:
        """A slot is ready; answers its id, or None where it is wanted no more. Plan again after that."""
        return self._answered(message.ticket, message, "")

    def failed(self, message: Failed) -> str | None:
        """A slot cannot be built; answers its id. Plan again after that, without it."""
        if self._fuse and message.ticket == self._fuse.ticket:
            self._fuse = None  # slot by slot plays as well
            return None
        return self._answered(message.ticket, None, message.error)

    def _answered(self, ticket: int, built: Built | None, error: str) -> str | None:
        instance = next((i for i in self._row if i.ticket == ticket and i.pending), None)
        if instance is None:
            return None
        instance.built, instance.error = built, error
        return instance.id

    def fuse(self) -> None:
        """Order the whole row as one program, unless it is one already."""
        if self._fuse or self._sent or not self._playing or any(i.pending for i in self._row):
            return
        line, instances = self._playing
        if line.fused or len(instances) < 2 or instances != self._ready() or self._open != self.stream:
            return
        s = self.stream
        boxes = tuple(i.box for i in instances)
        self._fuse, self._in_hand = Fuse(next(self._numbers), boxes, s.channels, s.rate, s.block, _levels(s)), 0
        self._to_workshop(self._fuse)

    def fused(self, message: Fused) -> None:
        """The row as one program: the same line again, with it."""
        if self._fuse and message.ticket == self._fuse.ticket:
            self._fuse = None
            while len(self._fused) >= ROWS:
                del self._fused[next(iter(self._fused))]
            self._fused[self._programs(self._ready())] = message.program
            self._send()

    # --- the engine

    def engine_ready(self) -> None:
        """A new engine: it gets the stream, and the line again from what is built already."""
        self._sent = None
        self._playing = None
        self._open_stream()
        self._send()

    def engine_gone(self) -> None:
        """Nothing is sent until there is a new engine."""
        self._open = self._sent = self._playing = None

    def _open_stream(self) -> None:
        self._open = self.stream
        self._sent = self._playing = None  # a new stream begins with an empty line
        self._to_engine(self.stream)

    @staticmethod
    def _programs(instances: list[_Instance]) -> tuple[str, ...]:
        return tuple(i.built.program for i in instances if i.built)

    def _ready(self) -> list[_Instance]:
        return [i for i in self._row if i.built]

    def _send(self) -> None:
        """Send the line, if it is complete, if it is another one, and if the engine has taken the one before."""
        if self._open is None or any(i.pending for i in self._row) or not self._row:
            return
        if self._row[-1].id != LIMITER_ID or not self._row[-1].built:
            return  # a rack without its limiter is not let out
        if self._sent and self._clock() - self._sent_at < ANSWER_S:
            return
        instances = self._ready()
        self._find_rows(instances)
        if self._open != self.stream:
            self._open_stream()
        fused = self._fused.get(self._programs(instances), "")  # the same for another capture of one architecture
        placed = tuple(i.placed() for i in instances)
        if self._playing and (self._playing[0].slots, self._playing[0].fused) == (placed, fused):
            if not fused:
                self._at_rest()
            return
        line = Line(next(self._numbers), placed, fused)
        self._sent, self._sent_at = (line, instances), self._clock()
        self._to_engine(line)

    def _find_rows(self, instances: list[_Instance]) -> None:
        """A row for every slot that has none; its targets stand there before the engine hears of it."""
        live = [*self._row, *(i for line in (self._playing, self._sent) if line for i in line[1])]
        taken = {i.row for i in live if i.row is not None}
        for instance in instances:
            if instance.row is None:
                instance.row = next(row for row in range(ROWS) if row not in taken)
                instance.generation = next(self._numbers)
                taken.add(instance.row)
                self._targets[instance.row] = 0
                self._aim(instance, instance.targets)

    def took(self, number: int) -> None:
        """The engine plays line `number`; rows that it does not name are free."""
        if self._sent and self._sent[0].number == number:
            self._playing, self._sent = self._sent, None
            self._send()

    def refused(self, number: int, again: bool) -> bool:
        """The engine cannot load line `number`; with `again`, everything in it is built once more.

        Answers whether that will be tried.
        """
        if not self._sent or self._sent[0].number != number:
            return False
        line, instances = self._sent
        self._sent = None
        if line.fused:
            self._fused.pop(self._programs(instances), None)
            return False
        self._made.clear()
        if not again:
            return False
        for instance in self._row:
            if instance in instances and instance not in (self._playing[1] if self._playing else []):
                instance.built, instance.row, instance.ticket = None, None, next(self._numbers)
                self._order(instance)
        return True


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/")


def _changed(file: str) -> int:
    """When a file was changed last; 0 where there is none."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def _shape(stream: Stream) -> tuple:
    """What slots are built for."""
    return stream.channels, stream.rate, stream.block, *_levels(stream)


def _levels(stream: Stream) -> tuple[float | None, float | None]:
    return stream.input_level_dbu, stream.output_level_dbu
