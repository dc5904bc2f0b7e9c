"""The tape thread: keeps the looped file ahead of the engine, and writes down what the engine records.

Both tapes are rings in shared memory, so that the engine never touches a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..shared import CHANNELS, TAPE, Shared, put, take
from .wav import WavWriter

AHEAD_S = 0.75  # how far the tape is kept ahead of the engine
TICK_S = 0.1
PIECE = 8192  # frames decoded or written at once


class TapeError(Exception):
    """A sound file that cannot be played; the text says why, without the file's name."""


def check_sound(path: str) -> str:
    """What keeps a file from being played, or nothing."""
    try:
        Loop(Path(path), 48000).close()
    except TapeError as error:
        return str(error)
    return ""


class Loop:
    """A sound file, decoded piece by piece, over and over, at the rack's rate; mono on both channels."""

    def __init__(self, path: Path, rate: int):
        self.path, self.rate = path, rate
        try:
            self._file = soundfile.SoundFile(str(path))
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            raise TapeError(f"is no sound file that can be read: {getattr(error, 'error_string', error)}") from None
        if self._file.frames <= 0:
            self._file.close()
            raise TapeError("is an empty sound file")
        other = self._file.samplerate != rate
        self._resample = soxr.ResampleStream(self._file.samplerate, rate, CHANNELS, "float32", "HQ") if other else None
        self._left = np.zeros((0, CHANNELS), np.float32)

    def read(self, count: int) -> np.ndarray:
        """The next `count` frames [count, 2]. Raises TapeError when the file cannot be read any more."""
        parts, have = [self._left], len(self._left)
        while have < count:
            part = self._decode()
            parts.append(part)
            have += len(part)
        joined = np.concatenate(parts)
        self._left = joined[count:]
        return joined[:count]

    def _decode(self) -> np.ndarray:
        try:
            block = self._file.read(PIECE, dtype="float32", always_2d=True)
            if not len(block):
                self._file.seek(0)
                block = self._file.read(PIECE, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
            raise TapeError(f"cannot be read any more: {error}") from None
        if not len(block):
            raise TapeError("has become empty")
        block = block[:, :CHANNELS] if block.shape[1] >= CHANNELS else np.repeat(block[:, :1], CHANNELS, axis=1)
        if not np.isfinite(block).all():
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        block = np.ascontiguousarray(block)
        return self._resample.resample_chunk(block) if self._resample else block

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Tape:
    """Plays one loop and writes one recording, in a thread of its own.

    `report(text, recording)` is called from that thread when something ended by itself: `recording` tells which.
    """

    def __init__(self, shared: Shared, report: Callable[[str, bool], object]):
        self._shared, self._report = shared, report
        self._lock, self._wake, self._closed = threading.Lock(), threading.Event(), False
        self._loop: Loop | None = None
        self._wav: WavWriter | None = None
        self._thread = threading.Thread(target=self._run, name="tape", daemon=True)
        self._thread.start()

    # --- the loop

    def play(self, path: Path | None, rate: int) -> None:
        """Play this file from its first frame, or nothing more. Raises TapeError, and then nothing has changed.

        What is left of the file before stays on the tape, and the engine is told to fade out of it and skip the rest.
        """
        loop = Loop(path, rate) if path else None
        with self._lock:
            old, self._loop = self._loop, loop
            if old:
                old.close()
            start = int(self._shared.tape_written[0])
            self._fill(start)
            self._shared.tape_from[0] = start
        self._wake.set()

    def _fill(self, read: int) -> None:
        """Write ahead of the engine, which stands at frame `read`."""
        loop = self._loop
        if loop is None:
            return
        written = int(self._shared.tape_written[0])
        missing = read + min(int(AHEAD_S * loop.rate), TAPE // 2) - written
        try:
            while missing > 0:
                count = min(missing, PIECE)
                put(self._shared.tape, self._shared.tape_written, loop.read(count))
                missing -= count
        except TapeError as error:
            self._loop = None
            loop.close()
            self._report(f"{loop.path} {error}", False)

    # --- the recording

    def record(self, path: Path, *, rate: int, channels: int) -> None:
        """Write what is recorded from now on into this file. Raises OSError, and then nothing has changed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        wav = WavWriter(path, rate=rate, channels=channels)
        with self._lock:
            self._shared.record_read[0] = self._shared.record_written[0]
            self._wav = wav
        self._wake.set()

    @property
    def recorded_s(self) -> float:
        """Length of the recording so far."""
        wav = self._wav
        return wav.seconds if wav else 0.0

    def finish(self, settle_s: float) -> float:
        """Write what is left and close the file; answers its length in seconds.

        The engine has been told to stop; it is taken at its word when nothing has come for `settle_s`.
        """
        seen = -1
        while (now := int(self._shared.record_written[0])) != seen:
            seen = now
            time.sleep(settle_s)
        with self._lock:
            self._drain()
            wav, self._wav = self._wav, None
        if wav is None:
            return 0.0
        wav.close()
        return wav.seconds

    def _drain(self) -> None:
        if self._wav is None:
            return
        try:
            while (count := int(self._shared.record_written[0] - self._shared.record_read[0])) > 0:
                block = np.empty((min(count, PIECE), CHANNELS), np.float32)
                take(self._shared.record, int(self._shared.record_read[0]), block)
                self._wav.write(block)
                self._shared.record_read[0] += len(block)
                if self._wav.full:
                    raise OSError(None, "a WAV file holds no more than 4 GiB")
        except OSError as error:
            wav, self._wav = self._wav, None
            try:
                wav.close()
            except OSError:
                pass
            self._report(f"{wav.path}: {error.strerror or error}; recording stopped at {wav.seconds:.1f} s", True)

    # --- the thread

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                self._fill(max(int(self._shared.tape_read[0]), int(self._shared.tape_from[0])))
                self._drain()
                busy = self._loop is not None or self._wav is not None
            self._wake.wait(TICK_S if busy else None)
            self._wake.clear()

    def close(self) -> None:
        """End the thread; a recording that is still open is closed as it is."""
        self._closed = True
        self._wake.set()
        self._thread.join(2.0)
        if self._loop:
            self._loop.close()
        if self._wav:
            self._drain()
        if self._wav:
            self._wav.close()
            self._wav = None
