"""A real terminal to run the program in: a pseudo-terminal, its bytes, and the screen they make."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[3]
# Makes a terminal the controlling one, then becomes the program: what `pty.fork` does, without forking this process.
LOGIN = """
import os, sys
os.login_tty(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[2:]])
"""


class Console:
    """Runs Python code in a terminal of `columns` x `rows`. Reads in the background; `text` is what is on screen."""

    def __init__(self, code: str, *args: str, columns: int = 80, rows: int = 24, **environ: str):
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        self.fd, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        unset = ("NO_COLOR", "SSH_CONNECTION", "TEXTUAL_COLOR_SYSTEM")
        plain = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, str(terminal), code, *args],
            pass_fds=(terminal,),
            env={k: v for k, v in os.environ.items() if k not in unset} | plain | environ,
        )
        os.close(terminal)
        self.pid = self._process.pid
        os.set_blocking(self.fd, False)
        asyncio.get_running_loop().add_reader(self.fd, self._read)

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

    async def wait(self, words: str, limit_s: float = 60.0) -> None:
        """Until these words are on the screen."""
        end = time.monotonic() + limit_s
        while words not in self.text:
            if time.monotonic() > end:
                raise AssertionError(f"{words!r} is not on the screen:\n{self.text}")
            await asyncio.sleep(0.02)

    async def ended(self, limit_s: float = 60.0) -> int:
        """The exit status (negative: the signal), once the program has ended."""
        end = time.monotonic() + limit_s
        while (status := self._process.poll()) is None:
            if time.monotonic() > end:
                raise AssertionError(f"the program goes on:\n{self.text}")
            await asyncio.sleep(0.02)
        return status

    def hang_up(self) -> None:
        """Close the terminal under the program."""
        if self.fd >= 0:
            asyncio.get_running_loop().remove_reader(self.fd)
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        self.hang_up()
        self._process.kill()
        self._process.wait()
