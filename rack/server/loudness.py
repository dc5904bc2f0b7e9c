"""How loud A and B are, so that neither seems better for being louder.

Measured is what a rack makes of its input: power out over power in, of the same moments, so that a quiet passage of the
music does not count against the side that happens to play it. The louder one is turned down (`state.trim_db`).
"""

from __future__ import annotations

import math

import numpy as np

WINDOW_S = 10.0  # so far back a side's level is remembered
ENOUGH_S = 1.0  # of sound, before a side's level is believed
SILENCE = 1e-6  # mean square of the input, below which nothing is measured
WORTH_DB = 0.3  # a level that differs by less is left as it was


class Side:
    """One of A and B: mean powers of input and output."""

    def __init__(self) -> None:
        self.seconds, self._powers = 0.0, np.zeros(2)

    def hear(self, frames: np.ndarray, rate: int, trim_db: float) -> None:
        """Frames [N, 2] of input and output, the latter with a trim already in it."""
        powers = np.square(frames, dtype=np.float64).mean(axis=0) if len(frames) else np.zeros(2)
        if not np.isfinite(powers).all() or powers[0] < SILENCE:
            return
        powers[1] *= 10 ** (-trim_db / 10)
        seconds = len(frames) / rate
        self.seconds = min(self.seconds + seconds, WINDOW_S)
        self._powers += (powers - self._powers) * seconds / self.seconds

    def changed(self) -> None:
        """The side sounds different from here on: what was heard before counts less."""
        self.seconds = min(self.seconds, ENOUGH_S / 10)

    @property
    def level_db(self) -> float | None:
        """Output over input, or None where too little was heard."""
        if self.seconds < ENOUGH_S or self._powers[1] <= 0:
            return None
        return 10 * math.log10(self._powers[1] / self._powers[0])
