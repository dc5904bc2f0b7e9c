"""The SuperKnob's trainings in the list of jobs: the last one of each rack.

They stand beside the queue, not in it: the workshop, which is warm, trains in a fraction of a second, whatever the
trainer is at. What is learned, and what from, is in the rack; so nothing is written down here.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from ..jobs import LIVE, Job, JobRecord, Pair
from ..protocol import Taught
from .jobfiles import JobError


class Superjobs:
    """`show` is called when clients may see something new; `cancel` gives up what is being trained."""

    def __init__(self, show: Callable[[], None], cancel: Callable[[], Awaitable[Any]]):
        self._show, self._cancel = show, cancel
        self._jobs: dict[str, Job] = {}  # by the name of their rack
        self._curves: dict[str, list[JobRecord]] = {}
        self._numbers = itertools.count(1)

    def __contains__(self, id: object) -> bool:
        return any(job.id == id for job in self._jobs.values())

    def view(self) -> tuple[Job, ...]:
        return tuple(self._jobs.values())

    # --- what happens

    def begin(self, rack: str, examples: int) -> None:
        """A rack's SuperKnob is being trained."""
        id, now = f"superknob-{next(self._numbers)}", time.strftime("%Y-%m-%dT%H:%M:%S")
        title, note = f"SuperKnob of {rack}", f"{examples} example{'s' * (examples != 1)}"
        self._jobs[rack] = Job(id, "superknob", title, state="running", note=note, rack=rack, created=now)
        self._curves[rack] = []
        self._show()

    def done(self, rack: str, taught: Taught) -> None:
        """It has learned."""
        steps, curve = taught.steps, taught.curve
        error = taught.rmse**2
        last = JobRecord(steps, taught.seconds, 1.0, validation=error, best=error, best_step=steps)
        shares = [(n + 1) / len(curve) for n in range(len(curve))]
        points = [
            replace(last, step=math.ceil(share * steps), seconds=share * taught.seconds, done=share, validation=loss)
            for share, loss in zip(shares, curve, strict=True)
        ]
        self._curves[rack] = points or [last]
        count = len(taught.residuals)
        note = f"rmse {taught.rmse:.4f} over {count} example{'s' * (count != 1)}, {taught.seconds:.2f} s"
        self.end(rack, "done", note, last=last, warnings=taught.remarks)

    def end(self, rack: str, state: str, note: str, **more: Any) -> None:
        """It is over, one way or another; what has ended already stays as it is."""
        job = self._jobs.get(rack)
        if job and job.state in LIVE:
            self._jobs[rack] = replace(job, state=state, note=note, **more)
            self._show()

    # --- keys

    def _find(self, id: str) -> Job:
        return next(job for job in self._jobs.values() if job.id == id)

    def get(self, id: str, what: str) -> Any:
        """As `jobs.ID` and what is below it. Raises JobError."""
        job = self._find(id)
        there = {"": job, "history": self._curves[job.rack], "log": "", "run": "", "pair": Pair(), "spectrum": None}
        if what not in there:
            raise JobError(f"jobs.{id}.{what}: no such key; a job has {', '.join(filter(None, there))}")
        return msgspec.to_builtins(there[what])

    async def set(self, what: str, id: str) -> None:
        """What can be done about a training that takes a fraction of a second. Raises ValueError."""
        job = self._find(id)
        live = job.state in LIVE
        if what not in ("stop", "remove"):
            raise ValueError(f"{id} is the SuperKnob's: it can be stopped or removed; superknob.train trains it on")
        if what == "stop" and not live:
            raise ValueError(f"{id} is {job.state} already")
        if live:
            await self._cancel()
        if what == "remove":
            del self._jobs[job.rack], self._curves[job.rack]
            self._show()
