"""Everything that can be done, in one table: bindings, footer, help and palette are made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rack.protocol import SlotView, View

Value = Callable[[View, SlotView | None, int], Any]  # of the view, the slot in focus and its index


@dataclass(frozen=True)
class Command:
    """One thing to do. With `sets` it is a change sent to the server, otherwise an action of the screen.

    `where` is the widget that binds the keys; `rank` orders the footer, 0 keeps it out of there.
    """

    name: str
    keys: str  # Textual's names, separated by commas
    help: str
    group: str
    short: str = ""
    rank: int = 0
    where: str = "rack"
    action: str = ""
    sets: str = ""  # {slot} stands for the slot in focus
    value: Value | None = None
    later: bool = False  # known, and answered with "not yet"
    said: str = ""  # in the status line afterwards, where nothing else shows that it was done
    burst: bool = False  # presses in a row are one gesture
    shown: str = ""  # in the footer, where one word stands for several commands

    @property
    def binding(self) -> str:
        """The Textual action behind the keys."""
        return self.action or f"command('{self.name}')"


def _always(value: Any) -> Value:
    return lambda view, slot, index: value


def _moved(by: int) -> Value:
    return lambda view, slot, index: [slot.id, min(max(index + by, 0), len(view.slots) - 1)] if slot else None


C = Command
COMMANDS: tuple[Command, ...] = (
    C("previous", "left,h,shift+tab", "Previous control", "Move"),
    C("next", "right,l,tab", "Next control", "Move"),
    C("jump", "o", "Jump to a control by its letter", "Move", "jump", 8),
    C("up", "up,k,plus", "One step up: 1 %, 0.5 dB or one label", "Turn", "turn", 1, "knob", "nudge(1)", shown="↑↓"),
    C("down", "down,j,minus", "One step down", "Turn", "", 0, "knob", "nudge(-1)"),
    C("fine_up", "shift+up,K", "A tenth of a step up", "Turn", "", 0, "knob", "nudge(0.1)"),
    C("fine_down", "shift+down,J", "A tenth of a step down", "Turn", "", 0, "knob", "nudge(-0.1)"),
    C("coarse_up", "pageup", "Ten steps up", "Turn", "", 0, "knob", "nudge(10)"),
    C("coarse_down", "pagedown", "Ten steps down", "Turn", "", 0, "knob", "nudge(-10)"),
    C("minimum", "home", "Minimum", "Turn", "", 0, "knob", "edge(0)"),
    C("maximum", "end", "Maximum", "Turn", "", 0, "knob", "edge(1)"),
    C("type", "enter", "Type a value with its unit (a digit begins it)", "Turn", "type", 2, "knob", "type"),
    C("default", "backspace", "Default (double-click does the same)", "Turn", "default", 10, "knob", "default"),
    C("bypass", "space", "Bypass the slot", "Slot", "bypass", 3, sets="{slot}.bypass",
      value=lambda view, slot, index: not slot.bypass if slot else None),
    C("add", "y,insert", "Add a box after this one", "Slot", "add", 4),
    C("remove", "delete", "Remove the slot", "Slot", "remove", 12, sets="slots.remove",
      value=lambda view, slot, index: slot.id if slot else None),
    C("edit", "e", "Edit its settings, choose its model", "Slot", "edit", 5),
    C("move_left", "<", "Move the slot towards the input", "Slot", sets="slots.move", value=_moved(-1)),
    C("move_right", ">", "Move the slot towards the output", "Slot", sets="slots.move", value=_moved(1)),
    C("model_previous", "[", "Previous model, of the folder or the last search", "Slot",
      sets="{slot}.model.step", value=_always(-1), burst=True),
    C("model_next", "]", "Next model, of the folder or the last search", "Slot",
      sets="{slot}.model.step", value=_always(1), burst=True),
    C("undo", "u", "Undo the last gesture", "Rack", "undo", 6, sets="undo", value=_always(True), said="undone"),
    C("redo", "ctrl+r", "Redo", "Rack", sets="redo", value=_always(True), said="redone"),
    C("compare", "x", "Swap A and B", "Rack", "A/B", 9, sets="compare", value=_always(True)),
    C("copy", "c", "Copy this one to the other of A and B", "Rack", sets="compare.copy", value=_always(True),
      said="copied: A and B are the same now"),
    C("match", "equals_sign", "A and B equally loud", "Rack", sets="compare.match", value=_always(True)),
    C("preset_previous", "{", "Previous preset", "Rack", sets="rack.step", value=_always(-1)),
    C("preset_next", "}", "Next preset", "Rack", sets="rack.step", value=_always(1)),
    C("save", "w", "Save the preset", "Rack", "save", 11),
    C("save_as", "W", "Save under another name", "Rack"),
    C("vary", "v", "Vary all knobs a little, at random", "Rack", sets="vary", value=_always(True)),
    C("snapshot_keep", "n", "Keep where the knobs stand as a snapshot", "Rack", sets="snapshot.keep",
      value=_always("")),
    C("snapshot_previous", "(", "Previous snapshot", "Rack", sets="snapshot.step", value=_always(-1)),
    C("snapshot_next", ")", "Next snapshot", "Rack", sets="snapshot.step", value=_always(1)),
    C("snapshots", "N", "Snapshots: recall, rename, delete, morph", "Rack"),
    C("bypass_all", "b", "Bypass the whole rack", "Sound", sets="bypass",
      value=lambda view, slot, index: not view.bypass),
    C("mute", "p", "Panic: mute the output", "Sound", "mute", 13, sets="mute",
      value=lambda view, slot, index: not view.mute),
    C("source", "i", "Choose the source: input, loop or a file", "Sound", "source", 14),
    C("record", "r", "Record the output, or stop recording", "Sound", "record", 15, sets="record",
      value=lambda view, slot, index: not view.recording),
    C("meters_reset", "", "Reset the clip lights and the maximum levels", "Sound", sets="meters.reset",
      value=_always(True), said="clip lights and maximum levels reset"),
    C("superknob", "s", "Go to the SuperKnob, or back", "SuperKnob", "SuperKnob", 17),
    C("example", "a", "Add an example for the SuperKnob", "SuperKnob", "example"),
    C("train_superknob", "t", "Train the SuperKnob on its examples; cancel that", "SuperKnob", "train",
      sets="superknob.train", value=lambda view, slot, index: "cancel" if view.superknob.lamp == "training" else ""),
    C("link", "f", "The knob follows the SuperKnob, or does not", "SuperKnob"),
    C("superknob_more", "E", "SuperKnob: train anew, reset, clear, glide, pad", "SuperKnob"),
    C("superknob_mode", "space", "Teach, or Play", "SuperKnob", "teach/play", 1, "super",
      "screen.command('superknob_mode')", sets="superknob.mode", value=_always("toggle")),
    C("superknob_compare", "x", "Mapping A or B", "SuperKnob", "old/new", 4, "super",
      "screen.command('superknob_compare')", sets="superknob.compare", value=_always("toggle")),
    C("example_recall", "enter", "Recall the example: SuperKnob and knobs", "SuperKnob", "recall", 1, "lessons",
      "screen.command('example_recall')"),
    C("example_overwrite", "O", "Overwrite the example with the present knobs", "SuperKnob", "overwrite", 2,
      "lessons", "screen.command('example_overwrite')"),
    C("example_move", "M", "Move the example to where the SuperKnob stands", "SuperKnob", "move here", 3, "lessons",
      "screen.command('example_move')"),
    C("example_rename", "n", "Rename the example", "SuperKnob", "rename", 4, "lessons",
      "screen.command('example_rename')"),
    C("example_delete", "delete", "Delete the example", "SuperKnob", "delete", 5, "lessons",
      "screen.command('example_delete')"),
    C("learn", "m", "Learn a MIDI or OSC control for a knob", "SuperKnob", later=True),
    C("page_rack", "R", "The rack", "Pages", action="page('rack')"),
    C("page_xy", "X", "The XY pad", "Pages", action="page('xy')"),
    C("page_train", "T", "Training", "Pages", action="page('train')"),
    C("page_library", "L", "The library of models", "Pages", action="page('library')"),
    C("page_scope", "S", "The oscilloscope", "Pages", action="page('scope')"),
    C("help", "?", "All keys", "Pages", "help", 7),
    C("palette", "ctrl+p", "Command palette", "Pages"),
    C("leave", "q,ctrl+q", "Leave; the sound goes on", "Pages", "leave", 16),
    C("stop", "Q", "Stop the sound and everything else", "Pages"),
    C("pad_left", "left,h", "Move along x", "XY pad", "move", 1, "pad", "move(-1, 0)", shown="←→↑↓"),
    C("pad_right", "right,l", "Move along x", "XY pad", where="pad", action="move(1, 0)"),
    C("pad_up", "up,k", "Move along y", "XY pad", where="pad", action="move(0, 1)"),
    C("pad_down", "down,j", "Move along y", "XY pad", where="pad", action="move(0, -1)"),
    C("pad_fine_left", "shift+left,H", "Move a tenth", "XY pad", where="pad", action="move(-0.1, 0)"),
    C("pad_fine_right", "shift+right", "Move a tenth", "XY pad", where="pad", action="move(0.1, 0)"),
    C("pad_fine_up", "shift+up,K", "Move a tenth", "XY pad", where="pad", action="move(0, 0.1)"),
    C("pad_fine_down", "shift+down,J", "Move a tenth", "XY pad", where="pad", action="move(0, -0.1)"),
    C("pad_default", "backspace", "Both knobs to their defaults (double-click too)", "XY pad", "default", 3, "pad",
      "default"),
    C("pad_type", "enter", "Type both values: 2k, -3dB", "XY pad", "type", 2, "pad", "type"),
    C("pad_measure", "g", "Ground: loudness, brightness, decay, or off", "XY pad", "ground", 4, "pad", "measure"),
    C("axis_next", "up,k,plus", "Next knob for this axis", "XY pad", "choose", 1, "axis", "cycle(1)", shown="↑↓"),
    C("axis_previous", "down,j,minus", "Previous knob for this axis", "XY pad", "", 0, "axis", "cycle(-1)"),
    C("axis_pick", "enter", "Pick the knob of this axis from a list", "XY pad", "list", 2, "axis", "pick"),
    C("list_up", "up,k", "Line above", "Lists", "choose", 1, "list", "step(-1)", shown="↑↓"),
    C("list_down", "down,j", "Line below", "Lists", where="list", action="step(1)"),
    C("list_page_up", "pageup", "Page above", "Lists", where="list", action="turn_page(-1)"),
    C("list_page_down", "pagedown", "Page below", "Lists", where="list", action="turn_page(1)"),
    C("list_first", "home", "First line", "Lists", where="list", action="end(0)"),
    C("list_last", "end", "Last line", "Lists", where="list", action="end(1)"),
    C("list_take", "enter", "Take it", "Lists", "take", 2, "list", "choose"),
    C("library_put", "enter", "Play it in the slot in focus", "Library", "play", 1, "browser", "put"),
    C("library_search", "/", "Search: beginnings of words, letters, #tags", "Library", "search", 2, "browser",
      "search"),
    C("library_favourite", "f", "Favourite, or not", "Library", "favourite", 3, "browser", "mark('favourite')"),
    C("library_add", "y,insert", "Play it in a new slot, behind this one", "Library", "add", 4, "browser",
      "put(True)"),
    C("library_tag", "t", "Tags to find it by", "Library", "tags", 5, "browser", "mark('tags')"),
    C("library_note", "n", "A note", "Library", "note", 6, "browser", "mark('notes')"),
    C("library_folder", "F", "Add a folder to the library", "Library", "folder", 7, "browser", "add_folder"),
    C("library_back", "escape", "Back from typing, from a search, to the rack", "Library", "back", 8, "browser",
      "back"),
    C("train_new", "n", "Learn a sound: two files, or record them", "Train", "new", 1, "train", "new"),
    C("train_listen", "enter", "Play it in the slot in focus, or no more", "Train", "listen", 2, "train", "listen"),
    C("train_pause", "space", "Rest, go on, try again", "Train", "rest", 3, "train", "pause"),
    C("train_stop", "s", "Stop, and keep the best so far", "Train", "stop", 4, "train", "stop"),
    C("train_compare", "x", "Model or original, as loud", "Train", "A/B", 5, "train", "compare"),
    C("train_view", "g", "Another picture: loss, ESR, checks, recordings ...", "Train", "picture", 6, "train", "view"),
    C("train_earlier", "[", "An earlier checkpoint", "Train", "earlier", 7, "train", "checkpoint(-1)"),
    C("train_later", "]", "A later one; the newest is followed", "Train", where="train", action="checkpoint(1)"),
    C("train_save", "w", "Save it in the library", "Train", "save", 8, "train", "save"),
    C("train_longer", "c", "Continue: train longer", "Train", "longer", 9, "train", "longer"),
    C("train_reroll", "v", "Re-roll the two controls of a steered sound", "Train", "re-roll", 10, "train", "reroll"),
    C("train_hold", "f", "Leave its curves behind those of another job", "Train", "hold", 11, "train", "hold"),
    C("train_target", "e", "The ESR at which it ends by itself", "Train", "target", 12, "train", "target"),
    C("train_forward", "<", "Earlier in the queue", "Train", where="train", action="move(-1)"),
    C("train_back", ">", "Later in the queue", "Train", where="train", action="move(1)"),
    C("train_rename", "E", "Another title", "Train", where="train", action="rename"),
    C("train_remove", "delete", "Remove the job and what it has learned", "Train", "remove", 13, "train", "remove"),
    C("train_leave", "escape", "End comparing; back to the rack", "Train", where="train", action="back"),
    C("freeze", "f,enter", "Freeze the picture, or let it run", "Scope", "freeze", 1, "scope", "freeze"),
)  # fmt: skip
BY_NAME = {command.name: command for command in COMMANDS}

_NAMES = {
    "left": "←", "right": "→", "up": "↑", "down": "↓", "plus": "+", "minus": "-", "equals_sign": "=", "pageup": "PgUp",
    "pagedown": "PgDn", "home": "Home", "end": "End", "enter": "Enter", "backspace": "Bksp", "space": "Space",
    "insert": "Ins", "delete": "Del", "tab": "Tab", "escape": "Esc",
}  # fmt: skip
_PLAIN = {"←": "Left", "→": "Right", "↑": "Up", "↓": "Down"}


def key_names(command: Command, plain: bool = False) -> list[str]:
    """The keys as they are written on a keyboard; `plain` without arrows."""
    names = []
    for key in filter(None, command.keys.split(",")):
        *modifiers, last = key.split("+") if len(key) > 1 else [key]
        name = _NAMES.get(last, last)
        name = _PLAIN.get(name, name) if plain else name
        prefix = "".join({"ctrl": "^", "shift": "⇧"}[m] for m in modifiers)
        prefix = prefix.replace("⇧", "Shift ")
        names.append(prefix + name)
    return names


def footer_key(command: Command, plain: bool = False) -> str:
    """The key as the footer shows it."""
    arrows = command.shown or key_names(command, plain)[0]
    return {"↑↓": "Up/Down", "←→↑↓": "Arrows"}.get(arrows, arrows) if plain else arrows


def bindings(where: str) -> Iterable[Command]:
    """The commands that a widget binds."""
    return [command for command in COMMANDS if command.where == where and command.keys]


def footer(places: Iterable[str]) -> list[Command]:
    """The commands worth showing, most wanted first; `places` are the focused widget's and the screen's."""
    shown = [command for place in places for command in COMMANDS if command.where == place and command.rank]
    taken: set[str] = set()
    out = []
    for command in sorted(shown, key=lambda c: (c.where == "rack", c.rank)):
        keys = set(command.keys.split(","))
        if not keys & taken:  # a widget's keys hide the screen's
            out.append(command)
        taken |= keys
    return out


def order(command: Command, view: View, slot: SlotView | None, index: int) -> tuple[str, Any] | None:
    """The key and value that a command sends, or None where there is nothing to send it for."""
    if "{slot}" in command.sets and slot is None:
        return None
    assert command.value is not None, command.name
    value = command.value(view, slot, index)
    return None if value is None else (command.sets.format(slot=slot.id if slot else ""), value)
