"""Small windows that ask one thing: a text, a path, one of a list, yes or no."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ..widgets.listing import Listing

SHOWN = 6  # completions listed below a path


@dataclass(frozen=True)
class Choice:
    """One line of a list: what choosing it answers, its name, a few words, and more of them while it is highlighted."""

    value: str
    name: str
    about: str = ""
    more: str = ""


def complete(text: str) -> tuple[str, list[str]]:
    """A path as far as it is unambiguous, and the names that could follow; folders end in a slash."""
    folder, _, start = text.rpartition("/")
    place = os.path.expanduser(f"{folder}/" if folder or text.startswith("/") else ".")
    try:
        with os.scandir(place) as entries:
            names = sorted(
                entry.name + "/" * entry.is_dir()
                for entry in entries
                if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith("."))
            )
    except OSError:
        return text, []
    common = os.path.commonprefix(names) if names else start
    return text[: len(text) - len(start)] + common, names


class PathInput(Vertical):
    """A line for a path; Tab completes it as a shell does, and what could follow stands below."""

    def __init__(self, value: str = "", id: str | None = None):
        super().__init__(id=id, classes="path")
        self._value = value

    def compose(self) -> ComposeResult:
        yield Input(self._value, select_on_focus=False)
        yield Static("Tab completes", classes="hint", markup=False)

    @property
    def value(self) -> str:
        """The path, with ~ resolved."""
        return os.path.expanduser(self.query_one(Input).value.strip())

    def on_input_changed(self, event: Input.Changed) -> None:
        _, names = complete(event.value)
        more = f"  and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        self.query_one(Static).update("  ".join(names[:SHOWN]) + more if names else "nothing there begins like this")

    def on_key(self, event: events.Key) -> None:
        line = self.query_one(Input)
        if event.key == "tab" and line.has_focus:
            completed, _ = complete(line.value)
            if completed != line.value:
                event.stop()
                event.prevent_default()
                line.value = completed
                line.cursor_position = len(completed)


class Ask(ModalScreen[str | None]):
    """One line of text; `check` says in words why a text cannot be taken."""

    BINDINGS = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, value: str = "", *, hint: str = "", path: bool = False,
                 check: Callable[[str], str] | None = None):  # fmt: skip
        super().__init__()
        self._title, self._value, self._hint, self._path = title, value, hint, path
        self._check = check or (lambda text: "" if text else "nothing was typed; Esc leaves")

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = "Enter takes it, Esc leaves"
            yield PathInput(self._value) if self._path else Input(self._value)
            yield Static(self._hint, id="said", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = self.query_one(PathInput).value if self._path else event.value.strip()
        wrong = self._check(text)
        if wrong:
            self.query_one("#said", Static).update(wrong)
            self.query_one("#said").add_class("-wrong")
        else:
            self.dismiss(text)


def file_there(text: str) -> str:
    """Why a text is not the path of a file, or ""."""
    return "" if text and Path(text).is_file() else f"{text or '(nothing)'}: no such file"


def folder_there(text: str) -> str:
    """Why a text is not the path of a folder, or ""."""
    return "" if text and Path(text).is_dir() else f"{text or '(nothing)'}: no such folder"


class Confirm(ModalScreen[bool]):
    """Yes or no; only `y` is yes."""

    BINDINGS = [("y", "dismiss(True)", "Yes"), ("n,escape,enter,q", "dismiss(False)", "No")]

    def __init__(self, title: str, question: str):
        super().__init__()
        self._title, self._question = title, question

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = "y yes, n no"
            yield Static(self._question, markup=False)


class Chooser(Vertical):
    """A list that narrows as one types; more about the highlighted one stands below it."""

    class Selected(Message):
        """A line was chosen: its value is `chosen`."""

    def __init__(self, choices: Sequence[Choice], current: str = ""):
        super().__init__(classes="chooser")
        self._choices, self._current = choices, current
        self._shown = list(choices)
        self._list = Listing()

    def compose(self) -> ComposeResult:
        yield Input(placeholder="type to narrow")
        yield self._list
        yield Static("", classes="hint more", markup=False)

    def on_mount(self) -> None:
        self._list.can_focus = False
        self._draw(next((i for i, c in enumerate(self._shown) if c.value == self._current), 0))

    @property
    def chosen(self) -> str | None:
        """The highlighted value."""
        return self._shown[self._list.at].value if self._shown else None

    def _draw(self, at: int = 0) -> None:
        self._list.show([(choice.name, choice.about) for choice in self._shown], at)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        words = event.value.lower().split()
        self._shown = [c for c in self._choices if all(word in f"{c.name} {c.about}".lower() for word in words)]
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._list.action_choose()

    def on_listing_highlighted(self, event: Listing.Highlighted) -> None:
        event.stop()
        choice = self._shown[self._list.at] if self._shown else Choice("", "")
        self.query_one(Static).update(choice.more or choice.about)

    def on_listing_selected(self, event: Listing.Selected) -> None:
        event.stop()
        self.post_message(self.Selected())

    def on_key(self, event: events.Key) -> None:
        """The arrows move in the list while one types."""
        steps = {"down": 1, "up": -1}
        if event.key in steps and not self._list.has_focus:
            event.stop()
            event.prevent_default()
            self._list.action_step(steps[event.key])


class Pick(ModalScreen[str | None]):
    """One of a list."""

    BINDINGS = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, choices: Sequence[Choice], current: str = ""):
        super().__init__()
        self._title, self._chooser = title, Chooser(choices, current)

    def compose(self) -> ComposeResult:
        with Vertical(classes="window -tall") as window:
            window.border_title = self._title
            window.border_subtitle = "Enter takes it, Esc leaves"
            yield self._chooser

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_chooser_selected(self) -> None:
        self.dismiss(self._chooser.chosen)
