"""A slot's settings as a form, made from what the catalogue says about its box."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rack.catalogue import SettingInfo
from rack.protocol import SlotView

from ..art.text import Row, length
from ..widgets.drawn import Drawn
from .dialogs import PathInput, file_there


def parse(info: SettingInfo, text: str) -> int | float | str:
    """What a person typed as a setting's value. Raises ValueError saying what is allowed."""
    if info.type == "str":
        return text
    try:
        value = int(text) if info.type == "int" else float(text)
    except ValueError:
        raise ValueError(f"{info.name} = {text!r}: {allowed(info)}") from None
    if not (info.low is None or value >= info.low) or not (info.high is None or value <= info.high):
        raise ValueError(f"{info.name} = {text}: {allowed(info)}")
    return value


def allowed(info: SettingInfo) -> str:
    """What a setting takes, in words."""
    if info.choices:
        return "one of " + ", ".join(map(str, info.choices))
    kind = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "on or off"}[info.type]
    if info.low is not None and info.high is not None:
        return f"{kind} from {info.low:g} to {info.high:g}"
    return kind + (f", at least {info.low:g}" if info.low is not None else "")


class Choices(Drawn, can_focus=True):
    """One of a few values, side by side; arrows and Space choose."""

    BINDINGS = [
        Binding("right,down,l,j,space", "choose(1)", show=False),
        Binding("left,up,h,k", "choose(-1)", show=False),
    ]

    class Changed(Message):
        """Another one was chosen."""

        def __init__(self, choices: Choices):
            super().__init__()
            self.choices = choices

        @property
        def control(self) -> Choices:
            """Which widget it was."""
            return self.choices

    def __init__(self, choices: dict[str, Any], value: Any, id: str):
        super().__init__(id=id)
        self._choices = choices
        self._at = next((i for i, choice in enumerate(choices.values()) if choice == value), 0)

    @property
    def value(self) -> Any:
        """The chosen one."""
        return list(self._choices.values())[self._at]

    @value.setter
    def value(self, value: Any) -> None:
        self._at = list(self._choices.values()).index(value)
        self.repaint()

    def action_choose(self, step: int) -> None:
        self._at = (self._at + step) % len(self._choices)
        self.repaint()
        self.post_message(self.Changed(self))

    def offer(self, choices: dict[str, Any], value: Any) -> None:
        """Other values to choose from, this one chosen."""
        self._choices = choices
        self.value = value

    def on_click(self, event: events.Click) -> None:
        self.action_choose(1)

    def draw(self, width: int, height: int) -> list[Row]:
        ink = "focus b u" if self.has_focus else "bright u"
        row: Row = []
        for i, name in enumerate(self._choices):
            row += [(" ", ""), (name, ink if i == self._at else "dim"), (" ", "")]
        if length(row) <= width:
            return [row]
        return [[(" < ", "dim"), (list(self._choices)[self._at], ink), (" >", "dim")]]


class Settings(ModalScreen[dict[str, Any] | None]):
    """Answers with the keys that changed: a setting's name, or "model"."""

    BINDINGS = [("escape", "dismiss(None)", "Cancel"), ("ctrl+s", "take", "Take"), ("enter", "take", "Take")]

    def __init__(self, slot: SlotView, infos: tuple[SettingInfo, ...], notes: str = ""):
        super().__init__()
        self._slot, self._infos, self._notes = slot, infos, notes
        self._has_model = bool(slot.model) or slot.type == "model"

    def compose(self) -> ComposeResult:
        with Vertical(classes="window -form") as window:
            window.border_title = f"{self._slot.id}: settings"
            window.border_subtitle = "Tab next, Enter takes all, Esc leaves"
            with VerticalScroll(can_focus=False):
                if self._has_model:
                    line = PathInput(self._slot.model, "model")
                    yield from self._field("model file", "a model in any format we read", line)
                for info in self._infos:
                    typed = f"({allowed(info)})" if info.type in ("int", "float") and not info.choices else ""
                    about = f"{info.help.rstrip('.')} {typed}".strip()
                    yield from self._field(info.name.replace("_", " "), about, self._editor(info))
                if not self._infos and not self._has_model:
                    yield Static("This box has nothing to set; its knobs are all there is.", markup=False)
                yield Static(self._facts(), classes="hint facts", markup=False)
            yield Static("", id="said", classes="hint", markup=False)

    def _field(self, name: str, about: str, editor) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Static(name, classes="name", markup=False)
            with Vertical(classes="editor"):
                yield editor
                yield Static(about, classes="hint", markup=False)

    def _value(self, info: SettingInfo) -> Any:
        return self._slot.settings.get(info.name, info.default)

    def _editor(self, info: SettingInfo):
        name, value = f"set-{info.name}", self._value(info)
        if info.type == "bool":
            return Choices({"off": False, "on": True}, value, id=name)
        if info.choices:
            return Choices({str(choice): choice for choice in info.choices}, value, id=name)
        if info.type == "str":  # a text without choices names a file, or something built in
            return PathInput(str(value), id=name)
        return Input(str(value), id=name)

    def _facts(self) -> str:
        slot = self._slot
        reach = "unbounded" if slot.receptive_field is None else f"{slot.receptive_field} samples"
        facts = [f"type {slot.type}", f"latency {slot.latency} samples", f"receptive field {reach}"]
        if slot.parameters:
            facts.append(f"{slot.parameters:,} weights")
        if slot.sample_rate:
            facts.append(f"runs at {slot.sample_rate} Hz")
        lines = ["; ".join(facts), *slot.remarks, slot.notes or self._notes]
        return "\n".join(line for line in lines if line)

    def on_mount(self) -> None:
        first = next(iter(self.query("Input, Choices")), None)
        if first is not None:
            first.focus()

    def on_input_submitted(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        try:
            self.dismiss(self._changes())
        except ValueError as error:
            said = self.query_one("#said", Static)
            said.update(str(error))
            said.add_class("-wrong")

    def _changes(self) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if self._has_model:  # first: another model forgets what was set because of the old one
            model = self.query_one("#model", PathInput).value
            if model != self._slot.model:
                if wrong := file_there(model):
                    raise ValueError(wrong)
                changes["model"] = model
        for info in self._infos:
            value = self._read(info)
            if value != self._value(info):
                changes[info.name] = value
        return changes

    def _read(self, info: SettingInfo) -> Any:
        widget = self.query_one(f"#set-{info.name}")
        if isinstance(widget, Choices):
            return widget.value
        assert isinstance(widget, Input | PathInput)
        return parse(info, widget.value.strip())
