"""A real terminal to run the program in: a pseudo-terminal, its bytes, and the screen they make."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import time
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[3]


class Console:
    """Runs Python code in a terminal of `columns` x `rows`. Reads in the background; `text` is what is on screen."""

    def __init__(self, code: str, *args: str, columns: int = 80, rows: int = 24, **environ: str):
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for name in ("NO_COLOR", "SSH_CONNECTION", "TEXTUAL_COLOR_SYSTEM"):
                os.environ.pop(name, None)
            plain = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
            os.environ.update({**plain, **environ})
            os.execv(sys.executable, [sys.executable, "-c", code, *args])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.set_blocking(self.fd, False)
        asyncio.get_running_loop().add_reader(self.fd, self._read)
        self.status: int | None = None

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.fd)
            return
        self.received += data
        # pyte takes the ends of private sequences (as in ESC [ > 25 u) for text; terminals do not.
        self._stream.feed(data.replace(b"\x1b[>25u", b"").replace(b"\x1b[<u", b""))

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def press(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    async def wait(self, words: str, limit_s: float = 20.0) -> None:
        """Until these words are on the screen."""
        end = time.monotonic() + limit_s
        while words not in self.text:
            if time.monotonic() > end:
                raise AssertionError(f"{words!r} is not on the screen:\n{self.text}")
            await asyncio.sleep(0.02)

    async def ended(self, limit_s: float = 10.0) -> int:
        """The exit status (negative: the signal), once the program has ended."""
        end = time.monotonic() + limit_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                raise AssertionError(f"the program goes on:\n{self.text}")
            await asyncio.sleep(0.02)

    def hang_up(self) -> None:
        """Close the terminal under the program."""
        if self.fd >= 0:
            asyncio.get_running_loop().remove_reader(self.fd)
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        self.hang_up()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
