"""Reaching the server from the command line: attach, start it where none runs, ask it things, end it."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import __version__, paths, protocol
from .errors import RackError
from .server.lock import holder

ANSWER_S = 30.0
START_S = 30.0
STOP_S = 8.0
NO_SERVER = "no server is running; nafx-rack starts one"


class NoServer(RackError):
    """There is nothing to talk to."""


class Connection:
    """A connection that waits for its answers. Raises NoServer where there is no server, RackError when it says no."""

    def __init__(self, kind: str = "cli"):
        path = paths.socket_path()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise NoServer(NO_SERVER) from None
        self._reader, self._requests = protocol.Reader(protocol.FromServer), 0
        try:
            self.send(protocol.Hello(__version__, kind))
            first = self._next()
            if isinstance(first, protocol.Notice):
                raise RackError(first.text)
        except BaseException:
            self.close()
            raise
        self.view: protocol.View = first.view

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Leave; the sound goes on."""
        self._socket.close()

    def send(self, message: Any) -> None:
        """Send a message without waiting for an answer."""
        try:
            data = protocol.frame(message)
        except (TypeError, ValueError) as error:
            raise RackError(f"this cannot be sent: {error}") from None
        try:
            self._socket.sendall(data)
        except OSError:
            raise NoServer("the server ended") from None

    def _next(self) -> Any:
        try:
            return self._reader.receive(self._socket)
        except TimeoutError:
            raise RackError(f"the server does not answer; see {paths.log_path('server')}") from None
        except (EOFError, OSError) as error:
            said = str(error) if "does not know" in str(error) else "the server ended"
            raise NoServer(said) from None

    def _ask(self, message) -> Any:
        self.send(message)
        while True:
            heard = self._next()
            if isinstance(heard, protocol.Reply) and heard.request == message.request:
                if heard.error:
                    raise RackError(heard.error)
                return heard.value

    def set(self, key: str, value: Any) -> Any:
        """Change one thing; answers what there is to say about it, which is mostly nothing."""
        self._requests += 1
        return self._ask(protocol.Set(key, value, self._requests))

    def get(self, key: str) -> Any:
        """Read one thing."""
        self._requests += 1
        return self._ask(protocol.Get(key, self._requests))

    def messages(self, wait_s: float | None = None) -> Iterator[Any]:
        """Everything that the server says, until it ends."""
        self._socket.settimeout(wait_s)
        while True:
            yield self._next()

    def telemetry(self) -> protocol.Telemetry:
        """The meters, once."""
        self.send(protocol.Subscribe(10.0))
        found = next(m for m in self.messages(ANSWER_S) if isinstance(m, protocol.Telemetry))
        self.send(protocol.Subscribe(0.0))
        self._socket.settimeout(ANSWER_S)
        return found


def server_command(rack: str = "") -> list[str]:
    """How the server is started; NAFX_RACK_SERVER names another command."""
    own = os.environ.get("NAFX_RACK_SERVER")
    command = shlex.split(own) if own else [sys.executable, "-m", "rack.server"]
    return [*command, *(("--rack", rack) if rack else ())]


def start(rack: str = "") -> Connection:
    """A connection to the server, which is started first where none runs: detached, in a session of its own."""
    try:
        return Connection()
    except NoServer:
        pass
    say("starting the server")
    process = _spawn(rack)
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        ended = process.poll()
        if ended is not None and ended != 3:  # 3: another one was quicker, and will listen in a moment
            raise RackError(f"the server cannot start: {_last_line(paths.log_path('start'))}")
        try:
            connection = Connection()
        except NoServer:
            time.sleep(0.02)
            continue
        process.returncode = process.returncode or 0  # it lives on without us
        return connection
    raise RackError(f"the server does not come up; see {paths.log_path('server')}")


def _spawn(rack: str) -> subprocess.Popen:
    environment = dict(os.environ)
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():  # it need not be installed
        found = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(checkout), found]))
    log_path = paths.log_path("start")
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(log_path, "wb") as log:
            return subprocess.Popen(
                server_command(rack),
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise RackError(f"the server cannot start: {error.filename or ''}: {error.strerror or error}") from None


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"it said nothing; see {paths.log_path('server')}"


def stop() -> bool:
    """End the server and all its processes; answers whether there was one. One that does not answer is killed."""
    lock = paths.lock_path()
    pid = holder(lock)
    if pid is None:
        return False
    try:
        with Connection() as connection:
            connection.set("stop", True)
    except RackError:
        _signal(pid, signal.SIGTERM)
    if not _gone(lock, STOP_S):
        _signal(holder(lock) or pid, signal.SIGKILL)  # another may hold it by now: several were started at once
        if not _gone(lock, STOP_S):
            raise RackError(f"the server (process {pid}) does not end")
    return True


def _gone(lock: Path, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while holder(lock) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _signal(pid: int, number: int) -> None:
    if pid > 1:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def say(text: str) -> None:
    """A line for the person at the terminal, out of the way of what programs read."""
    print(text, file=sys.stderr, flush=True)
