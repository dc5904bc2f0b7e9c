"""The connection to the server: sends changes, keeps the latest telemetry, and comes back by itself when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rack import __version__
from rack.jobs import JobLine
from rack.maps import Ground
from rack.protocol import (
    FromServer,
    Get,
    Hello,
    Moved,
    Notice,
    Reader,
    Reply,
    Set,
    Snapshot,
    Subscribe,
    Telemetry,
    Turned,
    frame,
)

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 2.0
Message = Snapshot | Turned | Moved | Notice | Reply | JobLine | Ground


class Client:
    """Talks to the server at `path` once `run` is going.

    `on_message` gets every message but telemetry, of which only the newest counts: it lies in `telemetry`.
    `on_link` is called with "" when the connection is up and with the reason when it breaks.
    """

    def __init__(self, path: str, on_message: Callable[[Message], Any], on_link: Callable[[str], Any]):
        self.path = path
        self.telemetry = Telemetry()
        self.connected = False
        self._on_message, self._on_link = on_message, on_link
        self._writer: asyncio.StreamWriter | None = None
        self._subscription = Subscribe(0.0)
        self._requests = 0
        self._waiting: dict[int, asyncio.Future] = {}

    async def run(self) -> None:
        """Connect and read until cancelled; tries again, ever less often, when the server is not there."""
        wait = FIRST_RETRY_S
        while True:
            try:
                await self._session()
                reason = "the server closed the connection"
            except (OSError, EOFError, ConnectionError) as error:
                reason = str(error) or type(error).__name__
            if self.connected:
                wait = FIRST_RETRY_S
            self.connected = False
            self._fail_waiting(reason)
            self._on_link(reason)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY_S)

    async def _session(self) -> None:
        stream, self._writer = await asyncio.open_unix_connection(self.path)
        reader = Reader(FromServer)
        try:
            self.send(Hello(version=__version__, client="ui"))
            if self._subscription != Subscribe(0.0):
                self.send(self._subscription)
            while True:
                message = await reader.read(stream)
                if isinstance(message, Telemetry):
                    self.telemetry = message
                    continue
                if isinstance(message, Snapshot) and not self.connected:
                    self.connected = True
                    self._on_link("")
                if isinstance(message, Notice) and message.level == "error" and not self.connected:
                    raise ConnectionError(message.text)  # why the server does not want us
                if isinstance(message, Reply) and message.request in self._waiting:
                    self._answer(message)
                else:
                    self._on_message(message)
        finally:
            writer, self._writer = self._writer, None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _answer(self, reply: Reply) -> None:
        future = self._waiting.pop(reply.request)
        if not future.done():
            future.set_result(reply)

    def _fail_waiting(self, reason: str) -> None:
        for request in list(self._waiting):
            self._answer(Reply(request=request, error=reason))

    def send(self, message: Hello | Set | Get | Subscribe) -> bool:
        """Put a message on the wire; False where there is none."""
        if self._writer is None or self._writer.is_closing():
            return False
        self._writer.write(frame(message))
        return True

    def set(self, key: str, value: Any, gesture: int = 0) -> bool:
        """Change one thing; the answer is an echo, or a notice where the server refuses."""
        return self.send(Set(key=key, value=value, gesture=gesture))

    async def ask(self, key: str, value: Any = None, gesture: int = 0, *, read: bool = False) -> Reply:
        """Set (or with `read` get) one thing and wait for the answer; its `error` says what went wrong."""
        self._requests += 1
        number = self._requests
        change = Set(key=key, value=value, request=number, gesture=gesture)
        message = Get(key=key, request=number) if read else change
        if not self.send(message):
            return Reply(request=number, error="not connected to the server")
        self._waiting[number] = asyncio.get_running_loop().create_future()
        return await self._waiting[number]

    def subscribe(self, rate_hz: float, scope: bool, map: bool = False) -> None:
        """How much telemetry to send from now on, and after every reconnection; and whether to draw the pad's map."""
        wanted = Subscribe(rate_hz=rate_hz, scope=scope, map=map)
        if wanted != self._subscription:
            self._subscription = wanted
            self.send(wanted)
