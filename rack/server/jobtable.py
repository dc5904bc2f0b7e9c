"""All jobs in the order of their queue, each written down when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from ..checks import nearest
from ..jobs import Job
from . import jobfiles
from .jobfiles import JobError, Kept


class Table:
    """`show` is called when clients may see something new, `say(level, text)` when there is something to be said."""

    def __init__(self, show: Callable[[], None], say: Callable[[str, str], None]):
        found, self.wrong = jobfiles.read_all()
        self._jobs = {kept.job.id: _waiting(kept) for kept in found}  # the live ones in the order of the queue
        self._show, self._say = show, say
        self._dirty: set[str] = set()
        self._writing = asyncio.Lock()
        self._write_failed = False

    def __iter__(self) -> Iterator[Kept]:
        return iter(list(self._jobs.values()))

    def __contains__(self, id: object) -> bool:
        return id in self._jobs

    def __getitem__(self, id: str) -> Kept:
        return self._jobs[id]

    def view(self) -> tuple[Job, ...]:
        """All of them, those of the queue in its order."""
        return tuple(kept.job for kept in self)

    def find(self, id: Any) -> Kept:
        """The job that somebody names. Raises JobError."""
        if not isinstance(id, str) or id not in self._jobs:
            known = ", ".join(self._jobs) or "none"
            raise JobError(f"{str(id)[:60]}: no such job{nearest(str(id)[:60], self._jobs)}; there are: {known}")
        return self._jobs[id]

    def change(self, id: str, **changes: Any) -> Kept:
        """Other fields of a Kept, or of its Job."""
        kept = self._jobs[id]
        own = {name: changes.pop(name) for name in list(changes) if name in Kept.__struct_fields__}
        return self.put(replace(kept, job=replace(kept.job, **changes), **own))

    def put(self, kept: Kept) -> Kept:
        """A job in its place, or a new one at the end."""
        self._jobs[kept.job.id] = kept
        self._dirty.add(kept.job.id)
        self._count()
        return self._jobs[kept.job.id]

    def _count(self) -> None:
        place = 0
        for id, each in self._jobs.items():
            now = place if jobfiles.in_queue(each) else -1
            place += now >= 0
            if each.job.place != now:
                self._jobs[id] = replace(each, job=replace(each.job, place=now))
                self._dirty.add(id)
        self._show()

    def move(self, id: str, place: int) -> None:
        """Put a job of the queue at another place, from 0."""
        live = [kept.job.id for kept in self if jobfiles.in_queue(kept) and kept.job.id != id]
        live.insert(min(max(place, 0), len(live)), id)
        rest = [each for each in self._jobs if each not in live]
        self._jobs = {each: self._jobs[each] for each in (*live, *rest)}
        self._count()

    def drop(self, id: str) -> None:
        """Forget a job."""
        self._jobs.pop(id, None)
        self._count()

    async def flush(self) -> None:
        """Write down what has changed."""
        async with self._writing:
            wanted, self._dirty = [self._jobs[id] for id in self._dirty if id in self._jobs], set()
            try:
                for kept in wanted:
                    await asyncio.to_thread(jobfiles.write, kept)
                self._write_failed = False
            except OSError as error:
                self._dirty |= {kept.job.id for kept in wanted}
                if not self._write_failed:
                    why = f"{jobfiles.folder()}: jobs cannot be written down: {error.strerror or error}"
                    self._say("error", f"{why}; the sound goes on")
                self._write_failed = True


def _waiting(kept: Kept) -> Kept:
    """A job as the next server finds it: one that ran goes on, one that was heard will be, whatever the rack forgot."""
    kept = replace(kept, bound=kept.bound and kept.job.playing < 0)
    if kept.job.state != "running" and not kept.job.auto_paused:
        return kept
    job = replace(kept.job, state="queued", auto_paused=False, note="goes on from its checkpoint")
    return replace(kept, job=job)
