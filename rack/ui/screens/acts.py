"""Commands that ask something first, or that concern only the screen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rack.library import Entry

from ..commands import BY_NAME, COMMANDS, key_names
from ..widgets.xypad import Axis
from .dialogs import Ask, Choice, Confirm, Pick, file_there, folder_there
from .overlays import Help, Jump
from .pages import MODEL, box_choices
from .settings import Settings
from .teaching import TEACHING

if TYPE_CHECKING:
    from .rack import RackScreen

SOURCES: tuple[Choice, ...] = (
    Choice("input", "input", "What is plugged into the sound card"),
    Choice("loop", "loop", "The loop that ships with nafx-rack"),
    Choice("file", "file ...", "A sound file of your own, played round and round"),
)


async def add(screen: RackScreen) -> None:
    """Ask for a kind of box, and for its file if it plays one."""
    kind = await screen.app.push_screen_wait(Pick("add a box", box_choices(screen.app.boxes)))
    if kind is None:
        return
    model = ""
    if kind == MODEL:
        start = screen.slot.model if screen.slot is not None else ""
        folder = f"{PurePath(start).parent}/" if start else ""
        asked = Ask("model file", folder, hint="NAM, GuitarML, or our own format", path=True, check=file_there)
        model = await screen.app.push_screen_wait(asked) or ""
        if not model:
            return
    await add_box(screen, kind, model)


async def add_box(screen: RackScreen, kind: str, model: str = "") -> None:
    """Add a box behind the slot in focus, and say what became of it."""
    index = screen.rack.current_index + 1 if screen.rack.panels else 0
    value = {"type": kind, "index": index, "model": model}
    if await screen.app.ask("slots.add", value):
        screen.status.say(f"added {kind}" + (f" {PurePath(model).name}" if model else ""))


async def play(screen: RackScreen, path: str, steps: list[str], add: bool) -> None:
    """A model of the library into the slot in focus; into a new one where that plays none, or with `add`."""
    slot, app = screen.slot, screen.app
    await app.ask("library.audition", steps)
    if add or slot is None or slot.type != MODEL:
        return await add_box(screen, MODEL, path)
    gesture = app.gestures.burst(f"{slot.id}.model", time.monotonic())
    if await app.ask(f"{slot.id}.model", path, gesture):
        screen.status.say(f"{slot.id}: {PurePath(path).name}", hold=True)
    return None


async def mark(screen: RackScreen, entry: Entry, what: str) -> None:
    """Favourite, tags or notes of a model file."""
    if what == "favourite":
        value: Any = not entry.favourite
    else:
        hint = {"tags": "words to find it by; empty for none", "notes": "anything you want to remember"}[what]
        title = f"{what}: {entry.name}"
        value = await screen.app.push_screen_wait(Ask(title, getattr(entry, what), hint=hint, check=lambda text: ""))
        if value is None:
            return
    await screen.app.ask("library.mark", {"path": entry.path, what: value})


async def add_folder(screen: RackScreen) -> None:
    """A folder of model files, and everything below it."""
    asked = Ask("add a folder to the library", "~/", hint="it is read in the background", path=True, check=folder_there)
    folder = await screen.app.push_screen_wait(asked)
    if folder and await screen.app.ask("library.add", os.path.abspath(folder)):
        screen.status.say(f"{folder} is being read", hold=True)


async def edit(screen: RackScreen) -> None:
    """The settings of the slot in focus."""
    slot = screen.slot
    if slot is None:
        return screen.status.say("there is no slot to edit", "warning")
    box = screen.app.boxes.get(slot.type)
    form = Settings(slot, box.settings if box else (), box.help if box else "")
    changes = await screen.app.push_screen_wait(form)
    gesture = screen.app.gestures.new()
    for name, value in (changes or {}).items():
        key = f"{slot.id}.model" if name == "model" else f"{slot.id}.settings.{name}"
        screen.app.change(key, value, gesture)
    return None


async def source(screen: RackScreen) -> None:
    """Where the sound comes from."""
    view = screen.app.mirror.view
    chosen = await screen.app.push_screen_wait(Pick("source", SOURCES, view.source))
    if chosen == "file":
        asked = Ask("sound file", view.source_path, hint="WAV, FLAC or AIFF", path=True, check=file_there)
        path = await screen.app.push_screen_wait(asked)
        chosen = f"file:{path}" if path else None
    if chosen and await screen.app.ask("source", chosen):
        screen.status.say(f"source: {chosen}")


async def save(screen: RackScreen) -> None:
    """Write the preset under its name."""
    name = screen.app.mirror.view.rack
    if await screen.app.ask("save", ""):
        screen.status.say(f"saved {name}")


async def save_as(screen: RackScreen) -> None:
    """Write the preset under another name."""
    name = await screen.app.push_screen_wait(Ask("save as", screen.app.mirror.view.rack, hint="the preset's name"))
    if name and await screen.app.ask("save", name):
        screen.status.say(f"saved {name}")


async def stop(screen: RackScreen) -> None:
    """End everything, if that is really meant."""
    question = "Stop the sound, the server and everything it runs? Unsaved changes are kept for next time."
    if await screen.app.push_screen_wait(Confirm("stop", question)):
        screen.app.stop()


async def palette(screen: RackScreen) -> None:
    """Every command of the table and every preset, to be found by typing."""
    hidden = ("previous", "next", "palette")
    commands = [c for c in COMMANDS if c.where == "rack" and c.name not in hidden]
    choices = [Choice(c.name, c.help, " ".join(key_names(c)), c.group) for c in commands]
    presets = [Choice(f"preset {name}", f"Preset: {name}") for name in screen.app.mirror.view.racks]
    chosen = await screen.app.push_screen_wait(Pick("commands", [*choices, *presets]))
    if chosen in BY_NAME:
        screen.call_later(screen.run_action, BY_NAME[chosen].binding)
    elif chosen:
        screen.app.change("rack", chosen.removeprefix("preset "))


async def jump(screen: RackScreen) -> None:
    """Letters over the controls."""
    widget = await screen.app.push_screen_wait(Jump(screen.controls()))
    if widget is not None:
        widget.focus()


async def pick_axis(screen: RackScreen, axis: Axis) -> None:
    """The list of all knobs, for one axis of the pad."""
    choices = [Choice(key, key.replace(".", " / "), info.allowed) for key, info in screen.app.mirror.knobs.items()]
    key = await screen.app.push_screen_wait(Pick(f"knob for {axis.letter}", choices, axis.key))
    if key is not None:
        screen.app.change(f"xy.{axis.letter}", key)


async def type_place(screen: RackScreen) -> None:
    """Both values of the pad, in the knobs' units."""
    mirror = screen.app.mirror
    keys = [key for key in mirror.view.xy if key in mirror.knobs]

    def wrong(text: str) -> str:
        parts = text.split(",")
        if len(parts) != len(keys):
            return f"{len(keys)} values with a comma between them"
        try:
            for key, part in zip(keys, parts, strict=True):
                mirror.knobs[key].parse(part)
        except ValueError as error:
            return str(error)
        return ""

    text = await screen.app.push_screen_wait(Ask("x, y", hint="  ".join(keys), check=wrong))
    gesture = screen.app.gestures.new()
    for key, part in zip(keys, text.split(",") if text else (), strict=False):
        screen.app.turn(key, mirror.knobs[key].parse(part), gesture)
        screen.show_turn(key)


def _help(screen: RackScreen) -> None:
    screen.app.push_screen(Help())


def _asking(act: Callable) -> Callable[[RackScreen], None]:
    """As a worker, because a window is waited for."""

    def run(screen: RackScreen) -> None:
        screen.run_worker(act(screen), name=act.__name__, group="dialog", exclusive=True)

    return run


ACTS: dict[str, Callable[[RackScreen], None]] = {
    "previous": lambda screen: screen.step_focus(-1),
    "next": lambda screen: screen.step_focus(1),
    "help": _help,
    "leave": lambda screen: screen.app.leave(),
    **TEACHING,
    **{act.__name__: _asking(act) for act in (add, edit, source, save, save_as, stop, jump, palette)},
}
