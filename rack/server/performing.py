"""What goes on by itself while one plays: the SuperKnob's training, what glides, and A and B being equally loud."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from ..config import Rack
from ..protocol import Failed, Taught, Teach
from ..shared import SCOPE, Shared, take
from .driving import driving
from .glide import TICK_S, advance
from .lessons import Say
from .loudness import WORTH_DB, Side
from .state import State, World, trim_db
from .superjobs import Superjobs
from .teach import CancelTraining, TeachEffect, Train, taught

LISTEN_S = 0.06  # shorter than the scope's ring


class _Lesson(msgspec.Struct):
    order: Teach
    name: str  # of the rack
    deaths: int = 0


class Performing:
    """Orders the workshop's training and takes what comes of it; moves glides on. The functions are the server's."""

    def __init__(
        self,
        world: World,
        state: Callable[[], State],
        commit: Callable[[State], Any],
        to_workshop: Callable[[Teach], Any],
        notice: Callable[[str, str], Any],
        shared: Shared,
        jobs: Superjobs,
    ):
        self._world, self._state, self._commit = world, state, commit
        self._to_workshop, self._notice, self._jobs = to_workshop, notice, jobs
        self._tickets = itertools.count(-1, -1)  # those of slots count upwards
        self._lesson: _Lesson | None = None
        self._shared = shared
        self._gliding: asyncio.Task | None = None
        self._listening: asyncio.Task | None = None

    def do(self, effect: TeachEffect) -> None:
        """What a change of the SuperKnob leaves to be done."""
        match effect:
            case Train(anew):
                self._train(anew)
            case CancelTraining():
                if self._lesson:
                    self._over("info", "training is cancelled; what was learned before plays on", "stopped")
            case Say(text, level):
                self._notice(level, text)

    # --- training

    def _train(self, anew: bool) -> None:
        """Send the examples; an order that is not answered yet is forgotten."""
        state = self._state()
        superknob, ticket = state.scene.rack.superknob, next(self._tickets)
        mapping = None if anew else superknob.mapping
        examples = driving(state, self._world).taught
        if self._lesson:
            self._jobs.end(self._lesson.name, "stopped", "overtaken by a newer training")
        self._jobs.begin(state.scene.name, len(examples.examples))
        self._lesson = _Lesson(Teach(ticket, examples, mapping, seed=-ticket if anew else 0), state.scene.name)
        self._commit(replace(state, training=True))
        self._to_workshop(self._lesson.order)

    def taught(self, message: Taught) -> None:
        """Something was learned: it is played from now on, and undo brings back what was before."""
        lesson = self._lesson
        if lesson is None or lesson.order.ticket != message.ticket:
            return  # cancelled, or overtaken by a newer one
        count = len(lesson.order.examples.examples)
        done = f"trained on {count} example{'s' * (count != 1)} in {message.seconds:.1f} s"
        worst = max(message.residuals, default=0.0)
        self._jobs.done(lesson.name, message)
        self._over("info", f"{done}; the worst is missed by {worst:.3f} of a knob's travel")
        self._commit(taught(self._state(), self._world, lesson.name, message.mapping))
        for remark in message.remarks:
            self._notice("warning", remark)

    def failed(self, message: Failed) -> bool:
        """The examples could not be learned; False where the order was another one."""
        if message.ticket >= 0:
            return False
        if self._lesson and self._lesson.order.ticket == message.ticket:
            self._over("error", f"SuperKnob: {message.error}; what was learned before plays on")
        return True

    def _over(self, level: str, text: str, state: str = "failed") -> None:
        if self._lesson:
            self._jobs.end(self._lesson.name, state, text)
        self._lesson = None
        self._commit(replace(self._state(), training=False))
        self._notice(level, text)

    def workshop_ready(self) -> None:
        """A new workshop: it gets the order that nobody answered."""
        if self._lesson:
            self._to_workshop(self._lesson.order)

    def workshop_gone(self) -> None:
        """The order waits for a new workshop, unless it may be what ended two of them."""
        if self._lesson:
            self._lesson.deaths += 1
            if self._lesson.deaths >= 2:
                self._over("error", "SuperKnob: the workshop ended twice while it trained; what was learned plays on")

    # --- gliding

    def glide(self) -> None:
        """Move on what glides, until nothing does."""
        if self._gliding is None or self._gliding.done():
            self._gliding = asyncio.get_running_loop().create_task(self._glide())

    async def _glide(self) -> None:
        then = time.monotonic()
        while self._state().glides:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._commit(advance(self._state(), self._world, now - then))
            then = now

    # --- A and B equally loud

    def listen(self) -> None:
        """Hear how loud A and B are, for as long as that is wanted."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        sides, shared = {"A": Side(), "B": Side()}, self._shared
        read, racks, before = int(shared.scope_written[0]), dict[str, Rack](), ""
        while self._state().match:
            await asyncio.sleep(LISTEN_S)
            state, written = self._state(), int(shared.scope_written[0])
            scene, side = state.scene, sides[state.scene.compare]
            if racks.get(scene.compare) != scene.rack:
                racks[scene.compare] = scene.rack
                side.changed()
            count = min(max(written - read, 0), SCOPE // 2)
            if scene.compare == before and count:  # what was heard while it changed is of neither
                frames = np.zeros((count, 2), np.float32)
                take(shared.scope, written - count, frames)
                side.hear(frames, state.audio.rate, trim_db(state))
            read, before = written, scene.compare
            known, level = state.levels_db.get(scene.compare), side.level_db
            if level is not None and (known is None or abs(level - known) > WORTH_DB):
                self._commit(replace(state, levels_db={**state.levels_db, scene.compare: round(level, 1)}))

    def end(self) -> None:
        """Nothing moves any more."""
        for task in (self._gliding, self._listening):
            if task:
                task.cancel()
