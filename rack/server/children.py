"""Engine, workshop and scanner: started, listened to, started again when they die, and never outliving the server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..paths import log_path
from ..protocol import Reader, frame

logger = logging.getLogger(__name__)

STEADY_S = 10.0  # a child that lived so long did not die of how it was started
WAITS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the next start, in a row of early deaths
LONGEST_LOG = 1 << 20  # bytes

ENGINE = (sys.executable, "-m", "rack.engine.process")
WORKSHOP = (sys.executable, "-m", "rack.workshop.build")
SCANNER = (sys.executable, "-m", "rack.scan")


class Child:
    """A process at the other end of a socket.

    It is run as `command SOCKET_FD FD...`. `on_start` is called when it can be spoken to, `on_message` gets what it
    says, `on_death` why it ended; after that it is started again, at once the first time, ever later if it keeps dying.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        messages: Any,
        on_message: Callable[[Any], None],
        on_death: Callable[[str], None],
        *,
        fds: Sequence[int] = (),
        nice: int = 0,
        on_start: Callable[[], None] = lambda: None,
    ):
        self._on_start = on_start
        self.name, self._command, self._reader = name, tuple(command), Reader(messages)
        self._on_message, self._on_death = on_message, on_death
        self._fds, self._nice = tuple(fds), nice
        self._writer: asyncio.StreamWriter | None = None
        self._process: subprocess.Popen | None = None
        self._task: asyncio.Task | None = None
        self._stopping = self._renewing = False

    @property
    def pid(self) -> int | None:
        """The running process, if there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process and keep it running."""
        self._task = asyncio.create_task(self._supervise(), name=self.name)

    def send(self, message: Any) -> None:
        """Send a message, if there is anybody to get it; a new process is told everything again anyway."""
        if self._writer and not self._writer.is_closing():
            self._writer.write(frame(message))

    def renew(self, farewell: Any) -> None:
        """End the process politely, to have a fresh one at once; `on_death` gets no reason."""
        if self._process and not self._renewing:
            self._renewing = True
            self.send(farewell)

    async def _supervise(self) -> None:
        early = 0
        while not self._stopping:
            began = time.monotonic()
            reason = await self._live()
            if self._stopping:
                return
            if self._renewing:
                self._renewing, early = False, 0
                self._on_death("")
                continue
            early = 0 if time.monotonic() - began > STEADY_S else early + 1
            wait = WAITS_S[min(max(early - 1, 0), len(WAITS_S) - 1)]
            self._on_death(reason + (f"; it is started again in {wait:g} s" if wait else ""))
            await asyncio.sleep(wait)

    async def _live(self) -> str:
        """One life of the process; answers how it ended."""
        ours, theirs = socket.socketpair()
        try:
            self._process = self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            return f"the {self.name} cannot be started: {error}"
        finally:
            theirs.close()
        stream, self._writer = await asyncio.open_connection(sock=ours)
        self._on_start()
        said = ""
        try:
            while True:
                self._hear(await self._reader.read(stream))
        except (EOFError, OSError) as error:  # the end of the stream, or nonsense on it
            said = "" if isinstance(error, EOFError | ConnectionResetError | BrokenPipeError) else f": {error}"
        finally:
            writer, self._writer = self._writer, None
            writer.close()
            code = await self._end(self._process, 0.0 if self._stopping else 0.5)
            self._process = None
        return f"the {self.name} ended ({_ending(code)}{said or self._last_words()})"

    def _hear(self, message: Any) -> None:
        try:
            self._on_message(message)
        except Exception:  # a fault of ours must not end the child's life
            logger.exception("%s said %r", self.name, type(message).__name__)

    def _spawn(self, fd: int) -> subprocess.Popen:
        launcher = str(Path(__file__).with_name("launch.py"))
        start = (sys.executable, "-I", "-S", launcher, str(os.getpid()), str(self._nice))
        fds = (fd, *self._fds)
        with open(_rotated(log_path(self.name)), "ab") as log:
            return subprocess.Popen(
                [*start, *self._command, *map(str, fds)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @staticmethod
    async def _end(process: subprocess.Popen, patience_s: float) -> int:
        """Wait for a process, then see to it that it is gone."""
        for signal_number in (None, signal.SIGTERM, signal.SIGKILL):
            if signal_number and process.poll() is None:
                process.send_signal(signal_number)
            until = time.monotonic() + (patience_s if signal_number is None else 1.0)
            while process.poll() is None and time.monotonic() < until:
                await asyncio.sleep(0.005)
        return process.wait()

    def _last_words(self) -> str:
        """The last line of its log, which is where a traceback says what it is about."""
        with suppress(OSError):
            with open(log_path(self.name), "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                lines = log.read().decode(errors="replace").strip().splitlines()
            if lines and "Error" in lines[-1]:
                return f": {lines[-1].strip()[:200]}"
        return ""

    async def stop(self, farewell: Any = None, patience_s: float = 0.0) -> None:
        """End it for good: a farewell, patience, SIGTERM, SIGKILL."""
        self._stopping = True
        process = self._process
        if farewell is not None:
            self.send(farewell)
        if process is not None:
            until = time.monotonic() + patience_s
            while process.poll() is None and time.monotonic() < until:
                await asyncio.sleep(0.01)
            await self._end(process, 0.0)
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


def _ending(code: int) -> str:
    if code >= 0:
        return f"status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _rotated(path: Path) -> Path:
    """A log file to append to; one that has grown long is put aside first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(OSError):
        if path.stat().st_size > LONGEST_LOG:
            os.replace(path, path.with_name(path.name + ".1"))
    return path
