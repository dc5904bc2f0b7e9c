"""The library: an index over the user's folders of model files, and what the user noted about them.

One SQLite file. What was read from a file is kept under its path, what a person marked (favourite, tags, notes, when
it was last used) and what was measured under the hash of its content, so that both follow a file that moves. The
scanner (`rack.scan`) writes the first, everybody may read; nothing here opens a model file.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from . import __version__
from .errors import RackError

VERSION = 1  # of the index
# An index of another program's is thrown away and made again: every version may read more files.
MADE_BY = zlib.crc32(f"{VERSION} {__version__}".encode()) >> 1
BUSY_S = 5.0
MODEL, BROKEN, OTHER = 0, 1, 2  # kinds of file: plays, should play but does not, is no model at all
MOST = 500  # results of a search

_INDEX = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, name TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    hash TEXT NOT NULL, kind INTEGER NOT NULL, format TEXT NOT NULL, architecture TEXT NOT NULL,
    sample_rate INTEGER, parameters INTEGER, facts TEXT NOT NULL, error TEXT NOT NULL
);
CREATE INDEX files_folder ON files (folder, name);
CREATE INDEX files_hash ON files (hash);
CREATE VIRTUAL TABLE words USING fts5 (
    name, place, facts, marks, prefix = '1 2 3', tokenize = 'unicode61 remove_diacritics 2'
);
"""
_MARKS = """
CREATE TABLE IF NOT EXISTS marks (
    hash TEXT PRIMARY KEY, favourite INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '', used REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS costs (hash TEXT, block INTEGER, ns REAL NOT NULL, PRIMARY KEY (hash, block));
CREATE TABLE IF NOT EXISTS folders (path TEXT PRIMARY KEY);
"""
_ROWS = """
SELECT f.path, f.folder, f.name, f.size, f.mtime_ns, f.hash, f.kind, f.format, f.architecture, f.sample_rate,
    f.parameters, f.error, f.facts, coalesce(m.favourite, 0), coalesce(m.tags, ''), coalesce(m.notes, ''),
    coalesce(m.used, 0), (SELECT min(ns) FROM costs c WHERE c.hash = f.hash)
FROM {source} LEFT JOIN marks m ON m.hash = f.hash
"""


class LibraryError(RackError):
    """The library's own file cannot be used; the text says what to do."""


class Signature(msgspec.Struct, frozen=True):
    """What tells that a file has changed, without opening it."""

    size: int
    mtime_ns: int
    inode: int


class Reading(msgspec.Struct, frozen=True):
    """What a reader found out about a file: its family and facts, or why it is none."""

    path: str
    hash: str = ""
    format: str = ""
    facts: dict[str, Any] = {}
    error: str = ""
    other: bool = False  # no model file, and none that was meant to be one


class Entry(msgspec.Struct, frozen=True):
    """One file of the library, with all that is known about it."""

    path: str
    folder: str
    name: str
    size: int
    mtime_ns: int
    hash: str
    kind: int
    format: str
    architecture: str
    sample_rate: int | None
    parameters: int | None
    error: str
    facts_json: str
    favourite: int  # 1 for yes
    tags: str
    notes: str
    used: float
    cost_ns: float | None  # a sample of the file's own, measured here

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says of itself: the fields of `jaxmodels.formats.Facts` that it fills in."""
        return json.loads(self.facts_json)


class Library:
    """An open library. Raises LibraryError where its file cannot be used.

    `refresh` is one cheap question; everything else reads what is there at the moment.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            said = "move it away, and it is made again (favourites, tags and notes are in it)"
            raise LibraryError(f"{path}: the library cannot be used: {error}; {said}") from None

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if self._version() == MADE_BY:
            return
        with self.writing():
            if self._version() != MADE_BY:  # nobody else was quicker
                for table in ("files", "words"):
                    self._db.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in filter(str.strip, (_INDEX + _MARKS).split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {MADE_BY}")

    def _version(self) -> int:
        return self._db.execute("PRAGMA user_version").fetchone()[0]

    def writing(self) -> _Transaction:
        """`with library.writing():` all of it or nothing."""
        return _Transaction(self._db)

    def stamp(self) -> int:
        """A number that changes when another process has written."""
        return self._db.execute("PRAGMA data_version").fetchone()[0]

    # --- what the scanner writes

    def signatures(self, folder: str) -> dict[str, Signature]:
        """Every file below a folder, as it was when it was read."""
        low, high = _below(folder)
        rows = self._db.execute(
            "SELECT path, size, mtime_ns, inode FROM files WHERE path > ? AND path < ?", (low, high)
        )
        return {path: Signature(*rest) for path, *rest in rows}

    def put(self, readings: Iterable[tuple[Signature, Reading]]) -> None:
        """Write down what was read, in place of what stood there."""
        with self.writing():
            for signature, reading in readings:
                self._put(signature, reading)

    def _put(self, signature: Signature, found: Reading) -> None:
        old = self._db.execute("SELECT id, hash FROM files WHERE path = ?", (found.path,)).fetchone()
        folder, _, name = found.path.rpartition("/")
        facts = {key: value for key, value in found.facts.items() if value not in (None, "", [], ())}
        kind = OTHER if found.other else BROKEN if found.error else MODEL
        values = (found.path, folder, name, *msgspec.structs.astuple(signature), found.hash, kind, found.format,
                  facts.get("architecture", ""), facts.get("sample_rate"), facts.get("parameters"),
                  json.dumps(facts), found.error)  # fmt: skip
        if old is None:
            row = self._db.execute(f"INSERT INTO files VALUES (NULL{', ?' * len(values)})", values).lastrowid
        else:
            row, before = old
            self._db.execute("DELETE FROM words WHERE rowid = ?", (row,))
            self._db.execute("DELETE FROM files WHERE id = ?", (row,))
            self._db.execute(f"INSERT INTO files VALUES (?{', ?' * len(values)})", (row, *values))
            self._inherit(before, found.hash)
        if kind != OTHER:
            marks = self._db.execute("SELECT tags, notes FROM marks WHERE hash = ?", (found.hash,)).fetchone()
            place = " ".join(folder.split("/")[-3:])
            said = [found.format, *(_text(value) for value in facts.values())]
            words = (_spaced(name), place, " ".join(said), " ".join(marks or ()))
            self._db.execute("INSERT INTO words (rowid, name, place, facts, marks) VALUES (?, ?, ?, ?, ?)",
                             (row, *words))  # fmt: skip

    def _inherit(self, before: str, after: str) -> None:
        """A file that was changed in place keeps its marks, unless they are a copy's as well."""
        if before == after or self._db.execute("SELECT 1 FROM files WHERE hash = ?", (before,)).fetchone():
            return
        self._db.execute("UPDATE OR IGNORE marks SET hash = ? WHERE hash = ?", (after, before))

    def forget(self, paths: Iterable[str]) -> None:
        """These files are gone. What a person noted about them stays, for the day when they come back."""
        with self.writing():
            for path in paths:
                self._db.execute("DELETE FROM words WHERE rowid = (SELECT id FROM files WHERE path = ?)", (path,))
                self._db.execute("DELETE FROM files WHERE path = ?", (path,))

    def measured(self, path: str, block: int, ns: float) -> None:
        """What a sample of this model costs here, in blocks of this size."""
        self._db.execute(
            "INSERT OR REPLACE INTO costs SELECT hash, ?, ? FROM files WHERE path = ? AND hash != ''", (block, ns, path)
        )

    def cost(self, path: str, block: int) -> float | None:
        """The same, once it was measured."""
        query = "SELECT ns FROM costs JOIN files USING (hash) WHERE path = ? AND block = ?"
        return next((ns for (ns,) in self._db.execute(query, (path, block))), None)

    # --- folders that were asked for by hand

    def folders(self) -> list[str]:
        """Folders that were added with `add_folder`."""
        return [path for (path,) in self._db.execute("SELECT path FROM folders ORDER BY path")]

    def add_folder(self, folder: str) -> None:
        """Watch this folder, too."""
        self._db.execute("INSERT OR IGNORE INTO folders VALUES (?)", (folder,))

    def remove_folder(self, folder: str) -> bool:
        """Watch it no more, and forget its files; False where it was not watched."""
        found = self._db.execute("DELETE FROM folders WHERE path = ?", (folder,)).rowcount > 0
        self.forget(self.signatures(folder))
        return found

    # --- marks

    def mark(self, path: str, *, favourite: bool | None = None, tags: str | None = None, notes: str | None = None,
             used: float | None = None) -> None:  # fmt: skip
        """Note something about the content of a file; None leaves it. Raises LibraryError for a file not in it."""
        row = self._db.execute("SELECT hash FROM files WHERE path = ?", (path,)).fetchone()
        if row is None or not row[0]:
            raise LibraryError(f"{path}: not in the library; nafx-rack models scan {Path(path).parent}")
        changes: dict[str, Any] = {"favourite": favourite, "tags": tags, "notes": notes, "used": used}
        with self.writing():
            self._db.execute("INSERT OR IGNORE INTO marks (hash) VALUES (?)", row)
            for name, value in changes.items():
                if value is not None:
                    self._db.execute(f"UPDATE marks SET {name} = ? WHERE hash = ?", (value, *row))
            if tags is not None or notes is not None:
                self._db.execute(
                    "UPDATE words SET marks = (SELECT tags || ' ' || notes FROM marks WHERE hash = ?1)"
                    " WHERE rowid IN (SELECT id FROM files WHERE hash = ?1)", row
                )  # fmt: skip

    def use(self, path: str) -> None:
        """The model was chosen just now; files outside the library are not remembered."""
        with suppress(LibraryError):
            self.mark(path, used=time.time())

    # --- reading

    def _entries(self, where: str = "", values: Sequence = (), source: str = "files f") -> list[Entry]:
        rows = self._db.execute(f"{_ROWS.format(source=source)} {where}", values)
        return [Entry(*row) for row in rows]

    def entry(self, path: str) -> Entry | None:
        """One file, if it is in the library."""
        return next(iter(self._entries("WHERE f.path = ?", (path,))), None)

    def below(self, folder: str = "", *, only: bool = False) -> list[Entry]:
        """The files below a folder, or everywhere; with `only` those that lie in it itself."""
        order = f"AND f.kind != {OTHER} ORDER BY f.folder COLLATE NOCASE, f.name COLLATE NOCASE"
        if only:
            return self._entries(f"WHERE f.folder = ? {order}", (folder,))
        return self._entries(
            f"WHERE f.path > ? AND f.path < ? {order}", _below(folder) if folder else ("", "\U0010ffff")
        )

    def favourites(self) -> list[Entry]:
        """What was marked as a favourite, by name."""
        return self._entries(f"WHERE m.favourite AND f.kind != {OTHER} ORDER BY f.name COLLATE NOCASE")

    def recent(self, most: int = 50) -> list[Entry]:
        """What was used last, the latest first."""
        return self._entries(f"WHERE m.used > 0 AND f.kind != {OTHER} ORDER BY m.used DESC LIMIT ?", (most,))

    def broken(self, folder: str = "") -> list[Entry]:
        """What should play and does not."""
        return [entry for entry in self.below(folder) if entry.kind == BROKEN]

    def tree(self) -> dict[str, int]:
        """How many models lie in each folder that has any, by its path."""
        rows = self._db.execute(f"SELECT folder, count(*) FROM files WHERE kind != {OTHER} GROUP BY folder")
        return dict(sorted(rows, key=lambda row: row[0].casefold()))

    def counts(self) -> tuple[int, int]:
        """Models that play, and files that should and do not."""
        found = dict(self._db.execute("SELECT kind, count(*) FROM files GROUP BY kind"))
        return found.get(MODEL, 0), found.get(BROKEN, 0)

    def playable(self, path: str) -> list[str]:
        """The models in the folder of a file, as they are listed; [] where the library does not know the folder."""
        rows = self._db.execute(
            f"SELECT path FROM files WHERE folder = ? AND kind = {MODEL} ORDER BY name COLLATE NOCASE",
            (path.rpartition("/")[0],),
        )
        return [path for (path,) in rows]

    def costs(self) -> dict[tuple[str, str, int | None], float]:
        """Nanoseconds a sample that models of one architecture take: what one was measured at goes for the others."""
        rows = self._db.execute(
            "SELECT f.format, f.architecture, f.sample_rate, min(c.ns) FROM costs c JOIN files f USING (hash)"
            " WHERE f.architecture != '' GROUP BY 1, 2, 3"
        )
        return {(format, architecture, rate): ns for format, architecture, rate, ns in rows}

    # --- searching

    def search(self, text: str, most: int = MOST) -> list[Entry]:
        """Files in which every word of the text begins some word: of name, folder, facts, tags or notes.

        `#word` looks among tags and notes only. The best come first; broken files last.
        """
        query = match(text)
        if not query:
            return []
        order = f"f.kind, bm25(words, 8.0, 2.0, 3.0, 8.0) - 2.0 * coalesce(m.favourite, 0), f.name LIMIT {most}"
        return self._entries(
            f"WHERE words MATCH ? ORDER BY {order}", (query,), "words JOIN files f ON f.id = words.rowid"
        )


class _Transaction:
    """BEGIN IMMEDIATE to COMMIT, or ROLLBACK where something went wrong."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, *_) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _below(folder: str) -> tuple[str, str]:
    """Between which two texts all paths below a folder lie."""
    base = folder.rstrip("/")
    return f"{base}/", f"{base}0"  # 0 follows / in every order of characters that SQLite compares by


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _spaced(name: str) -> str:
    """A file's name, and once more with its words apart: TS9_DriveKnob.json is found by `knob`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", name)
    return name if apart == name else f"{name} {apart}"


def match(text: str) -> str:
    """A text as people type it as a query: every word the beginning of one; never a mistake in the query's language."""
    parts = []
    for word in text.split()[:16]:
        column = "marks : " if word.startswith("#") else ""
        parts += [f'{column}"{bare}"*' for bare in re.findall(r"[^\W_]+", word)[:16]]
    return " AND ".join(parts)


def plain_path(path: str | os.PathLike) -> str:
    """A path as the library knows it: whole, and without the ways it was come by."""
    return os.path.abspath(os.path.expanduser(path))
