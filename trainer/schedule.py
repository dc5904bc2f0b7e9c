"""How far a run is, what its learning rate is there, and what its newest weights count for."""

from __future__ import annotations

import math

from .config import Schedule

DROPS = (0.8, 0.95)  # of the run; the rate is a tenth after each (steerable-nafx)
PLATEAU_PATIENCE, PLATEAU_FACTOR = 5, 0.5  # validations without a better one, and what happens then (CoreAudioML)
LOWEST = 0.01  # of the rate, at the end of a cosine


def progress(schedule: Schedule, step: int, elapsed: float) -> float:
    """0..1: by steps where the run says how many, else by the clock."""
    return min(1.0, step / schedule.steps if schedule.steps else elapsed / schedule.seconds)


def rate(schedule: Schedule, done: float) -> float:
    """The learning rate when this much of the run is done."""
    factor = 1.0
    if schedule.decay == "cosine":
        factor = LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * done))
    elif schedule.decay == "drops":
        factor = 0.1 ** sum(done >= at for at in DROPS)
    rising = min(1.0, (done + 1e-4) / schedule.rise) if schedule.rise else 1.0
    return schedule.learning_rate * factor * rising


def share(schedule: Schedule, step: int) -> float:
    """Of the newest weights in the mean: those of about the last `average` of the steps count (Shamir and Zhang, ICML
    2013), whatever their number."""
    return 1 / (1 + schedule.average * step)
