"""What is asked before a job begins or changes: the pair of recordings, the recipe, how long, under which name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rack.jobs import PRESETS, Job, grade
from rack.protocol import Reply

from ..art.text import clock
from .dialogs import Ask, Choice, Confirm, PathInput, Pick, file_there, folder_there
from .settings import Choices

if TYPE_CHECKING:
    from ..terminal import RackApp

HOW: tuple[Choice, ...] = (
    Choice("files", "two files", "What went into a device, and what came out of it", "WAV, FLAC or AIFF."),
    Choice(
        "both", "send and return", "Play the source out, record what comes back",
        "Output to the device, device to the input. The loop or file that is chosen as source is played and recorded.",
    ),
    Choice(
        "take", "a take of yours", "Play, then send that through the device",
        "You play straight into the input first; then your take goes out to the device, and its return is recorded.",
    ),
    Choice("folder", "a folder", "Recordings of a device with knobs", "One recording for each position of its knobs."),
)  # fmt: skip
LOOK_S = 0.3  # between two looks at a recording that goes on
KINDS = {"as it stands": "capture", "steered by two knobs": "steer"}
ABOUT = {
    "capture": "The device as it was set: nothing to turn but level.",
    "steer": "Two new knobs bend what was learned; good with less than a minute of recordings.",
    "parametric": "The device with its own knobs, from recordings at several positions.",
}


class Tell(ModalScreen[bool]):
    """A few words; Enter goes on, Esc leaves."""

    BINDINGS = [("enter,y", "dismiss(True)", "Go on"), ("escape,n,q", "dismiss(False)", "Leave")]

    def __init__(self, title: str, text: str, keys: str = "Enter goes on, Esc leaves"):
        super().__init__()
        self._title, self._text, self._keys = title, text, keys

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title, window.border_subtitle = self._title, self._keys
            yield Static(self._text, markup=False)


class Going(ModalScreen[Reply | None]):
    """A few words while the server is at something; its answer as soon as it names a wet file, None for Esc."""

    BINDINGS = [("escape,q", "dismiss(None)", "Give up")]

    def __init__(self, title: str, text: str, look: Callable[[], Awaitable[Reply]]):
        super().__init__()
        self._title, self._text, self._look = title, text, look

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title, window.border_subtitle = self._title, "Esc gives it up"
            yield Static(self._text, markup=False)

    def on_mount(self) -> None:
        self.run_worker(self._watch())

    async def _watch(self) -> None:
        while True:
            reply = await self._look()
            if reply.error or reply.value["wet"]:
                self.dismiss(reply)
                return
            await asyncio.sleep(LOOK_S)


class NewJobForm(ModalScreen[dict[str, Any] | None]):
    """Everything that a job needs; answers with a `NewJob` as a table."""

    BINDINGS = [("escape", "dismiss(None)", "Cancel"), ("ctrl+s", "take", "Start"), ("enter", "take", "Start")]

    def __init__(self, dry: str, wet: str, slots: tuple[str, ...], slot: str, folder: bool = False):
        super().__init__()
        self._dry, self._wet, self._slots, self._slot, self._folder = dry, wet, slots, slot, folder
        self._kind = "parametric" if folder else "steer"

    def compose(self) -> ComposeResult:
        with Vertical(classes="window -form") as window:
            window.border_title = "learn a sound"
            window.border_subtitle = "Tab next, Enter starts, Esc leaves"
            with VerticalScroll(can_focus=False):
                if self._folder:
                    yield from _field("recordings", PathInput(self._dry or "~/", "dry"))
                else:
                    yield from _field("dry", PathInput(self._dry or "~/", "dry"))
                    yield from _field("wet", PathInput(self._wet or "~/", "wet"))
                    yield from _field("learn it", Choices(KINDS, self._kind, "kind"), ABOUT[self._kind], "about")
                yield from _field("how", Choices(_presets(self._kind), "fast", "preset"))
                slots = {**{slot: slot for slot in self._slots}, "nowhere": ""}
                yield from _field("plays in", Choices(slots, self._slot, "slot"))
                yield from _field("minutes", Input(placeholder="as the preset says", id="minutes"))
                yield from _field("ends at ESR", Input(placeholder="never; 0.01 is very close", id="target"))
            yield Static("", id="said", classes="hint", markup=False)

    def on_mount(self) -> None:
        first = "#preset" if self._dry and self._folder else "#kind" if self._wet else "#dry Input"
        self.query_one(first).focus()

    @on(Choices.Changed, "#kind")
    def _chose(self) -> None:
        self._kind = self.query_one("#kind", Choices).value
        self.query_one("#preset", Choices).offer(_presets(self._kind), "fast")
        self.query_one("#about", Static).update(ABOUT[self._kind])

    def on_input_submitted(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        try:
            self.dismiss(self._asked())
        except ValueError as error:
            said = self.query_one("#said", Static)
            said.update(str(error))
            said.add_class("-wrong")

    def _asked(self) -> dict[str, Any]:
        """The table. Raises ValueError in words."""
        dry = self.query_one("#dry", PathInput).value
        files = {"folder": dry} if self._folder else {"dry": dry, "wet": self.query_one("#wet", PathInput).value}
        for path in files.values():
            if wrong := (folder_there if self._folder else file_there)(path):
                raise ValueError(wrong)
        title = Path(files.get("wet") or dry).stem
        preset, slot = self.query_one("#preset", Choices).value, self.query_one("#slot", Choices).value
        minutes = _number(self.query_one("#minutes", Input).value, "minutes", 1e5)
        target = _number(self.query_one("#target", Input).value, "ends at ESR", 1.0)
        return {"recipe": self._kind, "preset": preset, "title": title, "slot": slot, **files,
                "minutes": minutes, "target_esr": target}  # fmt: skip


def _field(name: str, editor: Any, about: str = "", id: str | None = None) -> ComposeResult:
    with Horizontal(classes="field"):
        yield Static(name, classes="name", markup=False)
        with Vertical(classes="editor"):
            yield editor
            if id:
                yield Static(about, classes="hint", markup=False, id=id)


def _presets(kind: str) -> dict[str, str]:
    return {words: name for name, words in PRESETS[kind].items()}


def _number(text: str, what: str, most: float) -> float:
    """A number that was typed, 0 where nothing was. Raises ValueError."""
    try:
        value = float(text) if text.strip() else 0.0
    except ValueError:
        value = -1.0
    if not 0 <= value < most:
        raise ValueError(f"{what}: {text.strip()!r} must be a number from 0 to {most:g}, or nothing")
    return value


# --- a new job --------------------------------------------------------------------------------------------------------


async def new_job(app: RackApp, slot: str, started: Callable[[str], None]) -> None:
    """Ask for a pair and a recipe, have the pair checked, and start; `started` is told the job's id."""
    how = await app.push_screen_wait(Pick("learn a sound from", HOW))
    if how is None:
        return
    pair = {"dry": "", "wet": ""}
    if how in ("both", "take"):
        found = await record(app, how)
        if found is None:
            return
        pair = found
    slots = tuple(each.id for each in app.mirror.view.slots)
    asked = await app.push_screen_wait(NewJobForm(pair["dry"], pair["wet"], slots, slot, how == "folder"))
    if asked is None:
        return
    if how != "folder" and not await checked(app, asked):
        return
    reply = await app.client.ask("jobs.start", asked)
    if not reply.error:
        if asked["slot"]:
            app.rack_screen.choose(asked["slot"])  # what is learned there is what the player turns to next
        started(str(reply.value))
    say = app.rack_screen.status.say
    say(reply.error or f"{asked['title']}: it is in the queue", "error" if reply.error else "info")


async def checked(app: RackApp, asked: dict[str, Any]) -> bool:
    """Whether the pair may be learned from: where the checks say no, a person may say yes."""
    app.rack_screen.status.say("the recordings are looked at ...", hold=True)
    reply = await app.client.ask("jobs.check", {"dry": asked["dry"], "wet": asked["wet"]})
    if reply.error:
        app.rack_screen.status.say(reply.error, "error")
        return False
    findings = (reply.value or {}).get("findings", [])
    bad = [finding for finding in findings if finding["severity"] == "bad"]
    if not bad:
        return True
    lines = [" ".join(filter(None, (f["message"], f["reason"], f["remedy"]))) for f in bad]
    if not await app.push_screen_wait(Confirm("learn from it all the same?", "\n\n".join(lines))):
        return False
    asked["force"] = True
    return True


async def record(app: RackApp, how: str) -> dict[str, str] | None:
    """Record a pair; None where it did not come to that.

    Only what is played out twice lies alike twice, to the sample; so nobody is asked to play the same thing again.
    """

    async def ask(what: str) -> Reply:
        return await app.client.ask("jobs.record_pair", {"what": what, "name": name})

    def refused(reply: Reply) -> None:
        app.rack_screen.status.say(reply.error, "error")

    name = time.strftime("%Y-%m-%d_%H%M%S")
    if how == "take":
        if (reply := await ask("dry")).error:
            return refused(reply)
        text = "Play now, straight into the input, for a minute or so."
        kept = await app.push_screen_wait(Tell("recording dry", text, "Enter ends it, Esc gives it up"))
        reply = await ask("stop")
        if not kept:
            return None
        if reply.error:
            return refused(reply)
        ready = "Connect the output to the device and the device to the input. Enter plays your take through it."
        if not await app.push_screen_wait(Tell("now through the device", ready)):
            return None
    if (reply := await ask("wet" if how == "take" else "both")).error:
        return refused(reply)
    text = f"{Path(reply.value['signal']).name} is played out, and what comes back is recorded."
    found = await app.push_screen_wait(Going("recording wet", text, partial(ask, "look")))
    if found is None:
        await ask("stop")
        return None
    return refused(found) if found.error else found.value


# --- about one job ----------------------------------------------------------------------------------------------------


async def longer(app: RackApp, job: Job) -> None:
    """Train on, for some minutes."""

    def wrong(text: str) -> str:
        try:
            _number(text, "minutes", 1e5)
        except ValueError as error:
            return str(error)
        return ""

    spent = f"{clock(job.last.seconds)} so far; " if job.last else ""
    hint = f"{spent}nothing: as long as the preset says"
    text = await app.push_screen_wait(Ask(f"train {job.title} on, minutes", "5", hint=hint, check=wrong))
    if text is not None:
        more = {"minutes": float(text)} if text.strip() else {}
        await app.ask("jobs.continue", {"id": job.id, **more}, said="it is in the queue again")


async def save(app: RackApp, job: Job) -> None:
    """A copy of what plays, in the library."""
    hint = "what plays now" if job.playing >= 0 else "the best so far"
    hint += f", ESR {job.esr:.4f} ({grade(job.esr)})" if job.esr is not None else ""
    name = await app.push_screen_wait(Ask("save in the library as", job.title or job.id, hint=hint))
    if name:
        reply = await app.client.ask("jobs.save", {"id": job.id, "name": name})
        text = reply.error or f"saved as {reply.value or name}"
        app.rack_screen.status.say(text, "error" if reply.error else "info", hold=True)


async def remove(app: RackApp, job: Job) -> None:
    """Remove a job and all that it has learned, if that is meant."""
    kept = f" The copy at {job.saved} stays." if job.saved else " Nothing of it was saved in the library."
    question = f"Remove {job.title or job.id}, its checkpoints and its log?{kept}"
    if await app.push_screen_wait(Confirm("remove", question)):
        await app.ask("jobs.remove", job.id, said=f"{job.title or job.id} is removed")


async def target(app: RackApp, job: Job) -> None:
    """At which ESR it ends by itself."""

    def wrong(text: str) -> str:
        try:
            _number(text, "ends at ESR", 1.0)
        except ValueError as error:
            return str(error)
        return ""

    value = f"{job.target_esr:g}" if job.target_esr else ""
    hint = "0.01 very close, 0.035 close, 0.1 recognisable; nothing: it does not end by itself"
    text = await app.push_screen_wait(Ask("ends at ESR", value, hint=hint, check=wrong))
    if text is not None:
        esr = float(text) if text.strip() else 0.0
        await app.ask("jobs.target", {"id": job.id, "esr": esr}, said=f"it ends at ESR {esr:g}" if esr else "no target")


async def rename(app: RackApp, job: Job) -> None:
    """Another title."""
    title = await app.push_screen_wait(Ask("title", job.title))
    if title:
        await app.ask("jobs.title", {"id": job.id, "title": title})
