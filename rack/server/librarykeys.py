"""The keys of the library: what may be changed in it, and which captures `slot.model.step` goes through."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from ..checks import text
from .slotkeys import on_off
from .state import State, World

LONGEST_LIST = 2000  # paths to step through


class Mark(msgspec.Struct, frozen=True):
    """Note something about a model file; None leaves what was noted before."""

    path: str
    favourite: bool | None = None
    tags: str | None = None
    notes: str | None = None


class WatchFolder(msgspec.Struct, frozen=True):
    """Have this folder in the library, or no more."""

    folder: str
    watched: bool


class MakeAhead(msgspec.Struct, frozen=True):
    """These models may be wanted next."""

    paths: tuple[str, ...]


LibraryEffect = Mark | WatchFolder | MakeAhead


def _path(world: World, value) -> str:
    found = world.find(text(value)) if isinstance(value, str) and value else ""
    if not found and not (isinstance(value, str) and value.startswith("/")):
        raise ValueError("must name a model file by its whole path")
    return found or text(value)


def _mark(state: State, world: World, value, gesture: tuple):
    """A table of path and what to note: favourite, tags, notes."""
    if not isinstance(value, dict) or not {"path"} <= set(value) <= {"path", "favourite", "tags", "notes"}:
        raise ValueError("must be a table of path and favourite, tags or notes")
    known: dict[str, Any] = {key: text(value[key]) for key in ("tags", "notes") if key in value}
    if "favourite" in value:
        known["favourite"] = on_off(value["favourite"], False)
    return state, [Mark(_path(world, value["path"]), **known)]


def _watch(watched: bool):
    def watch(state: State, world: World, value, gesture: tuple):
        if not isinstance(value, str) or not value.startswith("/"):
            raise ValueError("must be the whole path of a folder")
        if watched and not world.is_folder(text(value)):
            raise ValueError("no such folder")
        return state, [WatchFolder(text(value).rstrip("/") or "/", watched)]

    return watch


def _paths(value) -> tuple[str, ...]:
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not all(isinstance(path, str) for path in value):
        raise ValueError("must be a path, or a list of paths")
    return tuple(text(path) for path in value[:LONGEST_LIST])


def _audition(state: State, world: World, value, gesture: tuple):
    """The models to step through; an empty list: those of the folder."""
    return replace(state, audition=_paths(value or [])), []


def _ahead(state: State, world: World, value, gesture: tuple):
    return state, [MakeAhead(_paths(value or [])[:4])]


LIBRARY_KEYS = {
    "library.mark": _mark,
    "library.add": _watch(True),
    "library.remove": _watch(False),
    "library.audition": _audition,
    "library.ahead": _ahead,
}
