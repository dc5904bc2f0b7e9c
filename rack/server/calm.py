"""Whether training makes the sound late: what the queue of jobs pauses by. No clock, no files.

Looked at once a second: blocks played and blocks late so far. What the machine shows without training is the measure;
where training adds more than a little to it, the job rests for a while, each time for longer. What is late in that
rest is not the job's doing, and raises the measure.
"""

from __future__ import annotations

from collections import deque

WINDOW = 10  # looks
FACTOR, ADDED, LEAST = 2.0, 0.003, 6  # late blocks allowed: so often what the machine shows, and so much more; a few
REST, LONGEST_REST = 15, 60  # looks, doubled with each rest
FALL, RISE = 1 / 2, 1 / 16  # a look's part in what is usual: what is less, what is more
SETTLE = 13  # looks after which what is seen is of the rest alone: a trainer ends its step first
LONG_AGO = 200  # looks without a rest, after which the next one is short again


class Calm:
    """`look` answers whether the job should rest now; `why` says it in words."""

    def __init__(self):
        self._seen: deque[tuple[int, int]] = deque(maxlen=WINDOW + 1)
        self.resting, self.why = False, ""
        self._usual = 0.0  # share of late blocks without training
        self._wait, self._since = REST, 0

    def begin(self) -> None:
        """A job begins or goes on, by whoever's will."""
        self.resting, self.why, self._since = False, "", 0
        self._seen.clear()

    def look(self, blocks: int, late: int, training: bool) -> bool:
        """The counters now; ones that are smaller than before belong to a new stream."""
        if self._seen and (blocks < self._seen[-1][0] or late < self._seen[-1][1]):
            self._seen.clear()
        self._seen.append((blocks, late))
        (first, late_first), (last, late_last) = self._seen[0], self._seen[-1]
        played, missed = last - first, late_last - late_first
        share, whole = missed / max(1, played), len(self._seen) > WINDOW
        self._since += 1
        if not training or self.resting:
            if whole and self._since > SETTLE:  # a rack that was just built, or a key, is late for a moment
                self._usual += (share - self._usual) * (FALL if share < self._usual else RISE)
            if self.resting and self._since >= self._wait:
                self._wait = min(2 * self._wait, LONGEST_REST)
                self.begin()
        elif missed >= LEAST and whole and share > FACTOR * self._usual + ADDED:
            self.begin()
            self.resting, self.why = True, f"paused while late blocks rise: {missed} of the last {played}"
        elif self._since > LONG_AGO:
            self._wait = REST
        return self.resting
