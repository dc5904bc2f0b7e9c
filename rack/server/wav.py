"""A WAV file that can be read at any moment while it is written: the header is put right with every piece."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

MOST_BYTES = (1 << 32) - (1 << 20)  # sizes in a RIFF header have 32 bits
_HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")


class WavWriter:
    """32-bit float WAV. Raises OSError as files do; never overwrites one that is there."""

    def __init__(self, path: Path, *, rate: int, channels: int):
        self.path, self.rate, self.channels, self.frames = path, rate, channels, 0
        self._file = open(path, "xb", buffering=0)
        self._file.write(self._header())

    @property
    def seconds(self) -> float:
        """How much has been written."""
        return self.frames / self.rate

    @property
    def full(self) -> bool:
        """Whether the format has no room for another second."""
        return (self.frames + self.rate) * self.channels * 4 > MOST_BYTES

    def write(self, block: np.ndarray) -> None:
        """Append frames [T, C]; the file is whole again when this returns."""
        data = np.ascontiguousarray(block[:, : self.channels], "<f4").tobytes()
        self._file.seek(0, os.SEEK_END)
        view = memoryview(data)
        while view:  # a nearly full disk takes a part
            view = view[self._file.write(view) :]
        self.frames += len(block)
        self._file.seek(0)
        self._file.write(self._header())

    def close(self) -> None:
        """Make sure that it is on the disk."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _header(self) -> bytes:
        size, frame = self.frames * self.channels * 4, self.channels * 4
        layout = (3, self.channels, self.rate, self.rate * frame, frame, 32, 0)  # 3: IEEE float
        riff = (b"RIFF", _HEADER.size - 8 + size, b"WAVE", b"fmt ", 18)
        return _HEADER.pack(*riff, *layout, b"fact", 4, self.frames, b"data", size)
