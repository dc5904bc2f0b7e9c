"""Every change is written down, so that a killed server finds its rack again as it was at the last gesture."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..config import Audio, Rack, SourceChoice
from ..paths import write_atomically
from .state import Scene, State

VERSION = 1
WRITE_S = 0.1  # no more often


class Journal(msgspec.Struct, frozen=True):
    """What is remembered of a state: what differs from racks.toml, so that a change of that file by hand counts."""

    version: int
    rack: str = ""
    edited: dict[str, Rack] = {}
    bypass: bool = False
    mute: bool = False
    source: SourceChoice | None = None
    audio: Audio | None = None


def journal_of(state: State) -> bytes:
    """A state as the bytes of a journal."""
    file, scene = state.file, state.scene
    edited = dict(state.edited)
    if scene.name not in file.racks:
        edited[scene.name] = scene.rack
    kept = Journal(
        VERSION,
        rack=scene.name if scene.name != file.rack else "",
        edited=edited,
        bypass=state.bypass,
        mute=state.mute,
        source=state.source if state.source != file.source else None,
        audio=state.audio if state.audio != file.audio else None,
    )
    return msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"


def restored(state: State, found: Journal) -> State:
    """The state of a racks.toml with what the journal remembers on top."""
    racks = {**state.file.racks, **{n: rack for n, rack in found.edited.items() if n not in state.file.racks}}
    edited = {name: rack for name, rack in found.edited.items() if rack != racks[name]}
    name = found.rack if found.rack in racks else state.scene.name
    source = found.source or state.source
    if source.kind == "file" and not Path(source.path).is_file():
        source = state.source
    return replace(
        state,
        scene=Scene(name, edited.get(name, racks[name])),
        file=replace(state.file, racks=racks),
        edited=edited,
        bypass=found.bypass,
        mute=found.mute,
        source=source,
        audio=found.audio or state.audio,
    )


def read_journal(path: Path) -> tuple[Journal | None, str]:
    """What was written down, or None; and a line about it where it could not be read. Such a file is set aside."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Journal)
        if found.version == VERSION:
            return found, ""
        reason = f"it is of version {found.version}, this program reads {VERSION}"
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror or error}; starting from racks.toml"
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = str(error)
    aside = path.with_name(f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}.unreadable")
    try:
        os.replace(path, aside)
    except OSError:
        aside = path
    return None, f"{path} cannot be understood ({reason}); it is kept as {aside.name}; starting from racks.toml"


def write_journal(path: Path, data: bytes) -> str:
    """Write the journal; answers what went wrong, or nothing."""
    try:
        write_atomically(path, data)
    except OSError as error:
        return f"changes cannot be written down in {path}: {error.strerror or error}"
    return ""


class JournalWriter:
    """Writes the journal when told of a change: soon, not in the event loop's way, and never two at once."""

    def __init__(self, path: Path, state: Callable[[], State], notice: Callable[[str, str], Any]):
        self._path, self._state, self._notice = path, state, notice
        self._writing: asyncio.Task | None = None
        self._failed = ""

    def write_soon(self) -> None:
        """Write the state as it will be in a moment; what changes meanwhile is written along."""
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        await asyncio.sleep(WRITE_S)
        self._writing = None  # what changes from here on is written by the next
        failed = await asyncio.to_thread(write_journal, self._path, journal_of(self._state()))
        if failed and failed != self._failed:
            self._notice("error", failed)
        self._failed = failed

    async def end(self) -> None:
        """Write the state as it is."""
        if self._writing:
            await self._writing
        write_journal(self._path, journal_of(self._state()))
