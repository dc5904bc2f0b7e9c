"""The map behind the XY pad: drawn row by row while somebody looks at it and the workshop has nothing better to do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from msgspec.structs import replace

from ..config import Slot
from ..maps import Cell, Ground, Heard, Map, Mapped, MapPoint, ground, next_row
from ..protocol import Failed
from . import state as states
from .clients import Clients
from .line import Planner
from .state import State, World

REST_S = 0.6  # hands that pause so long have decided on a sound
AGAIN_S = 1.0  # after which a busy workshop is looked at again
COARSE = 50  # steps of a knob that stands still: less than one of them is the same sound
FIRST_TICKET = 1 << 40  # other orders count from 1


class Maps:
    """Orders the map of the present rack's pad, and shows it to the clients that watch it.

    `look` is called whenever something may have changed, `mapped`, `failed` and `gone` with what the workshop says.
    """

    def __init__(self, clients: Clients, planner: Planner, send: Callable[[Map], None], now: Callable[[], State],
                 world: World):  # fmt: skip
        self._clients, self._planner, self._send, self._now, self._world = clients, planner, send, now, world
        self._tickets = itertools.count(FIRST_TICKET)
        self._order: Map | None = None  # without its cells: what the points are of
        self._points: dict[Cell, MapPoint] = {}
        self._in_hand: Map | None = None
        self._refused: Map | None = None  # what the workshop cannot draw
        self._timer: asyncio.TimerHandle | None = None
        self.ground = Ground()
        clients.map_wanted = self.watch

    def watch(self) -> None:
        """A client begins to look at the map."""
        self._clients.ground(self.ground)
        self.look()

    def look(self, after_s: float = REST_S) -> None:
        """See what is to be drawn, a moment later."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._clients.map_watched:
            self._timer = asyncio.get_running_loop().call_later(after_s, self._go)

    def _go(self) -> None:
        self._timer = None
        if not self._clients.map_watched:
            return
        wanted = order_of(self._now(), self._world, self._planner)
        if wanted != self._order:
            if wanted is None or self._order is None or _sounds(wanted) != _sounds(self._order):
                self._show(Ground())
            self._order, self._points = wanted, {}
        if self._order is None or self._order == self._refused or self._in_hand:
            return
        row = next_row(self._points, self._order.axes)
        if row and not self._planner.idle:
            self.look(AGAIN_S)
        elif row:
            self._in_hand = replace(self._order, ticket=next(self._tickets), cells=row)
            self._send(self._in_hand)

    def mapped(self, message: Mapped) -> None:
        """Points of a map; there are fewer than were ordered where something else had to be done."""
        order = self._answered(message.ticket)
        if order is None:
            return
        if replace(order, ticket=0, cells=()) == self._order:
            self._points |= {(point.column, point.row): point for point in message.points}
            found = ground(self._points, order.axes)
            if found.side and found != self.ground:
                self._show(found)
        given = {(point.column, point.row) for point in message.points}
        self.look(0.0 if given.issuperset(order.cells) else AGAIN_S)

    def failed(self, message: Failed) -> bool:
        """This map cannot be drawn; False where the message is about something else."""
        order = self._answered(message.ticket)
        if order is None:
            return False
        self._refused = replace(order, ticket=0, cells=())
        self._clients.notice("warning", f"the map behind the pad cannot be drawn: {message.error}")
        return True

    def gone(self) -> None:
        """The workshop has ended; what it had in hand is not tried again."""
        if self._in_hand:
            self._refused, self._in_hand = replace(self._in_hand, ticket=0, cells=()), None
        self.look()

    def _answered(self, ticket: int) -> Map | None:
        if self._in_hand is None or self._in_hand.ticket != ticket:
            return None
        order, self._in_hand = self._in_hand, None
        return order

    def _show(self, found: Ground) -> None:
        if found != self.ground:
            self.ground = found
            self._clients.ground(found)


def _sounds(order: Map) -> tuple:
    """What a map is of, but for knobs that stand a little elsewhere: until it is drawn anew, the old one is shown."""
    return tuple((slot.program, slot.arrays) for slot in order.slots), order.axes


def order_of(state: State, world: World, planner: Planner) -> Map | None:
    """The map of the pad's plane, its cells left out: the slots from the first to the last that the pad turns.

    Another slot between them is heard as it stands. None where the pad has no knobs, or a slot is not built.
    """
    slots = state.scene.rack.slots
    places = [_place(state, world, key) for key in state.scene.rack.xy]
    turned = [place[0] for place in places if place]
    if not turned:
        return None
    first, heard, numbers = min(turned), [], {}
    for index, slot in enumerate(slots[first : max(turned) + 1], first):
        built = planner.built_of(slot.id)
        if built is None and (index in turned or not states.failure(state, slot)):
            return None
        if built is None or (slot.bypass and index not in turned):
            continue
        numbers[index] = len(heard)
        heard.append(Heard(built.program, built.arrays, _standing(state, world, slot)))
    x, y = (place and (numbers[place[0]], place[1]) for place in places)
    for axis in filter(None, (x, y)):  # the pad's own knobs may stand anywhere
        positions = list(heard[axis[0]].positions)
        positions[1 + axis[1]] = 0.0
        heard[axis[0]] = replace(heard[axis[0]], positions=tuple(positions))
    s = planner.stream
    return Map(0, tuple(heard), (x, y), (), s.channels, s.rate, s.block)


def _place(state: State, world: World, key: str) -> Cell | None:
    """The slot and the knob of an axis, counted from 0."""
    name, _, knob = key.partition(".")
    for index, slot in enumerate(state.scene.rack.slots):
        names = [info.name for info in states.knobs(state, world, slot)] if slot.id == name else []
        if knob in names:
            return index, names.index(knob)
    return None


def _standing(state: State, world: World, slot: Slot) -> tuple[float, ...]:
    known = states.positions(slot, states.knobs(state, world, slot))
    return 1.0, *(round(place * COARSE) / COARSE for place in known)
