"""The scanner: compares folders with the library and has read what is new.

`scan` does it once. As a process (`python -m rack.scan SOCKET_FD`, a child of the server) it does so again whenever
the folders change. Files are opened by a reader in a process of its own (`rack.workshop.reader`), so that nothing a
file holds can stop, fill or hang a scan: it costs that file, which is noted, and no other.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from . import paths, protocol
from .library import Library, LibraryError, Reading, Signature
from .protocol import Scanned, Watch

LONGEST_FILE = 256 << 20  # bytes; what is larger is no model, and is not opened
DEEPEST, MOST_FILES = 32, 200_000
AHEAD = 32  # files that the reader has been asked for and has not answered
BATCH = 256  # readings that are written in one go
PATIENCE_S = 30.0  # for one file
START_S = 60.0  # more, for what the reader has to import
MEMORY = 2 << 30  # bytes that the reader may take beyond what it needs to start
GLANCE_S, LOOK_S = 5.0, 60.0  # how often the folders are looked at, and every file in them
LEGACY = {"config.json", "weights.npy"}  # a folder with these is one model (NAM 0.4)

READER = (sys.executable, "-m", "rack.workshop.reader")


class Summary(msgspec.Struct, frozen=True):
    """What a scan found: files that are there, and how many of them were read anew; those that are gone."""

    files: int = 0
    read: int = 0
    gone: int = 0
    broken: int = 0  # of those read: should play, and do not
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


# --- What lies in a folder --------------------------------------------------------------------------------------------


def walk(top: str, notes: list[str], changed: dict[str, int] | None = None) -> Iterator[tuple[str, Signature]]:
    """Every file below a folder, with its signature; folders that are a model count as one file.

    Names that begin with a dot are left out, and so is what is no regular file. A folder that is reached twice is
    walked once. `changed` gets each folder's time of change, `notes` what could not be looked at.
    """
    seen: set[tuple[int, int]] = set()
    pending = [(top, 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            found = os.stat(folder)
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            if changed is not None:
                changed[folder] = found.st_mtime_ns
            with os.scandir(folder) as scanned:
                entries = sorted((entry for entry in scanned if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            notes.append(f"{_shown(folder)}: {error.strerror or error}")
            continue
        if {entry.name for entry in entries} >= LEGACY:
            parts = [os.stat(os.path.join(folder, name)) for name in sorted(LEGACY)]
            size, mtime = sum(part.st_size for part in parts), max(part.st_mtime_ns for part in parts)
            yield folder, Signature(size, mtime, found.st_ino)
            entries = [entry for entry in entries if entry.name not in LEGACY]
        for entry in entries:
            with suppress(OSError):
                if not _writable(entry.name):
                    notes.append(f"{_shown(entry.path)}: its name is not UTF-8; rename it")
                elif entry.is_dir():
                    pending.append((entry.path, depth + 1)) if depth < DEEPEST else None
                elif entry.is_file():
                    stat = entry.stat()
                    yield entry.path, Signature(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _writable(name: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in name)


def _shown(path: str) -> str:
    return path.encode(errors="replace").decode()


def outermost(folders: Iterable[str]) -> list[str]:
    """The folders without those that lie in another of them."""
    found: list[str] = []
    for folder in sorted({folder.rstrip("/") or "/" for folder in folders}):
        if not any(folder.startswith(outer.rstrip("/") + "/") for outer in found):
            found.append(folder)
    return found


# --- Reading files ----------------------------------------------------------------------------------------------------


class Reader:
    """Has files read by another process, which is replaced where a file ends it or keeps it too long."""

    def __init__(self, command: Iterable[str] = READER, patience_s: float = PATIENCE_S):
        self._command, self._patience_s = tuple(command), patience_s
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_) -> None:
        self._end()

    def read(self, files: Iterable[str]) -> Iterator[Reading]:
        """What is in these files, in their order."""
        waiting: list[str] = []
        files = iter(files)
        while True:
            fresh = list(itertools.islice(files, AHEAD - len(waiting)))
            if not fresh and not waiting:
                return
            waiting += fresh
            try:
                self._ask(fresh if self._process else waiting)
                answer = self._answer()
            except (OSError, ValueError, EOFError) as error:
                self._end()
                said = "takes too long to read" if isinstance(error, TimeoutError) else "reading it ends the reader"
                name = waiting[0].rpartition("/")[2]
                yield Reading(waiting.pop(0), error=f"{name}: {said}; it is not a sound model file")
                continue
            waiting.pop(0)
            yield answer

    def _ask(self, files: list[str]) -> None:
        if self._process is None:
            pipe, null = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=null, env=environment())
            self._buffer = bytearray()
            self._until = time.monotonic() + START_S
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(json.dumps(file).encode() + b"\n" for file in files))
        self._process.stdin.flush()

    def _answer(self) -> Reading:
        assert self._process is not None and self._process.stdout is not None
        until = max(time.monotonic() + self._patience_s, self._until)
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._process.stdout.fileno(), 1 << 20)
            if not part:
                raise EOFError
            self._buffer += part
        self._until = 0.0
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return msgspec.json.decode(line, type=Reading)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


def environment() -> dict[str, str]:
    """The environment in which our packages are found, wherever the process was started."""
    package = str(Path(__file__).resolve().parent.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))}


def limit_memory(more: int = MEMORY) -> None:
    """From here on this process may take so many bytes more; beyond them it gets MemoryError."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))


# --- Scanning ---------------------------------------------------------------------------------------------------------


def scan(
    library: Library,
    folders: Iterable[str],
    reader: Reader,
    progress: Callable[[int, int], None] = lambda done, all: None,
    stop: Callable[[], bool] = lambda: False,
    changed: dict[str, int] | None = None,
) -> Summary:
    """Bring the library to what lies in these folders. `progress` gets the files read and to be read.

    `stop` is asked between two files; what has been read until then is kept.
    """
    began, notes = time.monotonic(), []
    known: dict[str, Signature] = {}
    found: dict[str, Signature] = {}
    for folder in outermost(folders):
        known |= library.signatures(folder)
        found |= itertools.islice(walk(folder, notes, changed), MOST_FILES)
    gone = known.keys() - found.keys()
    new = [path for path, signature in found.items() if known.get(path) != signature]
    read = broken = 0
    batch: list[tuple[Signature, Reading]] = []
    progress(0, len(new))
    for reading in _readings(new, found, reader):
        batch.append((found[reading.path], reading))
        read += 1
        broken += bool(reading.error and not reading.other)
        if len(batch) >= BATCH:
            library.put(batch)
            batch.clear()
            progress(read, len(new))
        if stop():
            break
    library.put(batch)
    if gone:
        library.forget(gone)
    progress(read, len(new))
    return Summary(len(found), read, len(gone), broken, time.monotonic() - began, tuple(notes))


def _readings(new: list[str], found: dict[str, Signature], reader: Reader) -> Iterator[Reading]:
    """What is in the files; the huge ones are not opened."""
    huge = [path for path in new if found[path].size > LONGEST_FILE]
    for path in huge:
        yield Reading(path, other=True)
    yield from reader.read(path for path in new if found[path].size <= LONGEST_FILE)


# --- The process ------------------------------------------------------------------------------------------------------


class Watcher:
    """Keeps the library true to the folders that the server names, and to those that were added by hand."""

    def __init__(self, connection: socket.socket, library: Library):
        self.connection, self.library = connection, library
        self.messages = protocol.Reader(protocol.ToScanner)
        self.folders: tuple[str, ...] = ()
        self.changed: dict[str, int] = {}
        self.told = False  # there is something to look at at once
        self.looked_at = 0.0

    def run(self) -> None:
        """Until the server is gone."""
        while True:
            self.hear(GLANCE_S)
            if self.told or time.monotonic() - self.looked_at > LOOK_S or self.glance():
                self.look()

    def hear(self, wait_s: float) -> bool:
        """Take the server's words; whether there were any."""
        while select.select([self.connection], [], [], wait_s)[0]:
            message = self.messages.receive(self.connection)
            assert isinstance(message, Watch)
            self.folders, self.told, wait_s = message.folders, True, 0.0
        return self.told

    def glance(self) -> bool:
        """Whether something came to, or went from, one of the folders."""
        for folder, then in self.changed.items():
            try:
                if os.stat(folder).st_mtime_ns != then:
                    return True
            except OSError:
                return True
        return False

    def look(self) -> None:
        """A whole scan, unless the server has something new to say."""
        self.told, self.changed = False, {}
        with Reader() as reader:
            folders = [*self.folders, *self.library.folders()]
            summary = scan(
                self.library, filter(os.path.isdir, folders), reader, stop=lambda: self.hear(0.0), changed=self.changed
            )
            gone = [path for folder in folders if not os.path.isdir(folder) for path in self.library.signatures(folder)]
        self.library.forget(gone)
        self.looked_at = time.monotonic()
        if summary.read or summary.gone or gone:
            self.connection.sendall(protocol.frame(Scanned(summary.files, summary.read, summary.broken)))


def main() -> int:
    connection = socket.socket(fileno=int(sys.argv[1]))
    try:
        with Library(paths.library_path()) as library:
            Watcher(connection, library).run()
    except LibraryError as error:
        print(error, file=sys.stderr)
        return 1
    except (EOFError, ConnectionError):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
