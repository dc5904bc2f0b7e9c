"""`nafx-rack models`: the library from the command line. What has to load a model for real is in `workshop.trial`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from . import config, paths
from .catalogue import catalogue
from .describe import described, family, hertz, percent, share
from .errors import RackError
from .library import BROKEN, OTHER, Entry, Library, LibraryError, plain_path
from .scan import Reader, scan

NOTHING = 1  # the exit status of a search without results


def watched(library: Library) -> list[str]:
    """The folders that belong to the library: ours, those of racks.toml, and those added by hand."""
    own = [str(paths.data_folder() / "models"), str(paths.assets() / "models")]
    named: tuple[str, ...] = ()
    if paths.racks_path().is_file():
        named = config.load(paths.racks_path(), catalogue())[0].library
    return [*own, *named, *library.folders()]


def scan_(args: argparse.Namespace) -> int:
    """Bring the library up to date; folders that are named belong to it from then on."""
    named = [plain_path(folder) for folder in args.folders]
    for folder in named:
        if not os.path.isdir(folder) and not args.forget:
            raise RackError(f"{folder}: no such folder")
    with Library(paths.library_path()) as library:
        if args.forget:
            return _forget(library, named)
        for folder in named:
            library.add_folder(folder)
        shown = sys.stderr.isatty() and not args.json

        def progress(done: int, all: int) -> None:
            if shown and all:
                print(f"\rreading {done:,} of {all:,}", end="" if done < all else "\n", file=sys.stderr, flush=True)

        folders = named or [folder for folder in watched(library) if os.path.isdir(folder)]
        with Reader() as reader:
            summary = scan(library, folders, reader, progress)
        models, broken = library.counts()
    if args.json:
        print(json.dumps({**msgspec.to_builtins(summary), "models": models, "in_all_broken": broken}))
        return 0
    said = f"{models:,} models, {broken:,} that cannot be played"
    print(f"{said}; read {summary.read:,} files in {summary.seconds:.1f} s")
    for note in summary.notes:
        print(f"nafx-rack: {note}", file=sys.stderr)
    return 0


def _forget(library: Library, folders: list[str]) -> int:
    for folder in folders:
        if not library.remove_folder(folder):
            known = ", ".join(library.folders()) or "none"
            raise RackError(f"{folder}: not a folder that was added; there are {known}")
    return 0


def list_(args: argparse.Namespace) -> int:
    """What is in the library."""
    with Library(paths.library_path()) as library:
        folder = plain_path(args.folder) if args.folder else ""
        if args.recent:
            found = library.recent()
        elif args.favourites:
            found = library.favourites()
        else:
            found = library.below(folder)
        found = [entry for entry in found if not folder or entry.path.startswith(folder + "/")]
        found = [entry for entry in found if (entry.kind == BROKEN) == bool(args.errors)]
        _show(found, library, args.json)
    return 0


def search(args: argparse.Namespace) -> int:
    """Files by the beginnings of words."""
    with Library(paths.library_path()) as library:
        found = library.search(" ".join(args.words))
        _show(found, library, args.json)
    return 0 if found else NOTHING


def info(args: argparse.Namespace) -> int:
    """All that is known about one file."""
    path = plain_path(args.path)
    with Library(paths.library_path()) as library:
        entry = library.entry(path)
        if entry is None or entry.mtime_ns != _changed(path):
            entry = _read_now(path)
        like_it = library.costs().get((entry.format, entry.architecture, entry.sample_rate))
    if args.json:
        print(json.dumps(plain(entry)))
    else:
        rows = [("path", path), *described(entry, like_it)]
        print("\n".join(f"{label:<10} {words}" for label, words in rows))
    return 1 if entry.error else 0


def mark(args: argparse.Namespace) -> int:
    """Favourite, tags and notes."""
    with Library(paths.library_path()) as library:
        library.mark(plain_path(args.path), favourite=args.favourite, tags=args.tags, notes=args.notes)
    return 0


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise LibraryError(f"{path}: {error.strerror or error}") from None


def _read_now(path: str) -> Entry:
    """A file as the scanner sees it, without putting it into the library."""
    found = os.stat(path)
    with Reader() as reader:
        (reading,) = reader.read([path])
    if reading.other and not reading.error:
        raise RackError(f"{path}: not a model file")
    facts = reading.facts
    return Entry(
        path, str(Path(path).parent), Path(path).name, found.st_size, found.st_mtime_ns, reading.hash,
        BROKEN if reading.error else OTHER, reading.format, facts.get("architecture", ""), facts.get("sample_rate"),
        facts.get("parameters"), reading.error, json.dumps(facts), 0, "", "", 0.0, None,
    )  # fmt: skip


def plain(entry: Entry) -> dict[str, Any]:
    """An entry for programs: what the file says of itself, and what was noted and measured."""
    return {
        **entry.facts,
        "path": entry.path,
        "format": entry.format,
        "architecture": entry.architecture,
        "sample_rate": entry.sample_rate,
        "parameters": entry.parameters,
        "size": entry.size,
        "hash": entry.hash,
        "error": entry.error,
        "favourite": bool(entry.favourite),
        "tags": entry.tags.split(),
        "notes": entry.notes,
        "remarks": entry.facts.get("notes", []),
        "used": entry.used or None,
        "cost_ns": entry.cost_ns,
    }


def _show(entries: Iterable[Entry], library: Library, as_json: bool) -> None:
    if as_json:
        print(json.dumps([plain(entry) for entry in entries]))
        return
    costs = library.costs()
    for entry in entries:
        ns = entry.cost_ns or costs.get((entry.format, entry.architecture, entry.sample_rate))
        words = (entry.architecture or family(entry.format), hertz(entry.sample_rate), percent(share(ns)) if ns else "")
        kind = entry.error or " ".join(filter(None, words))
        print(f"{'*' if entry.favourite else ' '} {entry.path}  {kind}{f'  #{entry.tags}' if entry.tags else ''}")


COMMANDS = {"scan": scan_, "list": list_, "search": search, "info": info, "mark": mark}
