"""The main screen: header, chain, a page, meters, status and footer; and what each command does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from rack.jobs import JobLine
from rack.protocol import SlotView, Telemetry, View

from ..art.plan import neighbour
from ..art.surface import OFF
from ..commands import BY_NAME, bindings, footer, order
from ..widgets.knob import Knob
from ..widgets.lines import Chain, Header, Keys, StatusLine
from ..widgets.listing import Listing
from ..widgets.meters import Meters
from ..widgets.queue import Queue
from ..widgets.scope import Scope
from ..widgets.slot import RackPage, SlotPanel, Words
from ..widgets.superknob import Lessons, SuperDial, SuperPad
from ..widgets.xypad import Axis, XYPad

if TYPE_CHECKING:
    from ..terminal import RackApp
    from .train import TrainPage

LEAST = (60, 18)  # cells below which nothing is drawn
PLACES = (
    (SuperDial, "super"),
    (SuperPad, "super"),
    (Lessons, "lessons"),
    (Knob, "knob"),
    (XYPad, "pad"),
    (Axis, "axis"),
    (Scope, "scope"),
    (Queue, "queue"),
    (Listing, "list"),
)


class RackScreen(Screen[None]):
    """Shows the mirror, and turns keys and clicks into changes."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False, id=c.name) for c in bindings("rack")]
    AUTO_FOCUS = ""
    app: RackApp

    def __init__(self) -> None:
        super().__init__()
        self.header, self.chain, self.meters = Header(), Chain(), Meters()
        self.status, self.keys = StatusLine(), Keys()
        self.page = "rack"
        self._pages: dict[str, Widget] = {}
        self._due: dict[str, float] = {}
        self._shown = View(rack="", racks=(), slots=())
        self._hints: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        app = self.app
        self.pad = XYPad(app.gestures, app.trail, focusable=False)
        self.scope = Scope(focusable=False)
        self.pad.border_title = "xy"
        self.rack = RackPage(app.gestures, self.pad, self.scope, classes="page -bare")
        self._pages["rack"] = self.rack
        yield self.header
        yield self.chain
        with Horizontal(id="middle"):
            with Container(id="pages"):
                yield self.rack
            yield self.meters
        yield self.status
        yield self.keys
        yield Static("", id="small", markup=False)

    def on_mount(self) -> None:
        self._keys_of(None)

    # --- what arrives ---

    async def show_view(self) -> None:
        """Draw the mirror's view; called after every snapshot."""
        view = self.app.mirror.view
        self._comment(self._shown, view)
        self._shown = view
        self.header.show(view)
        await self.rack.show(view, self.app.mirror)
        self.rack.superknob.show(view.superknob)
        self.rack.mark(view.superknob)
        self.chain.show(view.slots, self.rack.current)
        self._show_pads()
        self.app.subscribe()
        self.call_after_refresh(self._keep_focus)

    def _comment(self, old: View, new: View) -> None:
        """Say what a view brings that has no place on the screen."""
        if new.problems and new.problems != old.problems:
            first, *others = new.problems
            self.status.say(first + f" (and {len(others)} more)" * bool(others), "warning")
        elif new.audio.message and new.audio.message != old.audio.message:
            self.status.say(new.audio.message, "warning")
        elif old.rack and new.rack != old.rack:
            self.status.say(f"{new.rack}: {new.title or new.notes}".rstrip(": "), hold=True)

    def show_link(self, lost: bool) -> None:
        """Draw whether there is a server."""
        self.set_class(lost, "-lost")
        self.header.show_link(lost)
        if lost and (train := self.train_page) is not None:
            train.forget()

    def show_turn(self, key: str) -> None:
        """Draw one knob that someone else turned."""
        if key == "superknob":
            self.rack.superknob.move_to(self.app.mirror.view.superknob.place)
            return self.rack.mark(self.app.mirror.view.superknob)
        knob = self._knob(key)
        if knob is not None:
            knob.show(self.app.mirror.value(key), knob.asleep)
            if key == self.status.shows:
                self.status.knob(key, knob.info, knob.value, passing=True, link=knob.link)
        if key in self.app.mirror.view.xy:
            self._show_pads()

    def show_telemetry(self, t: Telemetry, link_hz: float) -> None:
        """Draw levels and scope; what changes slowly is drawn less often."""
        self.meters.show(t)
        if self._is_due("numbers", 2):
            self.header.measure(t, link_hz)
            new = [hint for hint in t.hints if hint not in self._hints]
            self._hints = t.hints
            if new:
                self.status.say(new[0], "warning")
        if self._is_due("chain", 6):
            self.chain.measure(t)
        if t.scope_out and self._is_due("scope", self._scope_hz) and (scope := self.visible_scope) is not None:
            scope.show(t.scope_in, t.scope_out, self.app.mirror.view.audio.rate)

    @property
    def _scope_hz(self) -> float:
        """15 pictures a second; fewer beside the rack, over a slow line, and where one fills a large terminal."""
        most = 8.0 if self.page == "rack" else 15.0 * min(1.0, 2400 / (self.size.width * self.size.height))
        return min(most, max(self.app.rate_hz, 1.0) / 2)

    @property
    def visible_scope(self) -> Scope | None:
        """The scope on this page, if there is one."""
        page = self._pages.get(self.page)
        found = next(iter(page.query(Scope)), None) if page is not None else None
        return found if found is not None and found.region else None

    @property
    def train_page(self) -> TrainPage | None:
        """The Train page, once it was made."""
        return self._pages.get("train")  # type: ignore[return-value]

    def show_figure(self, line: JobLine) -> None:
        """Draw a new figure of a job; the mirror has it already."""
        if (train := self.train_page) is not None:
            train.figure(line)
            train.show(self.app.mirror.view.jobs, self.rack.current)

    @property
    def watches_map(self) -> bool:
        """Whether what the pad's plane sounds like is to be seen."""
        return self.page == "xy" and next(iter(self._pages["xy"].query(XYPad))).measure != OFF

    def show_ground(self) -> None:
        """Draw the map that has arrived."""
        if self.page == "xy":
            self._show_pads()

    def _is_due(self, name: str, hz: float) -> bool:
        now = time.monotonic()
        if now - self._due.get(name, 0.0) < 0.9 / hz:
            return False
        self._due[name] = now
        return True

    def _show_pads(self) -> None:
        from .pages import XYPage, show_pad

        x, y = (key.partition(".")[2].replace("_", " ") or "-" for key in self.app.mirror.view.xy)
        x, y = self.app.mirror.view.xy if x == y != "-" else (x, y)  # told apart by their slots
        show_pad(self.pad, self.app.mirror)
        self.pad.border_subtitle = f"x {x}  y {y}"
        page = self._pages.get("xy")
        if isinstance(page, XYPage):
            page.show(self.app.mirror)
        if "library" in self._pages:
            self._pages["library"].show(self.slot.model if self.slot else "")  # type: ignore[attr-defined]
        if (train := self.train_page) is not None:
            train.show(self.app.mirror.view.jobs, self.rack.current)

    def _knob(self, key: str) -> Knob | None:
        return next((knob for panel in self.rack.panels for knob in panel.query(Knob) if knob.key == key), None)

    # --- focus ---

    @property
    def slot(self) -> SlotView | None:
        """The slot in focus."""
        return self.app.mirror.slot(self.rack.current)

    def controls(self) -> list[Widget]:
        """What can have the focus on this page and is in sight of its page."""
        page = self._pages[self.page]
        return [w for w in page.query("*") if w.focusable and w.region]

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        widget = event.widget
        panel = next((w for w in widget.ancestors_with_self if isinstance(w, SlotPanel)), None)
        if panel is not None:
            self.choose(panel.slot.id)
        self.status.stay()
        if isinstance(widget, Knob):
            self.status.knob(widget.key, widget.info, widget.value, passing=True, link=widget.link)
        if isinstance(widget, Words) and panel is not None:
            self.status.say(f"{panel.slot.id}: {widget.text}")
        self._keys_of(widget)
        self.set_timer(0.05, self._place_cursor)  # by then the panels have moved, should the focus move them

    def choose(self, slot: str) -> None:
        """Make this the slot in focus; the control in focus stays what it is."""
        self.rack.choose(slot)
        self.chain.show(self.app.mirror.view.slots, slot)

    def _place_cursor(self) -> None:
        """The hidden cursor goes with the focus: some screen readers and input methods follow it."""
        if self.focused is not None:
            self.app.cursor_position = self.focused.region.offset

    def _keys_of(self, widget: Widget | None) -> None:
        place = next((name for kind, name in PLACES if isinstance(widget, kind)), None)
        if isinstance(widget, Input):  # what else there is would be typed
            return self.keys.show([BY_NAME["library_put"], BY_NAME["library_back"]])
        own = {"library": ("browser",), "train": ("train",)}.get(self.page, ())
        first = [BY_NAME["example"], BY_NAME["train_superknob"]] if place in ("super", "lessons") else []
        self.keys.show([*first, *footer((*filter(None, (place,)), *own, "rack"))])

    def _keep_focus(self) -> None:
        """Give the focus back where a change of structure took it away."""
        if self.page == "rack" and (self.focused is None or not self.focused.display or not self.focused.region):
            self.focus_slot(self.rack.current)

    def focus_slot(self, name: str) -> None:
        panel = next((panel for panel in self.rack.panels if panel.slot.id == name), None)
        if panel is not None and panel.controls:
            panel.controls[0].focus()

    def step_focus(self, step: int) -> None:
        controls = self.controls()
        if not controls:
            return
        if self.focused not in controls:
            controls[0].focus()
            return
        regions = [(w.region.x, w.region.y, w.region.width, w.region.height) for w in controls]
        at = neighbour(regions, controls.index(self.focused), step)
        controls[at].focus()

    # --- what hands do ---

    @on(Knob.Turned)
    def _turned(self, event: Knob.Turned) -> None:
        self.status.knob(event.knob.key, event.knob.info, event.value)
        self.app.turn(event.knob.key, event.value, event.gesture)
        if event.knob.key in self.app.mirror.view.xy:
            self._show_pads()

    @on(Knob.Entry)
    def _entry(self, event: Knob.Entry) -> None:
        knob = event.knob
        if event.error:
            self.status.say(event.error, "error")
        else:
            self.status.knob(knob.key, knob.info, knob.value, event.text)

    @on(SuperPad.Steered)
    def _steered(self, event: SuperPad.Steered) -> None:
        self.app._send("superknob", list(event.place), event.gesture)

    @on(Lessons.Selected)
    def _recalled(self) -> None:
        self.action_command("example_recall")

    @on(XYPad.Moved)
    def _moved(self, event: XYPad.Moved) -> None:
        sent = self.app.move_xy(event.place, event.gesture)
        self._show_pads()
        said = []
        for key in self.app.mirror.view.xy:
            if (knob := self._knob(key)) is not None:
                knob.show(self.app.mirror.value(key), knob.asleep)
                said.append(f"{key} = {knob.info.format(knob.value)}")
        if sent:
            self.status.say(", ".join(said) or "the pad has no knobs yet: X, then Tab, then Enter")

    @on(XYPad.Chose)
    def _measured(self) -> None:
        self.app.subscribe()

    @on(XYPad.Typed)
    def _type_place(self) -> None:
        from .acts import type_place

        self.run_worker(type_place(self), group="dialog", exclusive=True)

    @on(Axis.Cycle)
    def _cycled(self, event: Axis.Cycle) -> None:
        keys = list(self.app.mirror.knobs)
        if keys:
            at = keys.index(event.axis.key) + event.step if event.axis.key in keys else 0
            self.app.change(f"xy.{event.axis.letter}", keys[at % len(keys)])

    @on(Axis.Pick)
    def _picking(self, event: Axis.Pick) -> None:
        from .acts import pick_axis

        self.run_worker(pick_axis(self, event.axis), group="dialog", exclusive=True)

    def on_browser_page_put(self, event) -> None:
        """A model was chosen in the library."""
        from .acts import play

        self.run_worker(play(self, event.path, event.steps, event.add), group="dialog", exclusive=True)

    def on_browser_page_marked(self, event) -> None:
        """Something is to be noted about a model."""
        from .acts import mark

        self.run_worker(mark(self, event.entry, event.what), group="dialog", exclusive=True)

    def on_browser_page_add_folder(self) -> None:
        """A folder is to be in the library."""
        from .acts import add_folder

        self.run_worker(add_folder(self), group="dialog", exclusive=True)

    def on_browser_page_resting(self, event) -> None:
        """A model may be wanted in a moment."""
        self.app.client.set("library.ahead", event.path)

    @on(Meters.Reset)
    def _meters_clicked(self) -> None:
        self.action_command("meters_reset")

    @on(Chain.Chosen)
    def _chosen(self, event: Chain.Chosen) -> None:
        self.choose(event.slot)
        if self.page == "rack":
            self.focus_slot(event.slot)

    @on(Keys.Pressed)
    async def _pressed(self, event: Keys.Pressed) -> None:
        pages = {"rack": self, "browser": self._pages.get("library"), "train": self.train_page}
        target = pages.get(event.command.where, self.focused)
        if target is not None:
            await target.run_action(event.command.binding)

    def on_resize(self, event: events.Resize) -> None:
        small = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        self.set_class(small, "-small")
        if small:
            wanted, have = f"{LEAST[0]}x{LEAST[1]}", f"{event.size.width}x{event.size.height}"
            self.query_one("#small", Static).update(
                f"nafx-rack needs {wanted} cells\nand this terminal has {have}.\n\nThe sound goes on; q leaves."
            )
        self.app.subscribe()
        if self.focused is not None:
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    # --- commands ---

    def action_command(self, name: str) -> None:
        """Do a command of the table: send its change, or call what is here for it."""
        command = BY_NAME[name]
        if command.later:
            self.status.say(f"{command.help}: not yet")
        elif command.sets:
            change = order(command, self.app.mirror.view, self.slot, self.rack.current_index)
            if change is None:
                self.status.say("there is no slot in focus", "warning")
            else:
                gesture = self.app.gestures.burst(change[0], time.monotonic()) if command.burst else 0
                self.app.change(*change, gesture, command.said)
        else:
            from . import acts

            acts.ACTS[name](self)

    async def action_page(self, name: str) -> None:
        """Show another page; it is made the first time."""
        from .pages import first_control

        if name not in self._pages:
            self._pages[name] = page = self._make(name)
            await self.query_one("#pages").mount(page)
        self.page = name
        for key, page in self._pages.items():
            page.display = key == name
        self._show_pads()
        self.app.subscribe()
        if name == "rack":
            self.call_after_refresh(self.focus_slot, self.rack.current)
            return
        self.set_focus(None)
        self.call_after_refresh(lambda: self.set_focus(first_control(self._pages[name])))
        self._keys_of(None)

    def _make(self, name: str) -> Widget:
        from . import pages

        app = self.app
        if name == "xy":
            return pages.XYPage(app.gestures, app.trail)
        if name == "library":
            from .browser import BrowserPage

            return BrowserPage()
        if name == "train":
            from .train import TrainPage

            return TrainPage()
        return pages.ScopePage()
