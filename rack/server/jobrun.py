"""The running job: its trainer is started, listened to, put to rest while the sound comes late, and taken up again."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..jobs import JobLine, JobRecord, Spectrum, grade
from ..paths import write_atomically
from ..shared import Shared
from . import jobfiles, jobsweep
from .calm import Calm
from .jobfiles import JobError, Kept
from .jobtable import Table
from .trainee import SWEEPER, TRAINER, Trainee

logger = logging.getLogger(__name__)

RESTARTS = 3  # of a trainer that was killed, without a checkpoint between


class Runner:
    """At most one trainer at a time. `tell` gets each new figure, `wake` is called when there is something to decide.

    `in_use` answers with the model files that must stay, `over` is called with a job whose trainer has ended.
    """

    def __init__(
        self,
        table: Table,
        shared: Shared,
        say: Callable[[str, str], None],
        tell: Callable[[JobLine], None],
        wake: Callable[[], None],
        in_use: Callable[[], set[str]],
        over: Callable[[Kept], None],
        command: Sequence[str] = TRAINER,
        sweeper: Sequence[str] = SWEEPER,
    ):
        self._table, self._shared, self._say, self._tell = table, shared, say, tell
        self._wake, self._in_use, self._over = wake, in_use, over
        self._command, self._sweeper = command, sweeper
        self._trainee: Trainee | None = None
        self._active = ""
        self._calm = Calm()
        self._done: dict[str, Any] = {}  # the last record of the running leg

    def has(self, id: str) -> bool:
        """Whether there is a trainer at work on this job, or resting."""
        return self._trainee is not None and self._active == id

    @property
    def pid(self) -> int | None:
        """The trainer's process, while one runs."""
        return self._trainee.pid if self._trainee else None

    def ask(self, what: str, on: bool = True) -> None:
        """Have the trainer `pause`, go on, or `stop`. Raises JobError."""
        if self._trainee is None:
            return
        try:
            self._trainee.ask(what, on)
        except OSError as error:
            raise JobError(f"{self._active}: the trainer cannot be told: {error.strerror or error}") from None
        if what == "pause" and not on:
            self._calm.begin()

    async def put_away(self) -> None:
        """End the trainer so that its job can go on from here."""
        trainee, self._trainee, self._active = self._trainee, None, ""
        if trainee:
            await trainee.put_away()

    async def kill(self) -> None:
        """End the trainer; its job is given up."""
        trainee, self._trainee, self._active = self._trainee, None, ""
        if trainee:
            await trainee.kill()

    # --- who runs

    async def next(self) -> None:
        """Start the first that waits, if nothing runs; one that a person paused makes room for it."""
        waiting = next((kept for kept in self._table if kept.job.state == "queued"), None)
        if self._trainee:
            job = self._table[self._active].job
            if waiting is None or job.state != "paused" or job.auto_paused:
                return
            await self.put_away()
        if waiting and waiting.job.id in self._table:
            self._begin(self._table[waiting.job.id])

    def _begin(self, kept: Kept) -> None:
        job, place = kept.job, jobfiles.of(kept.job.id)
        run = place / ("run.toml" if kept.leg == 1 else f"run-{kept.leg}.toml")
        self._active, self._done = job.id, {}
        self._calm.begin()
        hear, end = partial(self._heard, job.id), partial(self._ended, job.id)
        sweeps = job.kind == "sweep"
        command = (*self._sweeper, str(run)) if sweeps else (*self._command, str(run), "--resume", "--pictures")
        self._trainee = Trainee(command, Path(job.model), hear, end)
        try:
            self._trainee.start()
        except OSError as error:
            self._trainee = None
            self._table.change(job.id, state="failed", note=f"{place}: {error.strerror or error}")
            return
        self._table.change(job.id, state="running", auto_paused=False, ending="", note="is starting")
        self._table.move(job.id, 0)

    def look_at_sound(self) -> None:
        """Put the trainer to rest while blocks come late, and take it up again after a while; once a second."""
        kept = self._table[self._active] if self._trainee else None
        job = kept.job if kept and not kept.ending else None  # one that is ending is soon out of the way
        ours = job is not None and (job.state == "running" or job.auto_paused)
        was = self._calm.resting
        rests = self._calm.look(int(self._shared.blocks[0]), int(self._shared.late[0]), ours)
        if self._trainee is None or job is None or not ours or rests == was:
            return
        with suppress(OSError):
            self._trainee.ask("pause", rests)
        state = "paused" if rests else "running"
        self._table.change(job.id, state=state, auto_paused=rests, note=self._calm.why)
        self._say("info", f"{job.title}: {self._calm.why or 'goes on'}")

    # --- what the trainer says

    def _heard(self, id: str, record: dict[str, Any]) -> None:
        if id not in self._table:
            return
        job = self._table[id].job
        with suppress(OSError):  # a full disk is the trainer's to report
            jobfiles.append(id, "log.jsonl", record)
        for each in jobsweep.as_training(record, job.last) if job.kind == "sweep" else [record]:
            self._take(self._table[id], each)

    def _take(self, kept: Kept, record: dict[str, Any]) -> None:
        id, job = kept.job.id, kept.job
        match record.get("event"):
            case "start":
                network = (record.get("network") or {}).get("kind", "")
                words = f"{network}, {record.get('parameters', 0)} parameters" if network else record.get("words", "")
                note = "" if job.state == "running" else job.note
                self._table.change(id, network=words, note=note)
            case "validation":
                self._validated(kept, record)
            case "warning":
                said = str(record.get("text", ""))[:300]
                if said not in job.warnings:
                    plateau = said if record.get("what") == "plateau" else kept.plateau
                    self._table.change(id, warnings=(*job.warnings, said)[-20:], plateau=plateau)
            case "checkpoint":
                self._keep(id)
            case "spectrum":
                self._spectrum(kept, record)
            case "done":
                self._done = record
                self._keep(id, "finished")

    def _keep(self, id: str, words: str = "") -> None:
        try:
            kept = jobfiles.keep_checkpoint(self._table[id], self._in_use(), words)
        except OSError as error:
            self._say("warning", f"{id}: a checkpoint cannot be kept: {error.strerror or error}; the training goes on")
            return
        if kept is not self._table[id]:
            self._table.put(kept)
            self._wake()

    def _validated(self, kept: Kept, record: dict[str, Any]) -> None:
        job, best = kept.job, _figure(record.get("best"))
        step = kept.base_step + int(record.get("step", 0))
        before = job.last or JobRecord()
        same = best is not None and best == before.best
        figure = JobRecord(
            step=step,
            seconds=kept.base_seconds + (_figure(record.get("seconds")) or 0.0),
            done=_figure(record.get("done")) or 0.0,
            loss=_figure(record.get("loss")),
            validation=_figure(record.get("validation_loss")),
            esr=_figure(record.get("esr")),
            best=best,
            best_step=before.best_step if same and before.best_step <= step else step,
            rate=_figure(record.get("rate")) or 0.0,
            eta=_figure(record.get("eta")),
            learning_rate=_figure(record.get("learning_rate")),
        )
        with suppress(OSError):
            jobfiles.append(job.id, "history.jsonl", figure)
        left = job.warnings
        if best is not None and not same:
            left = tuple(text for text in left if text != kept.plateau)
        kept = self._table.change(job.id, last=figure, esr=figure.esr, warnings=left)
        self._tell(JobLine(job.id, figure))
        self.reached(kept)

    def reached(self, kept: Kept) -> None:
        """End a job whose validation has reached its target."""
        job = kept.job
        if not (job.target_esr and job.last and job.last.esr is not None and job.last.esr <= job.target_esr):
            return
        if self.has(job.id) and not kept.ending:
            with suppress(JobError):
                self.ask("stop")
            self._table.change(job.id, ending=f"reached an ESR of {job.last.esr:.4f}")

    def _spectrum(self, kept: Kept, record: dict[str, Any]) -> None:
        record["step"] = kept.base_step + int(record.get("step", 0))
        with suppress(OSError, msgspec.ValidationError):
            jobfiles.write_plain(kept.job.id, "spectrum.json", msgspec.convert(record, Spectrum))

    # --- its end

    def _ended(self, id: str, code: int, said: str) -> None:
        if self._active == id:
            self._trainee, self._active = None, ""
        self._wake()
        if id not in self._table:
            return
        kept = self._table[id]
        if code == 0 and self._done:
            self._finished(kept)
        elif code < 0 and -code != signal.SIGTERM and kept.early < RESTARTS:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            note = f"the trainer was killed ({name}); it goes on from its checkpoint"
            state = "paused" if kept.job.state == "paused" and not kept.job.auto_paused else "queued"
            restarts = kept.job.restarts + 1
            self._table.change(id, state=state, auto_paused=False, early=kept.early + 1, restarts=restarts, note=note)
            if state == "queued":
                self._table.move(id, 0)
            self._say("warning", f"{kept.job.title}: {note}")
        else:
            again = " again and again; it may want more memory than there is" if code < 0 else ""
            note = said or (f"the trainer was killed{again}" if code < 0 else f"the trainer ended with status {code}")
            note = " ".join(note.split())
            self._table.change(id, state="failed", auto_paused=False, note=note)
            self._say("error", f"{kept.job.title}: {note}; the sound goes on")
        self._over(self._table[id])

    def _finished(self, kept: Kept) -> None:
        job, esr = kept.job, _figure(self._done.get("esr"))
        by_hand = bool(self._done.get("stopped")) and not kept.ending.startswith("reached")
        result = f"ESR {esr:.4f}, {grade(esr)}" if esr is not None and job.kind != "steer" else ""
        note = "; ".join(filter(None, (kept.ending, result)))
        state = "stopped" if by_hand else "done"
        self._table.change(job.id, state=state, auto_paused=False, esr=job.esr if esr is None else esr, note=note)
        if kept.deliver:
            try:
                write_atomically(Path(kept.deliver), Path(job.model).read_bytes())
            except OSError as error:
                self._say("warning", f"{kept.deliver}: cannot be written: {error.strerror}; the model is {job.model}")
        self._say("info", f"{job.title}: {state}{f' ({note})' if note else ''}")


def _figure(value: Any) -> float | None:
    """A finite number, or None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
