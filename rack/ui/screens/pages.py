"""The pages beside the rack itself: XY, library, training and scope. They are made when first shown."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from rack.catalogue import BoxInfo, KnobInfo

from ..mirror import Mirror
from ..turning import Gestures
from ..widgets.listing import Listing
from ..widgets.scope import Scope
from ..widgets.xypad import Axis, Ruler, XYPad
from .dialogs import Choice, Chooser, PathInput, file_there

MODEL = "model"  # the type of a slot that plays a model file


class XYPage(Vertical):
    """The pad, large, with rulers in units and what chooses its knobs."""

    def __init__(self, gestures: Gestures, trail: bool):
        super().__init__(classes="page")
        self.pad = XYPad(gestures, trail)
        self.axes = (Axis("x"), Axis("y"))
        self._rulers = (Ruler(upright=False), Ruler(upright=True))

    def compose(self) -> ComposeResult:
        with Horizontal(classes="axes"):
            yield from self.axes
        with Grid(classes="pad"):
            yield self._rulers[1]
            yield self.pad
            yield Static("")
            yield self._rulers[0]

    def on_mount(self) -> None:
        self.border_title = "xy"
        self.border_subtitle = "the lighter, the nearer both are to their defaults"

    def show(self, mirror: Mirror) -> None:
        """Draw the two knobs of the view."""
        place = show_pad(self.pad, mirror)
        for axis, ruler, key, position in zip(self.axes, self._rulers, mirror.view.xy, place, strict=True):
            info = mirror.knobs.get(key)
            axis.show(key if info else "", info.format(mirror.value(key)) if info else "")
            ruler.show(info, position)


def show_pad(pad: XYPad, mirror: Mirror) -> tuple[float, float]:
    """Put the pad's reticle where its knobs stand."""
    infos: list[KnobInfo | None] = [mirror.knobs.get(key) for key in mirror.view.xy]
    place = tuple(
        info.position(mirror.value(key)) if info else 0.5 for key, info in zip(mirror.view.xy, infos, strict=True)
    )
    pad.aim(mirror.view.xy, infos[0], infos[1])
    pad.show((place[0], place[1]))
    return place[0], place[1]


def box_choices(boxes: dict[str, BoxInfo]) -> list[Choice]:
    """The kinds of box that can be added, with a line about each."""
    model = Choice(
        MODEL, "model", "A capture or a trained effect, from a file", "NAM, GuitarML or our own; asks for it next."
    )
    kinds = sorted(boxes.keys() - {MODEL, "limiter"})  # a limiter stands at the end of every rack already
    return [model, *(box_choice(boxes[kind]) for kind in kinds)]


def box_choice(box: BoxInfo) -> Choice:
    """One kind of box."""

    def names(of: str, infos) -> str:
        return f"{of}: {', '.join(info.name.replace('_', ' ') for info in infos)}" if infos else f"no {of}"

    more = f"{box.help}\n{names('knobs', box.knobs)}; {names('settings', box.settings)}"
    return Choice(box.kind, box.kind.replace("_", " "), box.help, more)


class LibraryPage(Vertical):
    """Kinds of box, and model files by path."""

    class Add(Message):
        """Add a box of this kind, with this model file if it is a model."""

        def __init__(self, kind: str, model: str = ""):
            super().__init__()
            self.kind, self.model = kind, model

    def __init__(self, boxes: dict[str, BoxInfo], models: Callable[[], list[str]]):
        super().__init__(classes="page")
        self._boxes, self._models = boxes, models

    def compose(self) -> ComposeResult:
        self.border_title = "library"
        self.border_subtitle = "Enter adds it behind the slot in focus"
        choices = [choice for choice in box_choices(self._boxes) if choice.value != MODEL]
        files = [Choice(f"file:{path}", path.rpartition("/")[2], "model", path) for path in self._models()]
        yield Chooser([*choices, *files], page=True, id="kinds")
        with Vertical(id="by-path"):
            yield Static("A model file of your own:", classes="hint", markup=False)
            yield PathInput("", id="model")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The path was entered; the line for narrowing does not come this far."""
        event.stop()
        line = self.query_one("#model", PathInput)
        wrong = file_there(line.value)
        if wrong:
            line.query_one(Static).update(wrong)
        else:
            self.post_message(self.Add(MODEL, line.value))

    def on_chooser_selected(self) -> None:
        chosen = self.query_one("#kinds", Chooser).chosen
        if chosen is not None and chosen.startswith("file:"):
            self.post_message(self.Add(MODEL, chosen[5:]))
        elif chosen is not None:
            self.post_message(self.Add(chosen))


class TrainPage(Vertical):
    """Where training will be watched from."""

    def __init__(self) -> None:
        super().__init__(classes="page")

    def compose(self) -> ComposeResult:
        self.border_title = "train"
        yield Static(
            "Not yet.\n\nThis page will show training jobs: their loss, the best model so far, and a key to listen to "
            "it. Until then a model is trained from the shell:\n\n    python -m trainer run.toml\n\n"
            "The file it writes opens like any other model: y, then model.",
            markup=False,
        )


class ScopePage(Vertical):
    """The oscilloscope, large."""

    def __init__(self) -> None:
        super().__init__(classes="page -bare")
        self.scope = Scope()

    def compose(self) -> ComposeResult:
        yield self.scope


def first_control(page: Widget) -> Widget | None:
    """What has the focus when a page is opened."""
    return next((w for kind in (XYPad, Scope, Listing) for w in page.query(kind)), None)
