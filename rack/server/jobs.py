"""The queue of training jobs: one runs, the others wait; what they make plays where a person wants to hear it.

Everything is written down as it happens, so that after a kill or a reboot the job that ran goes on from its checkpoint.
The keys are listed in `rack.jobs`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ..checks import nearest, shown, text
from ..jobs import JOB_KEYS, LIVE, MOST_JOBS, Job, JobRecord, NewJob, Pair, Spectrum
from ..shared import Shared
from . import jobfiles, jobslots, pairs
from .clients import Clients
from .jobfiles import JobError, Kept
from .joblisten import Listening, fields
from .jobrun import Runner
from .jobtable import Table
from .slotkeys import integer, number
from .state import State, World
from .superjobs import Superjobs
from .trainee import SWEEPER, TRAINER

logger = logging.getLogger(__name__)

FIRST_S = 1.0  # after which the queue begins: the sound comes first
TICK_S = 1.0


class Host(NamedTuple):
    """What the queue needs of the server."""

    state: Callable[[], State]
    world: World
    commit: Callable[[State], Any]
    show: Callable[[], None]
    set: Callable[..., Awaitable[Any]]
    clients: Clients
    shared: Shared


class Jobs:
    """All jobs, and the one trainer that runs."""

    def __init__(self, host: Host, command: Sequence[str] = TRAINER, sweeper: Sequence[str] = SWEEPER):
        self._host, say = host, host.clients.notice
        self._table = Table(host.show, say)
        self.superknob = Superjobs(host.show, lambda: host.set("superknob.train", "cancel"))
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        self._runner = Runner(
            self._table,
            host.shared,
            say,
            host.clients.figure,
            self._wake.set,
            lambda: jobslots.in_use(host.state()),
            self._over,
            command,
            sweeper,
        )
        self._listening = Listening(self._table, host.state, host.world, host.commit, say)
        self._pairs = pairs.Pairs(host.state, host.set, say)

    # --- beginning and end

    def start(self) -> None:
        """Take up the queue where it was left."""
        for line in self._table.wrong:
            self._host.clients.notice("warning", line)
        self._do(self._run())

    async def stop(self) -> None:
        """Put the running job away where it is; it goes on with the next server."""
        for task in list(self._tasks):
            task.cancel()
        await self._runner.put_away()
        await self._table.flush()

    def _do(self, work) -> None:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_S)
        looked = 0.0
        while True:
            self._wake.clear()
            try:
                if time.monotonic() - looked >= TICK_S:
                    looked = time.monotonic()
                    self._runner.look_at_sound()
                self._listening.play()
                await self._runner.next()
                await self._table.flush()
            except Exception:  # a fault of ours; the rack plays on
                logger.exception("the queue of jobs")
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()

    def _over(self, kept: Kept) -> None:
        """A trainer has ended; a re-roll may have waited for that."""
        if kept.after and kept.job.state not in LIVE:
            try:
                self._reroll({"id": kept.job.id, **kept.after})
            except (JobError, ValueError) as error:
                self._host.clients.notice("error", str(error))

    # --- what is known

    def view(self) -> tuple[Job, ...]:
        """The queue, then what is over, the newest first."""
        found = (*self._table.view(), *self.superknob.view())
        over = sorted((job for job in found if job.state not in LIVE), key=lambda job: job.created, reverse=True)
        return (*(job for job in found if job.state in LIVE), *over)

    def get(self, key: str) -> Any:
        """What stands at a key that begins with `jobs`. Raises JobError."""
        _, _, rest = key.partition(".")
        if not rest:
            return msgspec.to_builtins(self.view())
        id, _, what = rest.partition(".")
        if id in self.superknob:
            return self.superknob.get(id, what)
        job = self._table.find(id).job
        there: dict[str, Callable[[], Any]] = {
            "": lambda: job,
            "history": lambda: jobfiles.history(id),
            "log": lambda: jobfiles.tail(id),
            "run": lambda: jobfiles.tail(id, "run.toml"),
            "pair": lambda: jobfiles.read_as(id, "pair.json", Pair) or Pair(job.dry, job.wet, findings=job.findings),
            "spectrum": lambda: jobfiles.read_as(id, "spectrum.json", Spectrum),
        }
        if what not in there:
            raise JobError(f"{key[:100]}: no such key; a job has {', '.join(filter(None, there))}")
        return msgspec.to_builtins(there[what]())

    # --- keys

    async def set(self, key: str, value: Any) -> Any:
        """Carry out a change; when it is answered, it is written down. Raises RackError."""
        name = key.removeprefix("jobs.")
        known: dict[str, Callable[[Any], Any]] = {
            "start": self._start, "pause": self._pause, "resume": self._resume, "stop": self._stop,
            "continue": self._continue, "reroll": self._reroll, "move": self._move, "target": self._target,
            "title": self._title, "listen": self._listening.listen, "undo_checkpoint": self._listening.undo_checkpoint,
            "save": self._save, "remove": self._remove, "check": self._check, "compare": self._compare,
            "record_pair": self._record_pair,
        }  # fmt: skip
        if name not in known:
            raise JobError(f"{key[:100]}: no such key{nearest(key[:100], JOB_KEYS)}")
        id = _id(value)
        try:
            ours = isinstance(id, str) and id.partition(" ")[0] in self.superknob
            answer = self.superknob.set(name, id.partition(" ")[0]) if ours else known[name](value)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except ValueError as error:
            raise JobError(f"{key}: {error}") from None
        self._wake.set()
        await self._table.flush()
        return answer

    def _start(self, value: Any) -> str:
        value = {"run": value} if isinstance(value, str) else value
        try:
            wanted = msgspec.convert(value, NewJob)
        except msgspec.ValidationError as error:
            raise JobError(f"jobs.start: {error}") from None
        if len(list(self._table)) >= MOST_JOBS:
            raise JobError(f"jobs.start: there are {MOST_JOBS} jobs already; remove some that are over")
        if wanted.slot:
            self._listening.slot(wanted.slot)
        state = self._host.state()
        kept = jobfiles.new(wanted, time.strftime("%Y-%m-%dT%H:%M:%S"), state.audio.rate)
        id = kept.job.id
        self._table.put(replace(kept, job=replace(kept.job, rack=state.scene.name if wanted.slot else "")))
        if wanted.slot:
            self._listening.only_in(id, wanted.slot)
        if wanted.front:
            self._table.move(id, 0)
        self._do(self._examine(id))
        return id

    def _pause(self, value: Any) -> None:
        kept = self._table.find(_id(value))
        if kept.job.state not in LIVE:
            raise ValueError(f"{kept.job.id} is {kept.job.state}; only a job in the queue can be paused")
        if self._runner.has(kept.job.id):
            self._runner.ask("pause")
        self._table.change(kept.job.id, state="paused", auto_paused=False, note="paused")

    def _resume(self, value: Any) -> None:
        kept = self._table.find(_id(value))
        match kept.job.state:
            case "running" | "queued":
                return
            case "done":
                raise ValueError(f"{kept.job.id} is done; jobs.continue trains it longer")
            case "paused" if self._runner.has(kept.job.id):
                self._runner.ask("pause", False)
                self._table.change(kept.job.id, state="running", auto_paused=False, note="")
            case _:
                self._table.change(kept.job.id, state="queued", auto_paused=False, note="", early=0, ending="")

    def _stop(self, value: Any, why: str = "stopped by hand") -> None:
        kept = self._table.find(_id(value))
        if kept.job.state not in LIVE:
            raise ValueError(f"{kept.job.id} is {kept.job.state} already")
        if self._runner.has(kept.job.id):
            self._runner.ask("stop")
            self._runner.ask("pause", False)
            note = "stopping; the best so far is kept"
            self._table.change(kept.job.id, state="running", auto_paused=False, ending=why, note=note)
        else:
            self._table.change(kept.job.id, state="stopped", auto_paused=False, note=why)

    def _move(self, value: Any) -> None:
        asked = fields(value, "id", "place")
        kept = self._table.find(asked.get("id"))
        if not jobfiles.in_queue(kept):
            raise ValueError(f"{kept.job.id} is {kept.job.state}; only jobs in the queue can be moved")
        self._table.move(kept.job.id, integer(asked.get("place"), "the place must be a whole number, from 0"))

    def _target(self, value: Any) -> None:
        asked = fields(value, "id", "esr")
        esr = number(asked.get("esr"), f"{shown(asked.get('esr'))}: the target must be a number, an ESR as in 0.01")
        id = self._table.find(asked.get("id")).job.id
        kept = self._table.change(id, target_esr=jobfiles.good_target(esr))
        self._runner.reached(kept)

    def _title(self, value: Any) -> None:
        asked = fields(value, "id", "title")
        id, title = self._table.find(asked.get("id")).job.id, jobfiles.good_title(asked.get("title"))
        self._table.change(id, title=title)

    async def _remove(self, value: Any) -> None:
        kept = self._table.find(_id(value))
        id = kept.job.id
        if players := jobslots.players(self._host.state(), id):
            where = ", ".join(players)
            raise ValueError(f"{where} plays a model of {id}; save it (jobs.save) or choose another model there first")
        if self._runner.has(id):
            await self._runner.kill()
        self._table.drop(id)
        await asyncio.to_thread(jobfiles.remove, id)

    # --- longer, and otherwise

    def _continue(self, value: Any) -> None:
        asked = fields(value, "id", "minutes")
        kept = self._table.find(asked.get("id"))
        minutes = number(asked.get("minutes", 0.0), "minutes must be a number")
        if kept.job.state in LIVE:
            raise ValueError(f"{kept.job.id} is {kept.job.state}; it can be trained longer when it is over")
        if kept.job.kind == "sweep":
            raise ValueError(f"{kept.job.id} is a sweep; start another with more trials, or train its best model on")
        schedule = jobfiles.budget(minutes, 0) | ({"early": 0.0} if kept.job.kind == "steer" else {})
        self._leg(kept, {"schedule": schedule}, "continued")

    def _reroll(self, value: Any) -> None:
        asked = fields(value, "id", "seed")
        kept = self._table.find(asked.get("id"))
        seed = integer(asked.get("seed", int(time.time()) % 1_000_000), "the seed must be a whole number")
        if kept.job.kind != "steer":
            raise ValueError(
                f"{kept.job.id} was not steered ({kept.job.kind}); only steering leaves controls to chance"
            )
        if kept.job.state in LIVE and (kept.job.last or kept.job.checkpoints):
            self._table.change(kept.job.id, after={"seed": seed})
            self._stop(kept.job.id, "stopped for other controls")
            if self._table[kept.job.id].job.state in LIVE:
                return
        kept = self._table.change(kept.job.id, after={})
        self._leg(kept, {"reroll": True, "seed": seed}, f"re-rolled, seed {seed}")
        self._table.move(kept.job.id, 0)

    def _leg(self, kept: Kept, changes: dict[str, Any], words: str) -> None:
        """Queue a continuation from the checkpoint that plays, or else from the model."""
        job, leg = kept.job, kept.leg + 1
        source = self._chosen(kept)
        base = next((each.step for each in job.checkpoints if each.number == job.playing), None)
        last = job.last or JobRecord()
        begin = jobfiles.of(job.id) / f"start-{leg}.nafx"
        begin.unlink(missing_ok=True)
        try:
            jobfiles.copy(source, begin)
        except OSError as error:
            raise JobError(f"{job.id}: {source} cannot be read: {error.strerror or error}") from None
        jobfiles.next_leg(kept, leg, {"start_from": str(begin), **changes})
        kept = replace(kept, leg=leg, base_step=last.step if base is None else base, base_seconds=last.seconds,
                       early=0, ending="", words="" if words == "continued" else words)  # fmt: skip
        self._table.put(replace(kept, job=replace(job, state="queued", note=words, following=True)))

    def _chosen(self, kept: Kept) -> Path:
        """The model file that counts: the checkpoint that plays, or else the newest. Raises ValueError."""
        played = next((each.path for each in kept.job.checkpoints if each.number == kept.job.playing), kept.job.model)
        if not Path(played).is_file():
            raise ValueError(f"{kept.job.id} has no model yet; wait for its first checkpoint")
        return Path(played)

    # --- what is kept, and the recordings

    def _save(self, value: Any) -> str:
        asked = fields(value, "id", "name")
        kept = self._table.find(asked.get("id"))
        name = text(asked.get("name") or kept.job.title)
        path = str(jobfiles.to_library(self._chosen(kept), name))
        state = self._host.state()
        slot = jobslots.slot_of(state, kept.job.slot)
        over = kept.job.state not in LIVE
        kept = self._table.change(kept.job.id, saved=path)
        if slot and over and jobfiles.is_ours(slot.model, kept.job.id):  # from now on the rack does without the job
            self._table.change(kept.job.id, slot="", playing=-1, bound=False)
            self._host.commit(jobslots.heard(state, self._host.world, kept.job.id, slot.id, path))
        self._host.clients.notice("info", f"saved {kept.job.title} to {path}")
        return path

    async def _examine(self, id: str) -> None:
        """Look at a job's recordings, for its check list."""
        job = self._table[id].job
        if not job.wet:
            return
        try:
            found = await self._pairs.examined(job.dry, job.wet)
        except JobError as error:
            logger.info("%s: %s", id, error)  # the trainer will say so, too
            return
        if id in self._table:
            with suppress(OSError):
                jobfiles.write_plain(id, "pair.json", found)
            self._table.change(id, findings=found.findings)

    async def _check(self, value: Any) -> Any:
        asked = fields(value, "dry", "wet")
        dry, wet = text(asked.get("dry", "")), text(asked.get("wet", ""))
        return msgspec.to_builtins(await self._pairs.examined(dry, wet))

    async def _compare(self, value: Any) -> None:
        asked = fields(value, "id", "what")
        kept, what = self._table.find(asked.get("id")), asked.get("what", "off")
        if what not in ("model", "original", "off"):
            raise ValueError("what to hear must be model, original or off")
        await self._pairs.compare(kept.job, what)
        for other in self._table:
            now = what if other.job.id == kept.job.id else "off"
            if other.job.comparing != now:
                self._table.change(other.job.id, comparing=now)

    async def _record_pair(self, value: Any) -> dict[str, str]:
        return await self._pairs.record(fields(value, "what", "name"))


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value
