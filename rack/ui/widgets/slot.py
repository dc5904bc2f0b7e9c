"""A slot as a panel of knobs, and the rack as a page of panels."""

from __future__ import annotations

from pathlib import PurePath
from textwrap import wrap

from textual.content import Content
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from rack.examples import SuperView
from rack.protocol import SlotView, View

from ..art import plan
from ..art.text import Row, clip, clip_start
from ..mirror import Mirror
from ..turning import Gestures
from .drawn import Drawn, look_for
from .knob import Knob
from .superknob import ROWS, TALL, TALL_FROM, SuperPanel

SCOPE_ROWS, PAD_ROWS = 5, 10  # left over below the slots, they are worth a scope, and a pad beside it


class Words(Drawn, can_focus=True):
    """What a slot says instead of knobs: why it failed, or that it is being built."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self._ink = "", "dim"
        self.display = False

    def show(self, text: str, ink: str) -> None:
        """Draw this text, wrapped."""
        if (text, ink) != (self.text, self._ink):
            self.text, self._ink = text, ink
            self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        lines = wrap(self.text, max(width - 2, 8)) or [""]
        if len(lines) > height:
            lines = [*lines[: height - 1], clip(" ".join(lines[height - 1 :]), width - 2, self.glyphs.ellipsis)]
        mark = "focus b" if self.has_focus else "faint"
        starts = ["> " if self.has_focus else "  ", *["  "] * (len(lines) - 1)]
        return [[(start, mark), (line, self._ink)] for start, line in zip(starts, lines, strict=True)]


class _Inside(Layout):
    """Puts the knobs of one panel into its grid."""

    name = "slot"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        assert isinstance(parent, SlotPanel)
        shown = [child for child in children if child.display]
        if shown and isinstance(shown[0], Words):
            return [_placement(shown[0], 0, 0, size.width, size.height)]
        cells = plan.grid(len(shown), parent.form, size.width, size.height)
        return [_placement(knob, *cell) for knob, cell in zip(shown, cells, strict=True)]


class SlotPanel(Widget):
    """One slot. Keeps its knobs while their kinds stay, so that focus and drags survive every change of values."""

    ALLOW_SELECT = False

    def __init__(self, slot: SlotView, gestures: Gestures):
        super().__init__()
        self.slot, self.form = slot, plan.BIG
        self._gestures = gestures
        self._words = Words()
        self._inside = _Inside()

    @property
    def layout(self) -> Layout:
        return self._inside

    def take_form(self, form: plan.Form) -> None:
        """Draw the knobs in this form from now on."""
        if form is not self.form:
            self.form = form
            self._clear_arrangement_cache()  # Textual keeps arrangements by size, and the size may be the same

    @property
    def knobs(self) -> list[Knob]:
        """The knobs on show, in order; none while there is something to say instead."""
        return [] if self._words.display else [child for child in self.children if isinstance(child, Knob)]

    @property
    def controls(self) -> list[Drawn]:
        """What can have the focus."""
        return [self._words] if self._words.display else [*self.knobs]

    def compose(self):
        yield self._words
        yield from self._new_knobs()

    def _new_knobs(self) -> list[Knob]:
        pairs = zip(self.slot.knobs, self.slot.values, strict=False)
        return [Knob(f"{self.slot.id}.{info.name}", info, value, self._gestures) for info, value in pairs]

    async def show(self, number: int, slot: SlotView, mirror: Mirror) -> None:
        """Draw this slot as the one with this number."""
        old, self.slot = self.slot, slot
        if old.knobs != slot.knobs:
            await self.remove_children(Knob)
            await self.mount(*self._new_knobs())
        failed, building = slot.status == "failed", slot.status == "building"
        self._words.display = failed or not slot.knobs
        if failed:
            self._words.show(slot.error or "it failed, and did not say why", "hot")
        else:
            self._words.show("building ..." if building else "nothing to turn here", "warm" if building else "dim")
        for knob in self.query_children(Knob):
            knob.display = not self._words.display
            knob.show(mirror.value(knob.key), slot.bypass)
        self.border_title = Content(self._title(number))
        self._caption()
        self.set_class(slot.bypass, "-bypassed")
        self.set_class(failed, "-failed")

    def _title(self, number: int) -> str:
        slot, g = self.slot, look_for(self).glyphs
        ready = (g.off, "  BYPASSED") if slot.bypass else (g.on, "")
        mark, state = {"failed": (g.fail, "  FAILED"), "building": (g.wait, "  building")}.get(slot.status, ready)
        return f"{mark} {number} {slot.id}{state}"

    @property
    def title_width(self) -> int:
        """Cells that the title needs."""
        return len(str(self.border_title)) + 2

    def _caption(self) -> None:
        slot = self.slot
        kind = slot.type if slot.type != slot.id else ""
        text = PurePath(slot.model).name or slot.notes
        room = max(self.size.width - 4, 0)
        caption = f"{kind}  {clip_start(text, max(room - len(kind) - 2, 0), look_for(self).glyphs.ellipsis)}".strip()
        self.border_subtitle = Content(clip(caption, room, look_for(self).glyphs.ellipsis))

    def on_resize(self) -> None:
        self._caption()


class _Page(Layout):
    """Puts the panels where the plan says, and what else there is into the room below them."""

    name = "rack"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        assert isinstance(parent, RackPage)
        others = [child for child in children if not isinstance(child, SlotPanel | SuperPanel)]
        height = parent.scrollable_size.height or size.height
        below = parent.superknob_rows(height)
        panels, boxes = parent.panels, parent.plan(size.width, height)
        out = []
        for panel, box in zip(panels, boxes, strict=True):
            panel.take_form(box.form)
            out.append(_placement(panel, box.x, box.y, box.width, box.height))
        top = plan.bottom(boxes) if panels else 3
        empty, pad, scope = others
        if below:
            out.append(_placement(parent.superknob, 0, top, size.width, below))
        if not panels:
            return [*out, _placement(empty, 1, 1, size.width - 2, 2)]
        top += below
        spare = height - top
        wide = 2 * spare + 2 if spare >= PAD_ROWS else 0
        if wide:
            out.append(_placement(pad, 0, top, wide, spare))
        if spare >= SCOPE_ROWS:
            out.append(_placement(scope, wide, top, size.width - wide, spare))
        return out


def _placement(widget: Widget, x: int, y: int, width: int, height: int) -> WidgetPlacement:
    return WidgetPlacement(Region(x, y, width, height), NULL_OFFSET, NULL_SPACING, widget)


class RackPage(Widget):
    """All slots as panels in reading order; a pad and a scope below them, where there is room."""

    def __init__(self, gestures: Gestures, pad: Widget, scope: Widget, **kwargs):
        empty, self.superknob = Words(), SuperPanel(gestures)
        super().__init__(empty, pad, scope, self.superknob, **kwargs)
        empty.display = True
        empty.show("This rack is empty: y adds a box, } shows the next preset.", "text")
        self._gestures = gestures
        self._page = _Page()
        self.current = ""
        self._boxes: list[plan.Box] = []
        self._last_index = 0  # where the current slot was, should it vanish

    @property
    def layout(self) -> Layout:
        return self._page

    @property
    def panels(self) -> list[SlotPanel]:
        """The panels in the order of the chain."""
        return [child for child in self.children if isinstance(child, SlotPanel)]

    @property
    def current_index(self) -> int:
        """The place of the slot in focus."""
        return next((i for i, panel in enumerate(self.panels) if panel.slot.id == self.current), 0)

    def plan(self, width: int, height: int) -> list[plan.Box]:
        """Where the panels go."""
        panels = self.panels
        counts, titles = [len(panel.slot.knobs) for panel in panels], [panel.title_width for panel in panels]
        self._boxes = plan.plan(counts, titles, self.current_index, width, height - self.superknob_rows(height))
        return self._boxes

    def superknob_rows(self, height: int) -> int:
        """The rows that the SuperKnob takes below the slots."""
        return (TALL if height >= TALL_FROM else ROWS) * self.superknob.display

    def mark(self, view: SuperView) -> None:
        """Draw which knobs the SuperKnob drives, and where it would put those that stand elsewhere."""
        for panel in self.panels:
            for knob in panel.query_children(Knob):
                knob.mark(view.links.get(knob.key, ""), view.place.ghosts.get(knob.key))

    def choose(self, slot: str) -> None:
        """Make this the current slot; lay out again if that changes a place or a size."""
        self.current = slot
        panels = self.panels
        for panel in panels:
            panel.set_class(panel.slot.id == slot, "-current")
        before, size = self._boxes, self.scrollable_size
        if panels and self.plan(size.width, size.height) != before:
            panels[0].refresh(repaint=False, layout=True)

    async def show(self, view: View, mirror: Mirror) -> None:
        """Draw this rack; panels of slots that stay are kept."""
        old = {panel.slot.id: panel for panel in self.panels}
        wanted = {slot.id for slot in view.slots}
        for name in [name for name in old if name not in wanted]:
            await old.pop(name).remove()
        for i, slot in enumerate(view.slots):
            panel = old.get(slot.id)
            if panel is None:
                panel = SlotPanel(slot, self._gestures)
                await self.mount(panel, before=i if i < len(self.children) else None)
            elif self.children[i] is not panel:
                self.move_child(panel, before=i)
            await panel.show(i + 1, slot, mirror)
        last = min(self._last_index, len(view.slots) - 1)
        if self.current not in wanted:
            self.current = view.slots[last].id if view.slots else ""
        self.choose(self.current)
        self._last_index = self.current_index
