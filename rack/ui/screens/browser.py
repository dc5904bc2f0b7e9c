"""The library page: folders, search, the files, and what is known about the one under the cursor.

It reads the library's file itself, and looks now and then whether that has changed. What is to be written goes to the
server as any other change.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input

from rack import paths
from rack.fuzzy import fuzzy
from rack.library import MODEL, Entry, Library, LibraryError

from ..art.browser import Folder, folders
from ..commands import bindings
from ..widgets.listing import Listing
from ..widgets.shelves import Details, Files, Folders

LOOK_S = 0.5  # how often the page asks whether the library has changed
REST_S = 0.25  # after which the file under the cursor may be wanted
ENOUGH = 60  # results; with fewer, letters that only stand in this order count as well
MOST_STEPS = 500  # files before and after the chosen one that [ and ] go through
WIDE = 104  # cells from which the details stand beside the files
LISTS = ("everything", "favourites", "recent", "broken")


class BrowserPage(Vertical):
    """Folders left, files, details; `/` searches."""

    BINDINGS = [Binding(c.keys, c.binding, c.help, show=False) for c in bindings("browser")]

    class Put(Message):
        """Play this model: in the slot in focus, or with `add` in a new one. `steps` are what [ and ] go through."""

        def __init__(self, path: str, steps: list[str], add: bool = False):
            super().__init__()
            self.path, self.steps, self.add = path, steps, add

    class Marked(Message):
        """Note something about a file: `what` is favourite, tags or notes."""

        def __init__(self, entry: Entry, what: str):
            super().__init__()
            self.entry, self.what = entry, what

    class AddFolder(Message):
        """Take a folder into the library."""

    class Resting(Message):
        """The cursor rests on a file that plays."""

        def __init__(self, path: str):
            super().__init__()
            self.path = path

    def __init__(self) -> None:
        super().__init__(classes="page browser")
        self.folders, self.files, self.details = Folders(), Files(), Details()
        self.line = Input(placeholder="/ searches")
        self._library: Library | None = None
        self._wrong = ""
        self._stamp = (-1, 0)
        self._everything: list[Entry] | None = None
        self._shown: list[Entry] = []
        self._rest: Timer | None = None

    def compose(self) -> ComposeResult:
        self.border_title = "library"
        yield self.line
        with Horizontal(classes="shelves"):
            yield self.folders
            with Vertical(classes="found"):
                yield self.files
                yield self.details

    def on_mount(self) -> None:
        self._look()
        self.set_interval(LOOK_S, self._look)

    def on_unmount(self) -> None:
        if self._library:
            self._library.close()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= WIDE, "-wide")

    # --- reading the library

    def _look(self) -> None:
        """Read again what has changed; the cursor stays where it was."""
        if not self.display:
            return
        try:
            if self._library is None:
                self._library = Library(paths.library_path())
            stamp = (self._library.stamp(), 1)
            if stamp != self._stamp:
                self._stamp, self._everything = stamp, None
                self._read(self._library)
        except (LibraryError, sqlite3.Error) as error:
            self._wrong = str(error)
            self._list([])

    def _read(self, library: Library) -> None:
        models, broken = library.counts()
        favourites, recent = len(library.favourites()), len(library.recent())
        self.border_subtitle = f"{models:,} models" + (f", {broken:,} broken" if broken else "")
        own = [
            Folder(kind, "", kind, 0, count)
            for kind, count in zip(LISTS, (models + broken, favourites, recent, broken), strict=True)
            if count or kind != "broken"
        ]
        before = self.folders.folder
        lines = [*own, *folders(library.tree())]
        same = (i for i, line in enumerate(lines) if before and (line.kind, line.path) == (before.kind, before.path))
        at = next(same, 0)
        self.files.costs = library.costs()
        self.folders.show(lines, at)
        self._fill()

    def _fill(self, path: str = "") -> None:
        """Show what was searched for, or what lies in the folder; the cursor on this file, or where it was."""
        entry = self.files.entry
        path = path or (entry.path if entry else self.files.playing)
        found = self._found()
        self._list(found, next((i for i, entry in enumerate(found) if entry.path == path), 0))

    def _found(self) -> list[Entry]:
        library, folder, text = self._library, self.folders.folder, self.line.value.strip()
        if library is None or folder is None:
            return []
        if text:
            return self._search(library, text)
        match folder.kind:
            case "favourites":
                return library.favourites()
            case "recent":
                return library.recent()
            case "broken":
                return library.broken()
        return library.below(folder.path)

    def _search(self, library: Library, text: str) -> list[Entry]:
        """Words first; where they find little, also what has these letters in this order."""
        found = library.search(text)
        if len(found) < ENOUGH and "#" not in text:
            if self._everything is None:
                self._everything = library.below()
            known = {entry.path for entry in found}
            near = (self._everything[i] for i in fuzzy(text, [entry.name for entry in self._everything]))
            found += [entry for entry in near if entry.path not in known][: ENOUGH - len(found)]
        return found

    def _list(self, found: list[Entry], at: int = 0) -> None:
        self._shown = found
        many = f"{len(found):,} found" if self.line.value.strip() else ""
        self.border_title = Content(f"library  {many}".rstrip())
        self.files.nothing = self._nothing()
        self.files.show(found, at)
        self._about()

    def _nothing(self) -> list[str]:
        if self._wrong:
            return [self._wrong]
        if self.line.value.strip():
            return ["Nothing is called so. Esc forgets the search."]
        if self.folders.folder and self.folders.folder.kind != "everything":
            return ["Nothing here yet."]
        own = paths.data_folder() / "models"
        return ["No model files yet.", "", "F adds a folder of yours. Files in", f"{own}", "appear here by themselves."]

    def _about(self) -> None:
        entry = self.files.entry
        self.details.show(entry, self.files.cost_ns(entry) if entry else None)
        if self._rest:
            self._rest.stop()
        if entry and entry.kind == MODEL:
            self._rest = self.set_timer(REST_S, lambda: self.post_message(self.Resting(entry.path)))

    def show(self, model: str) -> None:
        """The slot in focus plays this model now; a cursor that stood on the one before goes along."""
        before, self.files.playing = self.files.playing, model
        at = next((i for i, entry in enumerate(self._shown) if entry.path == model), None)
        entry = self.files.entry
        if before != model and at is not None and (not before or entry and entry.path == before):
            self.files.go(at)
        self.files.repaint()

    # --- what hands do

    @on(Listing.Highlighted)
    def _moved(self, event: Listing.Highlighted) -> None:
        event.stop()
        if event.listing is self.folders:
            if self.line.value and self.folders.has_focus:
                self.line.value = ""  # which fills the list
            else:
                self._fill()
        else:
            self._about()

    @on(Listing.Selected)
    def _chosen(self, event: Listing.Selected) -> None:
        event.stop()
        if event.listing is self.folders:
            self.files.focus()
        else:
            self.action_put()

    def action_put(self, add: bool = False) -> None:
        entry = self.files.entry
        if entry is not None:
            self.post_message(self.Put(entry.path, self._steps(entry), add))

    def _steps(self, chosen: Entry) -> list[str]:
        """What [ and ] go through from here; nothing where that is the folder itself."""
        found: Sequence[Entry] = [entry for entry in self._shown if entry.kind == MODEL]
        if chosen not in found or len({entry.folder for entry in found}) == 1 and not self.line.value:
            return []
        at = found.index(chosen)
        return [entry.path for entry in found[max(at - MOST_STEPS, 0) : at + MOST_STEPS]]

    def action_mark(self, what: str) -> None:
        if self.files.entry is not None:
            self.post_message(self.Marked(self.files.entry, what))

    def action_add_folder(self) -> None:
        self.post_message(self.AddFolder())

    def action_search(self) -> None:
        self.line.focus()

    async def action_back(self) -> None:
        """From typing to the files; from there, forget the search; and then to the rack."""
        if self.line.has_focus:
            self.files.focus()
        elif self.line.value:
            self.line.value = ""
        else:
            await self.screen.run_action("page('rack')")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        began = time.perf_counter()
        self._list(self._found())
        self.search_ms = (time.perf_counter() - began) * 1e3

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.files.focus()
        self.action_put()

    def on_key(self, event: events.Key) -> None:
        """The arrows move among the files while one types."""
        steps = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10}
        if event.key in steps and self.line.has_focus:
            event.stop()
            event.prevent_default()
            self.files.action_step(steps[event.key])
