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

    The ticks are where the callbacks would start if nothing ever held them up: the earliest starts seen set the grid,
    and the grid drifts after the device's clock by at most 100 ppm. A callback that starts more than a period behind
    stands for blocks that never ran, or that wait behind it (their callbacks then come early): late, all of them.
    """

    DRIFT = 1e-4

    def __init__(self, period_s: float):
        self.period = period_s
        self.base = None
        self.ticks = 0  # of the stream, those that never got a callback included
        self.late = 0
        self.skipped = 0

    def block(self, start: float, end: float) -> None:
        """Count a callback by the times at which it began and ended, in seconds of one clock."""
        if self.base is None:
            self.base = start
        lag = start - (self.base + self.ticks * self.period)
        if lag > self.period:
            missed = int(lag / self.period)
            self.ticks, self.skipped, self.late = self.ticks + missed, self.skipped + missed, self.late + missed
            lag -= missed * self.period
        elif lag < -0.5 * self.period and self.skipped:
            queued = min(self.skipped, round(-lag / self.period))
            self.ticks, self.skipped = self.ticks - queued, self.skipped - queued
            lag += queued * self.period
        if lag < 0:
            self.base += lag
        else:
            self.base += min(lag, self.DRIFT * self.period)
        if end > self.base + (self.ticks + 1) * self.period:
            self.late += 1
        self.ticks += 1
