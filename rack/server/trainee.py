"""One trainer process: started on a run file, listened to, paused, ended. It dies with the server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

TRAINER = (sys.executable, "-m", "trainer")
SWEEPER = (sys.executable, "-m", "trainer.sweep")
NICE = 19
LONGEST_LINE = 1 << 24  # bytes
PAUSE_S = 3.0  # a trainer that is to go has so long to write its checkpoint
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def own_cores() -> list[int]:
    """The cores to train on: those of the server, which leaves the last one to the sound; of two cores, both."""
    try:
        mine = sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return []
    return mine if len(mine) > 1 else list(range(os.cpu_count() or 1))


def launched(*command: str) -> tuple[str, ...]:
    """A command that runs at the lowest priority, and dies with this process."""
    launcher = str(Path(__file__).with_name("launch.py"))
    return sys.executable, "-I", "-S", launcher, str(os.getpid()), str(NICE), *command


class Trainee:
    """Runs a command that makes `out`; `on_record` gets each JSON line, `on_end` exit status and last words."""

    def __init__(
        self,
        command: Sequence[str],
        out: Path,
        on_record: Callable[[dict[str, Any]], None],
        on_end: Callable[[int, str], None],
    ):
        self.out, self._command = out, tuple(command)
        self._on_record, self._on_end = on_record, on_end
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task | None = None
        self._rests = asyncio.Event()  # it has written a checkpoint and waits
        self.quiet = False  # its end means nothing: it was ended by us

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Start the process; what it says comes later. What its predecessor was asked for is over."""
        for what in ("stop", "pause"):
            self.ask(what, False)
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        words = Path(f"{self.out}.err")
        code = -1
        try:
            with open(words, "wb") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *launched(*self._command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    limit=LONGEST_LINE,
                    start_new_session=True,
                    env=os.environ | {name: str(len(own_cores()) or 1) for name in THREADS},
                )
            with suppress(AttributeError, OSError):
                os.sched_setaffinity(self._process.pid, own_cores())
            await self._listen(self._process)
            code = await self._process.wait()
            said = last_words(words)
        except OSError as error:
            said = f"cannot be started: {error.strerror or error}"
        self._rests.set()
        if not self.quiet:
            self._on_end(code, said)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than any record
                continue
            if not line:
                return
            with suppress(ValueError, TypeError):
                record = json.loads(line)
                self._rests.set() if record["event"] == "paused" else self._rests.clear()
                self._hear(record)

    def _hear(self, record: dict[str, Any]) -> None:
        try:
            if not self.quiet:
                self._on_record(record)
        except Exception:  # a fault of ours must not end the training
            logger.exception("the trainer said %r", record.get("event"))

    def ask(self, what: str, on: bool = True) -> None:
        """Have it `pause` (or go on), or `stop` and keep its best. Raises OSError."""
        path = Path(f"{self.out}.{what}")
        if on:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    async def put_away(self) -> None:
        """End it so that it can be taken up where it is: a checkpoint, if it comes to one soon, then SIGKILL."""
        self.quiet = True
        if self.pid and not self._rests.is_set():
            with suppress(OSError):
                self.ask("pause")
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._rests.wait()
        await self.kill()
        with suppress(OSError):
            self.ask("pause", False)

    async def kill(self) -> None:
        """End it now."""
        self.quiet = True
        if self.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        if self._task:
            with suppress(asyncio.CancelledError):
                await self._task


def last_words(path: Path) -> str:
    """What a trainer said at its end: its own sentence, or the last line of a traceback."""
    try:
        text = path.read_text(errors="replace").strip()
    except OSError:
        return ""
    _, own, sentence = text.rpartition("\ntrainer: ") if "\ntrainer: " in text else ("", "", "")
    if not own and text.startswith("trainer: "):
        sentence = text.removeprefix("trainer: ")
    lines = text.splitlines()
    return (sentence or (lines[-1] if lines else ""))[:2000]
