"""The tape in the server's hands: what is played instead of the input, and what is being recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import paths, protocol
from ..config import SourceChoice
from ..shared import Shared
from .keys import ChangeError
from .tape import Tape, TapeError


class Deck:
    """Puts files on the tape and takes recordings off it. The functions are the server's.

    stream   what the engine has been told to play: a file is played at its rate, and recorded with its channels
    lost     called where a recording ended by itself
    """

    def __init__(
        self,
        shared: Shared,
        stream: Callable[[], protocol.Stream],
        to_engine: Callable[[protocol.Record], Any],
        notice: Callable[[str, str], Any],
        lost: Callable[[], Any],
    ):
        self._shared, self._stream, self._to_engine = shared, stream, to_engine
        self._notice, self._lost = notice, lost
        self._finishing: asyncio.Task | None = None

    def open(self) -> None:
        """Start the tape's thread; in the loop that is told what ends by itself."""
        loop = asyncio.get_running_loop()
        self._tape = Tape(self._shared, lambda text, rec: loop.call_soon_threadsafe(self._ended, text, rec))

    @property
    def recorded_s(self) -> float:
        """Length of the recording so far."""
        return self._tape.recorded_s

    def play(self, source: SourceChoice) -> None:
        """Put the right file on the tape, or none. Raises TapeError, and then what played before plays on."""
        path = _file_of(source)
        if source.kind == "loop" and path is None:
            self._notice("warning", f"there is no loop in {paths.assets() / 'audio'}; nothing is played")
        self._tape.play(path, self._stream().rate)

    def play_or_warn(self, source: SourceChoice) -> None:
        """The same where nobody asked for it just now: what goes wrong is a notice."""
        try:
            self.play(source)
        except TapeError as error:
            self._notice("warning", f"{_file_of(source)} {error}; nothing is played")

    def record(self, path: str) -> None:
        """Begin a recording. Raises ChangeError."""
        if self._finishing and not self._finishing.done():
            raise ChangeError("record: the recording before is still being closed; try again in a moment")
        stream = self._stream()
        try:
            self._tape.record(Path(path), rate=stream.rate, channels=stream.channels)
        except OSError as error:
            raise ChangeError(f"record: {path} cannot be written: {error.strerror or error}") from None
        self._to_engine(protocol.Record(True))

    def end_recording(self, path: str) -> asyncio.Task:
        """End a recording; the task is done when the file is whole."""
        stream = self._stream()
        settle_s = 0.05 + 2 * stream.block / stream.rate

        async def finish() -> None:
            seconds = await asyncio.to_thread(self._tape.finish, settle_s)
            self._notice("info", f"recorded {seconds:.1f} s to {path}")

        self._to_engine(protocol.Record(False))
        self._finishing = asyncio.create_task(finish())
        return self._finishing

    def _ended(self, text: str, recording: bool) -> None:
        self._notice("error", text)
        if recording:
            self._to_engine(protocol.Record(False))
            self._lost()

    def close(self) -> None:
        """End the tape's thread."""
        self._tape.close()


def _file_of(source: SourceChoice) -> Path | None:
    return {"input": None, "loop": paths.loop_path(), "file": Path(source.path)}[source.kind]
