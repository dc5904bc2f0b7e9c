"""Meters as people expect them: peaks that fall slowly and hold, clipping that stays lit until it is seen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from ..protocol import Telemetry
from ..shared import CHANNELS, SCOPE, Shared, take

SILENCE_DB = -120.0
FALL_DB_PER_S = 20 / 1.7  # IEC 60268-18, Type I: 20 dB in 1.7 s
HOLD_S = 1.5
SCOPE_S = 0.02
OFTEN_S = 0.01  # the engine's peaks are collected at most this often


def decibels(peak: float) -> float:
    """A peak as dBFS, from -120 up."""
    return max(20 * math.log10(peak), SILENCE_DB) if peak > 1e-6 else SILENCE_DB


class Level:
    """One bar of a meter."""

    def __init__(self) -> None:
        self.level_db = self.hold_db = self.max_db = SILENCE_DB
        self._held_since = -math.inf

    def update(self, peak_db: float, now: float, elapsed: float) -> None:
        """The largest peak since the last call; `now` and `elapsed` in seconds."""
        self.level_db = max(peak_db, self.level_db - FALL_DB_PER_S * elapsed, SILENCE_DB)
        self.max_db = max(self.max_db, peak_db)
        if peak_db >= self.hold_db:
            self.hold_db, self._held_since = peak_db, now
        elif now - self._held_since > HOLD_S:
            self.hold_db = max(self.level_db, self.hold_db - FALL_DB_PER_S * elapsed)


class Meters:
    """Reads the engine's peaks, load and scope from shared memory."""

    def __init__(self, shared: Shared, clock: Callable[[], float] = time.monotonic):
        self.shared, self._clock = shared, clock
        self._last = clock()
        self.input = [Level() for _ in range(CHANNELS)]
        self.output = [Level() for _ in range(CHANNELS)]
        self.slots: dict[int, Level] = {}
        self.reset()

    def reset(self) -> None:
        """Forget clipping and the largest levels."""
        self._unclipped = self._clips()
        for level in (*self.input, *self.output):
            level.max_db = level.level_db

    def update(self) -> None:
        """Collect what the engine has seen since the last time."""
        now = self._clock()
        elapsed = now - self._last
        if elapsed < OFTEN_S:
            return
        self._last = now
        for levels, peaks in ((self.input, self.shared.peak_in), (self.output, self.shared.peak_out)):
            for channel, level in enumerate(levels):
                level.update(_collect(peaks, channel), now, elapsed)
        # a new engine may count from 0 again
        self._unclipped = tuple(min(pair) for pair in zip(self._unclipped, self._clips(), strict=True))
        for row in np.flatnonzero(self.shared.peaks):
            self.slots.setdefault(int(row), Level())
        for row, level in self.slots.items():
            level.update(_collect(self.shared.peaks, row), now, elapsed)

    def telemetry(
        self, rows: Sequence[int | None], *, channels: int, rate: int, block: int, recorded_s: float, scope: bool
    ) -> Telemetry:
        """What a client is shown; `rows` are the slots' rows in the engine, None where a slot does not play."""
        self.update()
        shared, silent = self.shared, Level()
        clips = [now > seen for now, seen in zip(self._clips(), self._unclipped, strict=True)]
        slots = [silent if row is None else self.slots.get(row, silent) for row in rows]
        heard, sent = self._scope(rate) if scope else (b"", b"")
        return Telemetry(
            input_db=_rounded(level.level_db for level in self.input[:channels]),
            output_db=_rounded(level.level_db for level in self.output[:channels]),
            input_hold_db=_rounded(level.hold_db for level in self.input[:channels]),
            output_hold_db=_rounded(level.hold_db for level in self.output[:channels]),
            input_clip=clips[0],
            output_clip=clips[1],
            input_max_db=round(max(level.max_db for level in self.input[:channels]), 1),
            output_max_db=round(max(level.max_db for level in self.output[:channels]), 1),
            slots_db=_rounded(level.level_db for level in slots),
            load=round(float(shared.busy_us[0]) * 1e-6 * rate / block, 4),
            late=int(shared.late[0]),
            blocks=int(shared.blocks[0]),
            recorded_s=round(recorded_s, 2),
            scope_in=heard,
            scope_out=sent,
        )

    def _clips(self) -> tuple[int, ...]:
        return int(self.shared.clipped_in[0]), int(self.shared.clipped_out[0])

    def _scope(self, rate: int) -> tuple[bytes, bytes]:
        """The last 20 ms, input and output, as float32."""
        count = min(int(rate * SCOPE_S), SCOPE // 2)
        last = np.zeros((count, 2), np.float32)
        written = int(self.shared.scope_written[0])
        if written >= count:
            take(self.shared.scope, written - count, last)
        return last[:, 0].tobytes(), last[:, 1].tobytes()


def _collect(peaks: np.ndarray, place: int) -> float:
    peak = float(peaks[place])
    peaks[place] = 0.0
    return decibels(peak) if math.isfinite(peak) else SILENCE_DB


def _rounded(levels) -> tuple[float, ...]:
    return tuple(round(level, 1) for level in levels)
