"""The memory that server and engine share: knob targets, meters, and the two tapes.

One anonymous file, mapped by both; every value in it has one writer. Single float32 and int64 stores are atomic on the
machines we run on, so there are no locks; rings carry counters that only grow.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np

ROWS = 64  # slots that can exist at once, those fading out included
KNOBS = 32  # targets of a row: [0] is 1 for on and 0 for bypass, then the knob positions
CHANNELS = 2
TAPE = 1 << 17  # frames of each tape ring (2.7 s at 48 kHz)
SCOPE = 1 << 12  # frames of the scope ring

_FIELDS = {
    # written by the server
    "targets": ((ROWS, KNOBS), np.float32),
    "tape": ((TAPE, CHANNELS), np.float32),
    "tape_written": ((1,), np.int64),  # frames ever put on the tape
    "tape_from": ((1,), np.int64),  # frames before this one belong to an earlier source: skip them
    "record_read": ((1,), np.int64),
    # written by the engine
    "tape_read": ((1,), np.int64),
    "record": ((TAPE, CHANNELS), np.float32),
    "record_written": ((1,), np.int64),
    "blocks": ((1,), np.int64),  # callbacks since the stream started
    "late": ((1,), np.int64),  # of them, those that missed their deadline
    "nonfinite": ((1,), np.int64),
    "errors": ((1,), np.int64),
    "starved": ((1,), np.int64),  # blocks for which the tape was empty
    "lost": ((1,), np.int64),  # recorded frames that found no room
    "busy_us": ((1,), np.float64),  # callback time, one-pole average
    "times_us": ((1 << 17,), np.float32),  # callback time of each block, a ring indexed by `blocks`
    "peak_in": ((CHANNELS,), np.float32),  # largest since the reader last cleared it
    "peak_out": ((CHANNELS,), np.float32),
    "clipped_in": ((1,), np.int64),  # runs of 3 samples at full scale
    "clipped_out": ((1,), np.int64),
    "peaks": ((ROWS,), np.float32),
    "scope": ((SCOPE, 2), np.float32),  # input, output, both mono
    "scope_written": ((1,), np.int64),
}


class Shared:
    """Named numpy arrays over one shared file; `Shared()` creates it, `Shared(fd)` maps a parent's."""

    targets: np.ndarray
    tape: np.ndarray
    tape_written: np.ndarray
    tape_from: np.ndarray
    record_read: np.ndarray
    tape_read: np.ndarray
    record: np.ndarray
    record_written: np.ndarray
    blocks: np.ndarray
    late: np.ndarray
    nonfinite: np.ndarray
    errors: np.ndarray
    starved: np.ndarray
    lost: np.ndarray
    busy_us: np.ndarray
    times_us: np.ndarray
    peak_in: np.ndarray
    peak_out: np.ndarray
    clipped_in: np.ndarray
    clipped_out: np.ndarray
    peaks: np.ndarray
    scope: np.ndarray
    scope_written: np.ndarray

    def __init__(self, fd: int | None = None):
        layout, size = {}, 0
        for name, (shape, kind) in _FIELDS.items():
            layout[name] = (size, shape, kind)
            size += -(-int(np.prod(shape)) * np.dtype(kind).itemsize // 64) * 64
        if fd is None:
            folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
            with tempfile.TemporaryFile(prefix="nafx-rack-", dir=folder) as file:
                fd = os.dup(file.fileno())
            os.ftruncate(fd, size)
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        for name, (start, shape, kind) in layout.items():
            view = np.frombuffer(self._map, kind, int(np.prod(shape)), start).reshape(shape)
            setattr(self, name, view)


def put(ring: np.ndarray, written: np.ndarray, block: np.ndarray) -> None:
    """Append frames to a ring and move its counter; the caller has made sure that there is room."""
    size, at, count = len(ring), int(written[0]) % len(ring), len(block)
    first = min(count, size - at)
    ring[at : at + first] = block[:first]
    if first < count:
        ring[: count - first] = block[first:]
    written[0] += count


def take(ring: np.ndarray, at: int, into: np.ndarray) -> None:
    """Copy the frames from counter `at` on into a buffer."""
    size, at, count = len(ring), at % len(ring), len(into)
    first = min(count, size - at)
    into[:first] = ring[at : at + first]
    if first < count:
        into[first:] = ring[: count - first]
