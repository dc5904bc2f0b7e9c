"""How often to draw what moves by itself, so that a slow link never lags behind the hand.

Textual queues whole frames for its writer thread, and a thirty frame queue on a slow line is seconds old. So meters,
scope and followers ask here first; what a person does is always drawn at once.
"""

from __future__ import annotations

from collections.abc import Callable

SKIPS = 3  # frames skipped in a row before the rate is halved
SLOWEST = 8  # of the full rate, at least every eighth frame
RECOVER_S = 3.0


def writer_backlog(app) -> int | None:
    """Frames that wait to be written, or None where Textual does not say (the attribute is private)."""
    try:
        return app._driver._writer_thread._queue.qsize()
    except AttributeError:
        return None


class Governor:
    """Says of each tick whether to draw. `backlog` counts waiting frames; where it cannot, late ticks stand for it."""

    def __init__(self, rate_hz: float, backlog: Callable[[], int | None], clock: Callable[[], float]):
        self.rate_hz, self._backlog, self._clock = rate_hz, backlog, clock
        self._every, self._count, self._skipped, self._good = 1, 0, 0, 0
        self._before = clock()

    @property
    def link_hz(self) -> float:
        """The rate that the link takes now."""
        return self.rate_hz / self._every

    def admit(self) -> bool:
        """Called `rate_hz` times a second."""
        now, before = self._clock(), self._before
        self._before = now
        waiting = self._backlog()
        if waiting is None:
            waiting = int(now - before > 2.5 / self.rate_hz)
        if waiting:
            self._skipped += 1
            if self._skipped % SKIPS == 0:
                self._every, self._good = min(self._every * 2, SLOWEST), 0
            return False
        self._skipped, self._good = 0, self._good + 1
        if self._good >= RECOVER_S * self.rate_hz:
            self._every, self._good = max(self._every // 2, 1), 0
        self._count = (self._count + 1) % self._every
        return self._count == 0
