"""The pages beside the rack itself: XY, training and scope. They are made when first shown."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Grid, Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Static

from rack.catalogue import BoxInfo, KnobInfo
from rack.maps import MEASURES

from ..mirror import Mirror
from ..turning import Gestures
from ..widgets.queue import Queue
from ..widgets.scope import Scope
from ..widgets.shelves import Files
from ..widgets.xypad import Axis, Ruler, XYPad
from .dialogs import Choice

MODEL = "model"  # the type of a slot that plays a model file


class XYPage(Vertical):
    """The pad, large, with rulers in units and what chooses its knobs."""

    def __init__(self, gestures: Gestures, trail: bool):
        super().__init__(classes="page")
        self.pad = XYPad(gestures, trail)
        self.pad.measure = MEASURES[0]
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
        self.border_subtitle = self.pad.legend

    @on(XYPad.Chose)
    def _chose(self) -> None:
        self.border_subtitle = self.pad.legend

    def show(self, mirror: Mirror) -> None:
        """Draw the two knobs of the view, and the map of their plane."""
        self.pad.show_map(mirror.ground)
        said = self.pad.legend if any(mirror.view.xy) else "Tab, then Enter: choose the knobs"
        if self.border_subtitle != said:
            self.border_subtitle = said
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
    examples = enumerate(mirror.view.superknob.on_pad, 1)
    pad.show_marks(tuple((str(number % 10), place) for number, place in examples if place))
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


class ScopePage(Vertical):
    """The oscilloscope, large."""

    def __init__(self) -> None:
        super().__init__(classes="page -bare")
        self.scope = Scope()

    def compose(self) -> ComposeResult:
        yield self.scope


def first_control(page: Widget) -> Widget | None:
    """What has the focus when a page is opened."""
    return next((w for kind in (XYPad, Scope, Files, Queue) for w in page.query(kind)), None)
