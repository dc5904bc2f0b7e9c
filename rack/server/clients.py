"""The clients: who is let in, what they ask, and what they are sent. A client can do nothing to the server but ask."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from .. import __version__
from ..errors import RackError
from ..examples import SuperPlace
from ..jobs import JobLine
from ..maps import Ground
from ..protocol import (
    FromClient,
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
    View,
    frame,
)

logger = logging.getLogger(__name__)

HELLO_S = 5.0
LONGEST_BACKLOG = 4 << 20  # bytes that a client has not read, after which it is taken for dead
FASTEST_HZ = 60.0
REMEMBERED = 20  # notices that wait for somebody to look at the screen


class Client:
    """One connection."""

    def __init__(self, number: int, writer: asyncio.StreamWriter, kind: str):
        self.number, self.writer, self.kind = number, writer, kind
        self.subscription = Subscribe(0.0)
        self.telemetry: asyncio.Task | None = None

    def send(self, message: Any) -> None:
        """Put a message into the client's buffer; never waits. A client that does not read is dropped."""
        self.put(frame(message))

    def put(self, data: bytes) -> None:
        """The same for a message that is bytes already."""
        if self.writer.is_closing():
            return
        self.writer.write(data)
        if self.writer.transport.get_write_buffer_size() > LONGEST_BACKLOG:
            logger.warning("client %d does not read; it is dropped", self.number)
            self.writer.transport.abort()

    @property
    def keeping_up(self) -> bool:
        """Whether all that it was sent is on its way."""
        return not self.writer.is_closing() and self.writer.transport.get_write_buffer_size() == 0


class Clients:
    """All of them. The functions are the server's: its view, its telemetry, and its answers to Set and Get."""

    def __init__(
        self,
        view: Callable[[], View],
        telemetry: Callable[[bool], Telemetry],
        change: Callable[[str, Any, tuple], Awaitable[Any]],
        read: Callable[[str], Any],
    ):
        self._view, self._telemetry, self._change, self._value = view, telemetry, change, read
        self._clients: dict[int, Client] = {}
        self._count = 0
        self._sequence = 0
        self._unseen: deque[Notice] = deque(maxlen=REMEMBERED)
        self._reader = Reader(FromClient)
        self._tasks: set[asyncio.Task] = set()
        self.map_wanted: Callable[[], None] = lambda: None  # called when a client begins to watch the map

    # --- to everybody

    def snapshot(self) -> None:
        """Everything, to everybody."""
        self._sequence += 1
        self._broadcast(Snapshot(self._sequence, self._view()))

    def turned(self, key: str, value: float) -> None:
        """One knob, to everybody."""
        self._sequence += 1
        self._broadcast(Turned(self._sequence, key, value))

    def moved(self, place: SuperPlace) -> None:
        """The SuperKnob, to everybody."""
        self._sequence += 1
        self._broadcast(Moved(self._sequence, place))

    def figure(self, line: JobLine) -> None:
        """A job's new figures, to everybody."""
        self._broadcast(line)

    def notice(self, level: str, text: str) -> None:
        """A line, to everybody; kept for the next one who looks, if nobody does now."""
        logger.log({"error": logging.ERROR, "warning": logging.WARNING}.get(level, logging.INFO), "%s", text)
        notice = Notice(level, text)
        if not any(client.kind != "cli" for client in self._clients.values()):
            self._unseen.append(notice)
        self._broadcast(notice)

    def ground(self, message: Ground) -> None:
        """The map behind the pad, to those that watch it."""
        for client in self._clients.values():
            if client.subscription.map:
                client.send(message)

    @property
    def map_watched(self) -> bool:
        """Whether anybody watches the map."""
        return any(client.subscription.map for client in self._clients.values())

    def _broadcast(self, message: Any) -> None:
        data = frame(message)
        for client in list(self._clients.values()):
            client.put(data)

    # --- one connection

    async def serve(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection from beginning to end; whatever a client does ends with it."""
        self._tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        client = None
        try:
            client = await self._admit(stream, writer)
            if client:
                await self._listen(client, stream)
        except (EOFError, OSError, TimeoutError):
            pass
        except asyncio.CancelledError:
            pass  # the server ends
        except Exception:
            logger.exception("client %s", client.number if client else "?")
        finally:
            self._tasks.discard(task)  # type: ignore[arg-type]
            if client:
                self._clients.pop(client.number, None)
                if client.telemetry:
                    client.telemetry.cancel()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _admit(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Client | None:
        user = peer_user(writer.get_extra_info("socket"))
        if user is not None and user != os.getuid():
            logger.warning("user %d was refused", user)
            return None
        async with asyncio.timeout(HELLO_S):
            hello = await self._reader.read(stream)
        if not isinstance(hello, Hello) or hello.version != __version__:
            theirs = hello.version if isinstance(hello, Hello) else "unknown"
            said = f"this server is of version {__version__}, the client of {theirs}"
            writer.write(frame(Notice("error", f"{said}; run nafx-rack stop and start again")))
            return None
        self._count += 1
        client = self._clients[self._count] = Client(self._count, writer, hello.client)
        client.send(Snapshot(self._sequence, self._view()))
        if client.kind != "cli":
            while self._unseen:
                client.send(self._unseen.popleft())
        return client

    async def _listen(self, client: Client, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                message = await self._reader.read(stream)
            except ConnectionError as error:
                client.send(Notice("error", str(error)))
                return
            match message:
                case Set(key, value, request, gesture):
                    whose = (client.number, gesture) if gesture else ()
                    await self._answer(client, request, self._change(key, value, whose))
                case Get(key, request):
                    await self._answer(client, request, self._read(key))
                case Subscribe():
                    self._subscribe(client, message)

    async def _read(self, key: str) -> Any:
        return self._value(key)

    async def _answer(self, client: Client, request: int, work: Awaitable[Any]) -> None:
        """Do what was asked. Errors go into the reply, or into a notice where no reply was asked for."""
        value, error = None, ""
        try:
            value = await work
        except RackError as wrong:
            error = str(wrong)
        except Exception as wrong:  # ours, not the client's: it gets a line, the log the whole story
            logger.exception("request of client %d", client.number)
            error = f"the server could not do this: {type(wrong).__name__}: {wrong}"
        if request:
            try:
                client.send(Reply(request, value, error))
            except (TypeError, ValueError, msgspec.MsgspecError):
                client.send(Reply(request, None, "the value cannot be sent"))
        elif error:
            client.send(Notice("error", error))

    def _subscribe(self, client: Client, wanted: Subscribe) -> None:
        begins = wanted.map and not client.subscription.map
        client.subscription = wanted
        if begins:
            self.map_wanted()
        if client.telemetry:
            client.telemetry.cancel()
            client.telemetry = None
        if wanted.rate_hz > 0:  # which NaN is not
            client.telemetry = asyncio.create_task(self._feed(client, 1 / min(wanted.rate_hz, FASTEST_HZ)))

    async def _feed(self, client: Client, period_s: float) -> None:
        """Telemetry at the client's own rate; what a slow line does not take is not sent."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while not client.writer.is_closing():
            if client.keeping_up:
                client.send(self._telemetry(client.subscription.scope))
            due = max(due + period_s, clock())
            await asyncio.sleep(min(due - clock(), 3600.0))

    async def close(self) -> None:
        """Let everybody go; what they were sent still reaches them."""
        tasks = list(self._tasks)
        for client in list(self._clients.values()):
            client.writer.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def peer_user(connection: socket.socket) -> int | None:
    """The user at the other end; None where the system does not tell (the folder's mode keeps others out there)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user
