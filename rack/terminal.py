"""A program in a terminal that nobody looks at: it is drained, and what it writes is counted."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable


class Terminal:
    """Runs a command on a pseudo-terminal of its own until it is closed; `bytes` is how much it has written so far.

    `watch` is called with each piece that it writes, in a thread.
    """

    def __init__(
        self, command: list[str], *, columns: int, rows: int, watch: Callable[[bytes], None] = lambda piece: None
    ):
        self.bytes = 0
        self._watch = watch
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            self.bytes += len(data)
            self._watch(data)

    def press(self, keys: bytes) -> None:
        """What a keyboard would send."""
        os.write(self._master, keys)

    def close(self) -> None:
        """End the program as a lost connection would."""
        self._process.send_signal(signal.SIGHUP)
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
        self._reader.join(timeout=1)
