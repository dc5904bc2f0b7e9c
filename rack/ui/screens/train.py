"""The Train page: the queue of jobs, and of the highlighted one its curves, recordings, spectrum and check list.

It draws what the view says and asks the server for the rest when a job is looked at; every key is a change that is
sent. What is asked first stands in `screens.learn`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Vertical

from rack.jobs import LIVE, MOST_RECORDS, Job, JobLine, JobRecord, Pair, Spectrum

from ..art import jobs as art
from ..commands import bindings
from ..widgets.curves import ESR, LOSS, Bands, Curves, Wave
from ..widgets.listing import Listing
from ..widgets.queue import About, Checks, NextStep, Queue

if TYPE_CHECKING:
    from ..terminal import RackApp

WIDE, TALL = 104, 26  # cells from which all pictures are shown at once
ROWS = (4, 7)  # of the queue, small and large
KINDS = {"history": list[JobRecord], "pair": Pair, "spectrum": Spectrum | None}


class TrainPage(Vertical):
    """Jobs, and everything about one of them."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("train")]
    app: RackApp

    def __init__(self) -> None:
        super().__init__(classes="page train")
        self.next, self.queue, self.about = NextStep(), Queue(), About()
        self.curves, self.checks, self.wave, self.bands = Curves(), Checks(), Wave(), Bands()
        self._views = (LOSS, ESR, "checks", "wave", "bands")
        self._view = LOSS
        self._slot = ""
        self._known: dict[str, dict[str, Any]] = {}  # by job, then by what was asked for: its answer
        self._started = ""  # a job that was started here, until it is in the list
        self._looked: tuple = ()  # at which job, and at which state of it, the server was asked

    def compose(self) -> ComposeResult:
        self.border_title = "train"
        yield self.next
        yield self.queue
        yield self.about
        with Grid(classes="panels"):
            yield self.curves
            yield self.checks
            yield self.wave
            yield self.bands

    def on_mount(self) -> None:
        self._arrange()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= WIDE and event.size.height >= TALL, "-wide")
        self._arrange()

    # --- what arrives ---

    @property
    def job(self) -> Job | None:
        """The highlighted one."""
        return self.queue.job

    def show(self, jobs: tuple[Job, ...], slot: str) -> None:
        """Draw these jobs; the highlighted one stays it until one is started here. `slot` is the one in focus."""
        self._slot = slot
        if tuple(self.queue.lines) != jobs or self._started:
            ids = [job.id for job in jobs]
            chosen = self._started if self._started in ids else self.job.id if self.job else ""
            if chosen == self._started:
                self._started = ""
            fewer = bool(jobs) != bool(self.queue.lines)
            self.queue.show(jobs, ids.index(chosen) if chosen in ids else 0)
            if fewer:
                self._arrange()
        self._draw()

    def figure(self, line: JobLine) -> None:
        """A new figure of a job whose curves may be known."""
        history = self._known.get(line.id, {}).get("history")
        if history is not None and (not history or line.record.step > history[-1].step):
            history.append(line.record)
            del history[:-MOST_RECORDS]

    def forget(self) -> None:
        """The connection was lost: what came meanwhile is not known."""
        self._known.clear()
        self._looked = ()

    @on(Listing.Highlighted)
    def _moved(self, event: Listing.Highlighted) -> None:
        event.stop()
        self._draw()

    def _draw(self) -> None:
        job = self.job
        if not self.is_mounted or not self.display:
            return
        self.next.show(art.next_step(job, self._slot))
        known = self._known.get(job.id, {}) if job else {}
        held = self._known.get(self.queue.held, {}).get("history", ()) if job and job.id != self.queue.held else ()
        title = next((j.title or j.id for j in self.queue.lines if j.id == self.queue.held), "")
        self.about.show(job)
        self.curves.show(known.get("history", ()), held, title)
        self.checks.show(job, known.get("pair"))
        self.wave.show(known.get("pair"))
        self.bands.show(known.get("spectrum"))
        if job:
            self._ask_about(job)

    def _ask_about(self, job: Job) -> None:
        """Ask for what is not known of a job, or not any more: a new checkpoint has another spectrum."""
        state = (job.id, len(job.findings), job.checkpoints[-1].number if job.checkpoints else -1)
        if state == self._looked:
            return
        before, self._looked = self._looked, state
        known = self._known.setdefault(job.id, {})
        stale = {"pair": before[:2] != state[:2], "spectrum": True, "history": "history" not in known}
        self.run_worker(self._fetch(job.id, [what for what, old in stale.items() if old]), group="job")

    async def _fetch(self, id: str, wanted: list[str]) -> None:
        known = self._known.setdefault(id, {})
        for what in wanted:
            reply = await self.app.client.ask(f"jobs.{id}.{what}", read=True)
            if reply.error or (what == "history" and reply.value is None):
                if not self.app.client.connected:
                    self._looked = ()  # it is asked again when there is a server
                continue
            try:
                known[what] = msgspec.convert(reply.value, KINDS[what])
            except msgspec.ValidationError as error:
                self.app.rack_screen.status.say(f"{id}: {what}: {error}", "warning")
        if self.job and self.job.id == id:
            self._draw()

    # --- what is seen ---

    def _arrange(self) -> None:
        """All pictures side by side where there is room, or one of them; none where there are no jobs."""
        wide, empty = self.has_class("-wide"), not self.queue.lines
        self.queue.styles.height = "1fr" if empty else ROWS[wide]
        self.about.display = not empty
        shown = {LOSS: self.curves, ESR: self.curves, "checks": self.checks, "wave": self.wave, "bands": self.bands}
        for panel in self.query(".panel"):
            panel.display = not empty and (wide or panel is shown[self._view])
        self.query_one(".panels").display = not empty
        number = self._views.index(self._view) + 1
        self.border_subtitle = "" if empty else "g: loss or ESR" if wide else f"{number} of 5: g shows the next"

    def action_view(self) -> None:
        views = self._views[:2] if self.has_class("-wide") else self._views
        self._view = views[(views.index(self._view) + 1) % len(views)] if self._view in views else LOSS
        if self._view in (LOSS, ESR):
            self.curves.see(self._view)
        self._arrange()

    def action_hold(self) -> None:
        """Leave the curves of this job behind those of others, or take them away."""
        if self.job:
            self.queue.held = "" if self.queue.held == self.job.id else self.job.id
            held = f"the curves of {self.job.title or self.job.id} stay behind the others; choose another job"
            self._say(held if self.queue.held else "no curves are held")
            self.queue.repaint()
            self._draw()

    # --- what hands do ---

    def _say(self, text: str, level: str = "info") -> None:
        self.app.rack_screen.status.say(text, level)

    def _work(self, work: Coroutine) -> None:
        self.run_worker(work, group="dialog", exclusive=True)

    def _send(self, key: str, said: str = "", **more: Any) -> None:
        """A change of the highlighted job."""
        if self.job is None:
            return self._say("there is no job yet; n begins one", "warning")
        self.app.change(f"jobs.{key}", {"id": self.job.id, **more} if more else self.job.id, said=said)
        return None

    @on(Listing.Selected)
    def _chosen(self, event: Listing.Selected) -> None:
        event.stop()
        self.action_listen()

    def action_listen(self) -> None:
        """Play the job in the slot in focus, or no more; one that was held at a checkpoint follows the newest again."""
        job = self.job
        if job is None:
            self.action_new()
        elif not self._slot:
            self._say("there is no slot to play it in; add one on the rack page: R, y", "warning")
        elif job.slot == self._slot and job.playing >= 0 and job.following:
            self._send("listen", f"{job.slot} keeps what it plays and follows no more", slot="")
        else:
            self._send("listen", f"{self._slot} plays each new checkpoint", slot=self._slot)

    def action_new(self) -> None:
        from .learn import new_job

        self._work(new_job(self.app, self._slot, self._follow))

    def _follow(self, id: str) -> None:
        """Highlight this job, now or as soon as it is in the list."""
        self._started = id
        self.show(tuple(self.queue.lines), self.app.rack_screen.rack.current)

    def action_pause(self) -> None:
        job = self.job
        if job and job.state == "done":
            self._say("it is done; c trains it longer")
        elif job and job.state in ("running", "queued"):
            self._send("pause", "it rests")
        else:
            self._send("resume", "it goes on")

    def action_stop(self) -> None:
        self._send("stop", "it ends and keeps the best so far")

    def action_longer(self) -> None:
        if self.job:
            from .learn import longer

            self._work(longer(self.app, self.job))

    def action_reroll(self) -> None:
        self._send("reroll", "other controls for the same sound; [ brings the ones before back")

    def action_checkpoint(self, step: int) -> None:
        """Play an earlier checkpoint, or a later one; the newest is followed again."""
        job = self.job
        if job is None or not job.checkpoints:
            return self._say("there is no checkpoint yet", "warning")
        if not job.slot:
            return self._say("it plays in no slot; Enter plays it in the one in focus", "warning")
        numbers = [each.number for each in job.checkpoints]
        at = numbers.index(job.playing) if job.playing in numbers else len(numbers) - 1
        wanted = at + step
        if wanted < 0:
            return self._say("this is the earliest that is kept")
        if wanted >= len(numbers) - (step > 0):
            return self._send("listen", "it follows the newest checkpoint", slot=job.slot)
        number = numbers[wanted]
        return self._send("undo_checkpoint", f"checkpoint {number} of {numbers[-1]}", checkpoint=number)

    def action_compare(self) -> None:
        if self.job:
            what = "original" if self.job.comparing == "model" else "model"
            self._send("compare", f"you hear the {what}", what=what)

    async def action_back(self) -> None:
        if self.job and self.job.comparing != "off":
            self._send("compare", "your own playing again", what="off")
        else:
            await self.screen.run_action("page('rack')")

    def action_save(self) -> None:
        if self.job:
            from .learn import save

            self._work(save(self.app, self.job))

    def action_remove(self) -> None:
        if self.job:
            from .learn import remove

            self._work(remove(self.app, self.job))

    def action_move(self, step: int) -> None:
        if self.job and self.job.state in LIVE:
            self._send("move", place=max(self.job.place + step, 0))
        else:
            self._say("only a job that waits or runs has a place in the queue")

    def action_target(self) -> None:
        if self.job:
            from .learn import target

            self._work(target(self.app, self.job))

    def action_rename(self) -> None:
        if self.job:
            from .learn import rename

            self._work(rename(self.app, self.job))
