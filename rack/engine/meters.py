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

    A device whose own period is `burst` of our blocks asks for as many in a row and then sleeps: they are due together,
    when the next of its periods begins. How many it asks for is seen from where it sleeps.
    """

    WINDOW = 64
    SLEEP = 0.05  # of a period; a device that does nothing for longer has slept
    MOST = 32  # blocks in a burst: 64 samples on a period of 2,048

    def __init__(self, period_s: float):
        self.period = period_s
        self.burst = 1
        self.base = 0.0
        self.ticks = 0  # of the stream, those that never got a callback included
        self.late = 0
        self.skipped = 0
        self._least = float("inf")  # lag in this window
        self._asked, self._late_before = 0, 0  # blocks in this window; late ones before it
        self._ended, self._woken, self._run = 0.0, 0.0, 0  # last end; last start after a sleep, and blocks since
        self._runs = [0] * (self.MOST + 2)  # how often so many came in a row, in this window; the last: even more

    def block(self, start: float, end: float) -> None:
        """Count a callback by the times at which it began and ended, in seconds of one clock."""
        self._watch(start)
        if self.ticks == 0:
            self.base = start
        place, span = self.ticks % self.burst, self.burst * self.period
        if place == 0:
            self._begin(start - (self.base + self.ticks * self.period), span)
        if end > self.base + (self.ticks - place) * self.period + span:
            self.late += 1
        self.ticks += 1
        self._run += 1
        self._ended = end

    def _begin(self, lag: float, span: float) -> None:
        """The first block of a burst, that much behind the grid."""
        if lag > span:
            missed = int(lag / span) * self.burst
            self.ticks, self.skipped, self.late = self.ticks + missed, self.skipped + missed, self.late + missed
            self.base += lag - missed * self.period
            self._least = float("inf")
            lag = 0.0
        elif lag < -0.5 * span and self.skipped:
            queued = min(self.skipped, round(-lag / span) * self.burst)
            self.ticks, self.skipped = self.ticks - queued, self.skipped - queued
            lag += queued * self.period
        self._least = min(self._least, lag)
        if lag < 0:  # the grid is at the earliest start: at once where one is early, once a window where all are late
            self.base += lag
            self._least = 0.0

    def _watch(self, start: float) -> None:
        """See where the device slept, and once a window how many blocks it asks for in a row."""
        if start - self._ended > self.SLEEP * self.period:
            self._runs[min(self._run, self.MOST + 1)] += 1
            self._woken, self._run = start, 0
            if self.ticks % self.burst:  # it was not where it was thought to be
                self.base, self.ticks = start, 0
        self._asked += 1
        if self._asked < self.WINDOW:
            return
        usual = max(range(1, self.MOST + 1), key=lambda run: run * self._runs[run])
        if usual != self.burst and usual * self._runs[usual] >= 0.75 * self.WINDOW:
            self.burst, self.base, self.ticks = usual, self._woken, self._run
            self.skipped, self.late, self._least = 0, self._late_before, float("inf")
        if self._least < float("inf"):
            self.base += self._least
        self._least = float("inf")
        self._asked, self._late_before = 0, self.late
        for run in range(len(self._runs)):
            self._runs[run] = 0
