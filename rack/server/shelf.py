"""The server's hands on the library: who scans it, what is noted in it, what stands beside the captures in use.

The library may be missing or broken; then there is one line about it, and everything that plays goes on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from .. import paths
from ..config import MODEL, OF_FILES, Slot
from ..errors import RackError
from ..library import MODEL as PLAYS
from ..library import Library, LibraryError
from ..protocol import BoxSpec, FromScanner, Scanned, Watch
from .children import Child
from .librarykeys import Mark, WatchFolder
from .slotkeys import fresh, playing, step_model
from .state import State, World, knobs, positions, spec

START_S = 2.0  # after which the scanner is started: the sound comes first
NICE = 19
REACH = (1, -1, 2, -2, 3, -3, 4, -4)  # the captures beside one in use that are made ahead


class Shelf:
    """Opens the library when it is first asked for, and runs its scanner."""

    def __init__(self, command: Sequence[str], say: Callable[[str, str], None]):
        self._say = say
        self._folders: tuple[str, ...] = ()
        self._library: Library | None = None
        self._failed = False
        self._starting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task] = set()
        self._child = (
            Child("library", command, FromScanner, self._heard, self._died, nice=NICE, on_start=self._watch)
            if command
            else None
        )

    # --- the scanner

    def start(self, folders: Iterable[str]) -> None:
        """Have these folders scanned, and again when they change."""
        self._folders = tuple(map(str, folders))
        if self._child:
            self._starting = asyncio.get_running_loop().call_later(START_S, self._child.start)

    async def stop(self) -> None:
        """End the scanner; what is being noted is noted."""
        if self._starting:
            self._starting.cancel()
        if self._child:
            await self._child.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._library:
            self._library.close()

    def _watch(self) -> None:
        assert self._child is not None
        self._child.send(Watch(self._folders))

    def _heard(self, message: Scanned) -> None:
        pass  # the log of the server has what the scanner says; clients see the library itself change

    def _died(self, reason: str) -> None:
        if reason and not self._failed:
            self._failed = True
            self._say("warning", f"{reason}; the sound goes on")

    # --- reading

    @property
    def library(self) -> Library | None:
        """The library, or None where it cannot be used."""
        if self._library is None and not self._failed:
            try:
                self._library = Library(paths.library_path())
            except LibraryError as error:
                self._failed = True
                self._say("warning", str(error))
        return self._library

    def _ask(self, question: Callable[[Library], Any], otherwise: Any) -> Any:
        try:
            return question(self.library) if self.library else otherwise
        except sqlite3.Error:
            return otherwise

    def playable(self, path: str) -> list[str]:
        """The models in the folder of a file; [] where the library does not know it."""
        return self._ask(lambda library: library.playable(path), [])

    def models(self) -> list[str]:
        """Every model that plays."""
        return self._ask(lambda library: [entry.path for entry in library.below() if entry.kind == PLAYS], [])

    def about(self) -> dict[str, Any]:
        """How much there is, and the folders it is from."""
        models, broken = self._ask(lambda library: library.counts(), (0, 0))
        added = self._ask(lambda library: library.folders(), [])
        return {"models": models, "broken": broken, "folders": [*self._folders, *added]}

    # --- writing

    async def do(self, effect: Mark | WatchFolder) -> None:
        """Write down what a client wants noted. Raises RackError."""
        if self.library is None:
            raise RackError(f"{paths.library_path()}: the library cannot be used")
        match effect:
            case Mark(path, favourite, tags, notes):
                await asyncio.to_thread(self.library.mark, path, favourite=favourite, tags=tags, notes=notes)
            case WatchFolder(folder, watched):
                await asyncio.to_thread(self.library.add_folder if watched else self.library.remove_folder, folder)
                if self._child:
                    self._watch()

    def use(self, models: Iterable[str]) -> None:
        """These models were chosen just now."""
        for model in models:
            self._tasks.add(task := asyncio.create_task(asyncio.to_thread(self._use, model)))
            task.add_done_callback(self._tasks.discard)

    def _use(self, model: str) -> None:
        with suppress(sqlite3.Error):
            if self.library:
                self.library.use(model)


def models(of: State) -> set[str]:
    """The model files of a rack."""
    return {slot.model for slot in of.scene.rack.slots if slot.type == MODEL and slot.model}


def nearby(of: State, world: World, wanted: Iterable[str] = ()) -> Iterator[BoxSpec]:
    """Boxes that may be wanted next: models asked for, then those a step away from the ones in the rack."""
    slots = [slot for slot in of.scene.rack.slots if slot.type in OF_FILES and not slot.error]
    plain = next((slot for slot in slots if slot.type == MODEL), Slot("", MODEL, settings=fresh(world, MODEL)))
    for path in wanted:
        yield _box(of, world, playing(plain, path))
    for step in REACH:
        for slot in slots:
            with suppress(ValueError):  # there is no other file
                yield _box(of, world, step_model(of, world, slot, step))


def _box(of: State, world: World, slot: Slot) -> BoxSpec:
    known = knobs(of, world, slot)
    return spec(slot, positions(slot, known) if known else None)
