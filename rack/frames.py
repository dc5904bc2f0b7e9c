"""Messages on a stream: a length of four bytes, then msgpack."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import msgspec

MAX_FRAME = 64 << 20  # bytes

_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode


def frame(message: msgspec.Struct) -> bytes:
    """A message as bytes on the wire."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Decodes frames of one union of messages. Raises ConnectionError on a frame that cannot be one."""

    def __init__(self, messages: Any):
        self._decode = msgspec.msgpack.Decoder(messages).decode

    def decode(self, body: bytes):
        try:
            return self._decode(body)
        except msgspec.DecodeError as error:
            raise ConnectionError(f"a message that this version does not know: {error}") from None

    async def read(self, stream: asyncio.StreamReader):
        """The next message; raises EOFError (IncompleteReadError) at the end of the stream."""
        length = self._length(await stream.readexactly(4))
        return self.decode(await stream.readexactly(length))

    def receive(self, connection: socket.socket):
        """The next message from a blocking socket; raises EOFError at its end."""
        length = self._length(_exactly(connection, 4))
        return self.decode(_exactly(connection, length))

    @staticmethod
    def _length(head: bytes) -> int:
        (length,) = _LENGTH.unpack(head)
        if length > MAX_FRAME:
            raise ConnectionError(f"a frame of {length} bytes; at most {MAX_FRAME} are allowed")
        return length


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError("the other process closed the connection")
        parts += part
    return bytes(parts)
