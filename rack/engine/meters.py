"""What the callback measures about a block, without allocating more than a few small arrays."""

from __future__ import annotations

import numpy as np

from rack.shared import SCOPE, Shared, put

FULL_SCALE = 0.9999
CLIP_RUN = 3  # samples in a row at full scale


def meter(shared: Shared, x: np.ndarray, y: np.ndarray) -> None:
    """Peaks, clips and scope of one block: input and output `[T, C]`."""
    _side(x, shared.peak_in, shared.clipped_in)
    _side(y, shared.peak_out, shared.clipped_out)
    scope = np.empty((min(len(x), SCOPE), 2), np.float32)
    np.add(x[-SCOPE:, 0], x[-SCOPE:, -1], out=scope[:, 0])
    np.add(y[-SCOPE:, 0], y[-SCOPE:, -1], out=scope[:, 1])
    scope *= 0.5
    put(shared.scope, shared.scope_written, scope)


def _side(block: np.ndarray, peak: np.ndarray, clipped: np.ndarray) -> None:
    size = np.abs(block)
    for c, largest in enumerate(np.maximum.reduce(size, axis=0).tolist()):
        if largest > peak[c]:
            peak[c] = largest
        if largest >= FULL_SCALE:
            full = size[:, c] >= FULL_SCALE
            if (full[2:] & full[1:-1] & full[:-2]).any():
                clipped[0] += 1


class Deadlines:
    """Which blocks were late: block n is due one period after the stream's own n-th tick.

    The ticks are where the callbacks would start if nothing ever held them up: the earliest start of the last WINDOW
    callbacks sets the grid, which so follows the device's clock. A callback that starts more than a period behind
    stands for blocks that never ran, or that wait behind it (their callbacks then come early): late, all of them. A
    driver begins a new count of time after such a gap, and so does the grid.
    """

    WINDOW = 64

    def __init__(self, period_s: float):
        self.period = period_s
        self.base = 0.0
        self.ticks = 0  # of the stream, those that never got a callback included
        self.late = 0
        self.skipped = 0
        self._least, self._seen = float("inf"), 0  # lag in this window

    def block(self, start: float, end: float) -> None:
        """Count a callback by the times at which it began and ended, in seconds of one clock."""
        if self.ticks == 0:
            self.base = start
        lag = start - (self.base + self.ticks * self.period)
        if lag > self.period:
            missed = int(lag / self.period)
            self.ticks, self.skipped, self.late = self.ticks + missed, self.skipped + missed, self.late + missed
            self.base += lag - missed * self.period
            self._least, self._seen = float("inf"), 0
            lag = 0.0
        elif lag < -0.5 * self.period and self.skipped:
            queued = min(self.skipped, round(-lag / self.period))
            self.ticks, self.skipped = self.ticks - queued, self.skipped - queued
            lag += queued * self.period
        self._follow(lag)
        if end > self.base + (self.ticks + 1) * self.period:
            self.late += 1
        self.ticks += 1

    def _follow(self, lag: float) -> None:
        """Move the grid to the earliest start: at once where one is early, once a window where all are late."""
        self._least, self._seen = min(self._least, lag), self._seen + 1
        if lag < 0:
            self.base += lag
            self._least = 0.0
        if self._seen >= self.WINDOW:
            self.base += self._least
            self._least, self._seen = float("inf"), 0
