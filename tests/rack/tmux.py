"""A terminal for the program in a tmux of its own: keys go in, the screen comes out."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path


class Tmux:
    """A session of `columns` x `rows` on a private socket in `folder`; whatever runs in it ends with it."""

    def __init__(self, folder: Path, columns: int = 120, rows: int = 36, **environ: str):
        self._tmux = ("tmux", "-u", "-S", str(folder / "tmux.socket"), "-f", "/dev/null")
        self._size = ("-x", str(columns), "-y", str(rows))
        self._environ = {"COLORTERM": "truecolor", "LANG": "C.UTF-8", "TEXTUAL_ANIMATIONS": "none"} | environ

    def _do(self, *words: str) -> str:
        not_its = ("TMUX", "NO_COLOR", "COLUMNS", "LINES")
        environ = {name: value for name, value in os.environ.items() if name not in not_its}
        return subprocess.run([*self._tmux, *words], env=environ, capture_output=True, text=True, check=True).stdout

    def run(self, *command: str) -> None:
        """Begin the session with this program; the session ends when the program does."""
        said = [f"{name}={value}" for name, value in self._environ.items()]
        self._do("new-session", "-d", *self._size, shlex.join(["env", *said, *command]))

    @property
    def screen(self) -> str:
        """What is to be seen; nothing once the program has ended."""
        try:
            return self._do("capture-pane", "-p")
        except subprocess.CalledProcessError:
            return ""

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return subprocess.run([*self._tmux, "has-session"], capture_output=True).returncode == 0

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, as in `Enter`, `BSpace`, `PPage`, `a`."""
        self._do("send-keys", *keys)

    def write(self, text: str) -> None:
        """These characters, one after another."""
        self._do("send-keys", "-l", "--", text)

    def wait(self, *words: str, limit_s: float = 120.0) -> str:
        """The screen, as soon as all of these words are on it."""
        end = time.monotonic() + limit_s
        while not all(word in (screen := self.screen) for word in words):
            missing = [word for word in words if word not in screen]
            assert time.monotonic() < end, f"{missing} did not come up within {limit_s:g} s:\n{screen}"
            time.sleep(0.1)
        return screen

    def close(self) -> None:
        """End the session."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)
