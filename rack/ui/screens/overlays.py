"""Help, and jumping to a control by its letter."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Offset
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from ..art.text import Row
from ..commands import COMMANDS, key_names
from ..widgets.drawn import Drawn, look_for

# The home row first: these are the quickest to reach.
LETTERS = "asdfghjklqwertyuiopzxcvbnm1234567890"
TYPED = ("0 to 9 .", "Begin typing: -3.5dB, 2k, 120 ms, 30 %, a label", "Turn")
MOUSE = (
    ("drag", "Up and down turns a knob; Shift is ten times finer", "Mouse"),
    ("wheel", "One step; Shift or Ctrl a tenth", "Mouse"),
    ("double-click", "Default", "Mouse"),
    ("Shift+drag", "Elsewhere: the terminal's own text selection", "Mouse"),
)


def help_text(colours: dict[str, str]) -> Text:
    """Every key by group, from the table of commands."""
    lines = [(" ".join(key_names(c)), c.help + ("  (not yet)" if c.later else ""), c.group) for c in COMMANDS if c.keys]
    turn = max(i for i, line in enumerate(lines) if line[2] == "Turn")
    lines = [*lines[: turn + 1], TYPED, *lines[turn + 1 :], *MOUSE]
    text = Text()
    group = ""
    for keys, what, where in lines:
        if where != group:
            text.append(f"{chr(10) if group else ''}{where}\n", f"bold {colours['focus']}")
            group = where
        text.append(f"  {keys:<18} ", f"bold {colours['text']}")
        text.append(f"{what}\n", colours["dim"])
    return text


class Help(ModalScreen[None]):
    """All keys. Any of them closes it again."""

    BINDINGS = [("escape,question_mark,q,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="window -help") as window:
            window.border_title = "keys"
            window.border_subtitle = "Up and Down scroll, Esc closes"
            with VerticalScroll():
                plain = {name: value.replace("ansi_", "") for name, value in look_for(self).palette.items()}
                yield Static(help_text(plain))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


class Letter(Drawn):
    """The letter over a control."""

    def __init__(self, letter: str, at: Offset):
        super().__init__()
        self.letter = letter
        self.styles.offset = (at.x, at.y)

    def draw(self, width: int, height: int) -> list[Row]:
        return [[(f" {self.letter} ", "ground b on focus" if not self.look.mono else "b r")]]


class Jump(ModalScreen[Widget | None]):
    """A letter over every control; pressing one answers with it, any other key with None."""

    def __init__(self, targets: Iterable[Widget]):
        super().__init__()
        self._targets = dict(zip(LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        for letter, widget in self._targets.items():
            region = widget.region
            middle = Offset(max(region.width // 2 - 1, 0), max(region.height - 2, 0) // 2)
            yield Letter(letter, region.offset + middle)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss(self._targets.get(event.character or ""))

    def on_click(self) -> None:
        self.dismiss(None)
