"""Whether the sound comes late, and whether training is to blame: what the queue of jobs pauses by. No clock, no files.

Looked at once a second: blocks played and blocks late so far. When more than a few are late the job is paused; it goes
on when the sound has been calm for a while, each time for longer. Where pausing does not help, the job goes on: then
something else makes the sound late.
"""

from __future__ import annotations

from collections import deque

WINDOW = 5  # looks
LATE_SHARE, LATE_LEAST = 0.005, 3  # of the blocks of a window, and how many at least
CALM, LONGEST_CALM = 10, 120  # looks without lateness before the job goes on; doubled with each pause
NO_HELP = 30  # looks of a pause as late as before it: it is not the job
BLAMELESS = 300  # looks for which it is not paused again then


class Calm:
    """`look(blocks, late)` answers whether the job should rest now; `why` says it in words."""

    def __init__(self):
        self._seen: deque[tuple[int, int]] = deque(maxlen=WINDOW + 1)
        self.resting, self.why = False, ""
        self._wait, self._quiet, self._rested, self._blameless = CALM, 0, 0, 0
        self._share = 0.0  # of late blocks, when the pause began

    def look(self, blocks: int, late: int) -> bool:
        """The counters now; ones that are smaller than before belong to a new stream."""
        if self._seen and (blocks < self._seen[-1][0] or late < self._seen[-1][1]):
            self._seen.clear()
        self._seen.append((blocks, late))
        (first, late_first), (last, late_last) = self._seen[0], self._seen[-1]
        played, missed = last - first, late_last - late_first
        share = missed / played if played else 0.0
        rough = missed >= LATE_LEAST and share > LATE_SHARE
        self._blameless = max(0, self._blameless - 1)
        if not self.resting:
            self._calmer()
            if rough and not self._blameless:
                self.resting, self._quiet, self._rested, self._share = True, 0, 0, share
                self.why = f"paused while late blocks rise: {missed} of the last {played}"
            return self.resting
        self._rested += 1
        self._quiet = 0 if rough else self._quiet + 1
        if self._quiet >= self._wait:
            self.resting, self._wait, self.why = False, min(2 * self._wait, LONGEST_CALM), ""
        elif self._rested >= NO_HELP and rough and share > self._share / 2:
            self.resting, self._blameless = False, BLAMELESS
            self.why = "blocks are late with the training and without it; it goes on (a larger block may help)"
        return self.resting

    def _calmer(self) -> None:
        """After a long time without a pause the next one is short again."""
        self._quiet += 1
        if self._quiet > 20 * CALM:
            self._wait = CALM
