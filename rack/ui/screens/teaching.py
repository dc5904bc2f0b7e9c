"""What the keys of the SuperKnob and of snapshots do that ask something first, or concern what is in focus."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from rack.examples import NEAR, ExampleView

from ..widgets.knob import Knob
from ..widgets.superknob import SuperDial
from .dialogs import Ask, Choice, Confirm, Pick

if TYPE_CHECKING:
    from .rack import RackScreen


def go(screen: RackScreen) -> None:
    """To the SuperKnob; from it, back to the slots."""
    panel = screen.rack.superknob
    if screen.focused is not None and panel in screen.focused.ancestors:
        return screen.focus_slot(screen.rack.current)
    if screen.page != "rack":
        screen.call_later(screen.run_action, "page('rack')")
    panel.asked = True
    panel.show(screen.app.mirror.view.superknob)
    screen.rack.refresh(layout=True)
    screen.call_after_refresh(panel.control.focus)
    return None


def link(screen: RackScreen) -> None:
    """The knob in focus follows the SuperKnob, or does so no more."""
    knob = screen.focused
    if isinstance(knob, Knob) and not isinstance(knob, SuperDial):
        screen.app.change("superknob.link", knob.key)
    else:
        screen.status.say("go to a knob first: f links it to the SuperKnob, or locks it", "warning")


async def example(screen: RackScreen) -> None:
    """An example where the SuperKnob stands; one that is there already is overwritten, if that is meant."""
    view = screen.app.mirror.view.superknob
    there = [e for e in view.examples if math.dist(e.position, view.place.position) <= NEAR]
    if not there:
        screen.rack.superknob.asked = True
        await screen.app.ask("superknob.add", "")
        return
    question = f"Example {there[0].name!r} is here already. Overwrite it with where the knobs stand now?"
    if await screen.app.push_screen_wait(Confirm("example", question)):
        await screen.app.ask("superknob.overwrite", there[0].name, said=f"{there[0].name!r} is overwritten")


def _with_chosen(key: str, said: str) -> Callable[[RackScreen], None]:
    def act(screen: RackScreen) -> None:
        chosen = _chosen(screen)
        if chosen:
            screen.app.change(key, chosen.name, 0, said.format(chosen.name))

    return act


def _chosen(screen: RackScreen) -> ExampleView | None:
    chosen = screen.rack.superknob.chosen
    if chosen is None:
        screen.status.say("there is no example yet: set some knobs, then press a", "warning")
    return chosen


async def example_rename(screen: RackScreen) -> None:
    """Another name for the highlighted example."""
    chosen = _chosen(screen)
    if chosen and (name := await screen.app.push_screen_wait(Ask("rename the example", chosen.name))):
        await screen.app.ask("superknob.rename", [chosen.name, name])


async def more(screen: RackScreen) -> None:
    """Everything about the SuperKnob that is not wanted every minute."""
    view = screen.app.mirror.view.superknob
    pad, exact = view.knobs == 2, view.exact
    choices = [
        Choice("train anew", "train anew", "Forget what was learned and begin from nothing"),
        Choice("exact", "by what was learned" if exact else "by interpolation",
               "Play the network" if exact else "Meet every example exactly, without the network"),
        Choice("glide", "glide", f"How long it takes to move its knobs (now {view.glide_ms:g} ms)"),
        Choice("pad", "one knob" if pad else "a pad", "Make it one knob" if pad else "Make it two knobs: a pad"),
        Choice("release", "give back all", "Knobs that stay with your hand follow it again"),
        Choice("reset", "reset the model", "Forget what was learned; the examples stay"),
        Choice("clear", "clear the examples", "Forget the examples; what was learned plays on"),
    ]  # fmt: skip
    chosen = await screen.app.push_screen_wait(Pick("SuperKnob", choices))
    match chosen:
        case "train anew":
            await screen.app.ask("superknob.train", "anew")
        case "exact":
            await screen.app.ask("superknob.exact", not exact)
        case "pad":
            await screen.app.ask("superknob.knobs", 1 if pad else 2)
        case "glide":
            asked = Ask("glide", f"{view.glide_ms:g} ms", hint="a time: 0 is at once, 350 ms, 2 s")
            if time := await screen.app.push_screen_wait(asked):
                await screen.app.ask("superknob.glide", time)
        case "release" | "reset" | "clear":
            await screen.app.ask(f"superknob.{chosen}", True, said=f"{chosen}: done; u takes it back")


async def snapshots(screen: RackScreen) -> None:
    """The snapshots of the rack, and what can be done with them."""
    view = screen.app.mirror.view
    if not view.snapshots:
        return screen.status.say("there are no snapshots yet: n keeps where the knobs stand", "warning")
    here = [Choice(f"= {name}", name, "recalled last" if name == view.snapshot else "") for name in view.snapshots]
    more = [Choice("morph", "morph ...", "Glide to a snapshot in a time of your choice"),
            Choice("keep", "keep as ...", "Keep where the knobs stand under a name; a snapshot of it is overwritten"),
            Choice("rename", "rename ...", "Another name for a snapshot"),
            Choice("delete", "delete ...", "Forget a snapshot"),
            Choice("glide", "glide ...", "How long every recall takes")]  # fmt: skip
    chosen = await screen.app.push_screen_wait(Pick("snapshots", [*here, *more], f"= {view.snapshot}"))
    if chosen is None:
        return None
    if chosen.startswith("= "):
        await screen.app.ask("snapshot", chosen[2:], said=f"snapshot: {chosen[2:]}")
    elif chosen in ("keep", "glide"):
        hint = {"keep": "the snapshot's name", "glide": "a time: 0 is at once, 350 ms, 2 s"}[chosen]
        if text := await screen.app.push_screen_wait(Ask(chosen, view.snapshot if chosen == "keep" else "", hint=hint)):
            await screen.app.ask(f"snapshot.{chosen}", text)
    elif which := await screen.app.push_screen_wait(Pick(chosen, here, f"= {view.snapshot}")):
        await _with_snapshot(screen, chosen, which[2:])
    return None


async def _with_snapshot(screen: RackScreen, what: str, name: str) -> None:
    if what == "delete":
        await screen.app.ask("snapshot.delete", name, said=f"{name!r} is deleted; u brings it back")
        return
    asked = Ask("rename", name) if what == "rename" else Ask(f"morph to {name}", "2 s", hint="how long: 350 ms, 2 s")
    if text := await screen.app.push_screen_wait(asked):
        key, value = ("snapshot.rename", [name, text]) if what == "rename" else ("snapshot", f"{name} {text}")
        await screen.app.ask(key, value)


def _asking(act: Callable) -> Callable[[RackScreen], None]:
    def run(screen: RackScreen) -> None:
        screen.run_worker(act(screen), name=act.__name__, group="dialog", exclusive=True)

    return run


TEACHING: dict[str, Callable[[RackScreen], None]] = {
    "superknob": go,
    "link": link,
    "example_recall": _with_chosen("superknob.recall", "{!r} is recalled"),
    "example_overwrite": _with_chosen("superknob.overwrite", "{!r} is overwritten"),
    "example_move": _with_chosen("superknob.move", "{!r} is moved here"),
    "example_delete": _with_chosen("superknob.delete", "{!r} is deleted; u brings it back"),
    "superknob_more": _asking(more),
    **{act.__name__: _asking(act) for act in (example, example_rename, snapshots)},
}
