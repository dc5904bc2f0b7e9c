"""Whether captures are fed as they were made to be: a word for each that hears too much or too little.

Captures are made with signals that fill the scale and cannot exceed it. What is louder at the model, nobody ever showed
it; and what stays far below, it was shown so rarely that it plays nearly clean.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from ..protocol import SlotView
from .line import LIMITER_ID

HOT_DB = 1.0  # dBFS peak at the model
QUIET_DB = -40.0
NOTHING_DB = -70.0  # nobody plays
LOOK_BACK_S = 5.0


class Hints:
    """Remembers the peaks that each capture heard in the last few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last = clock()
        self._heard: dict[str, deque[tuple[float, float, float]]] = {}  # from when, to when, dBFS

    def update(self, slots: Sequence[SlotView], levels_db: Sequence[float | None], input_db: float) -> tuple[str, ...]:
        """The hints of now.

        levels_db  the peak behind each slot since the last call, dBFS; None where a slot does not play
        input_db   the peak before the first one
        """
        now, since, hints = self._clock(), self._last, []
        self._last = now
        heard: dict[str, deque] = {}
        for slot, behind in zip(slots, levels_db, strict=True):
            if behind is None:
                continue
            if slot.input_db is not None and not slot.bypass:
                times = heard[slot.id] = self._heard.get(slot.id, deque())
                times.append((since, now, input_db + slot.input_db + _trim_db(slot)))
                while times[0][1] < now - LOOK_BACK_S:
                    times.popleft()
                hints += _hint(slot, max(level for _, _, level in times), now - times[0][0])
            input_db = behind
        self._heard = heard
        return tuple(hints)


def _trim_db(slot: SlotView) -> float:
    """Where the slot's own input trim stands; of a blend the higher one."""
    trims = [v for knob, v in zip(slot.knobs, slot.values, strict=True) if knob.name in _TRIMS]
    return max(trims, default=0.0)


_TRIMS = ("input_db", "a_input_db", "b_input_db")


def _hint(slot: SlotView, loudest_db: float, seconds: float) -> list[str]:
    if loudest_db > HOT_DB:
        return [f"{slot.id}: too hot for its capture, above the full scale that it was made with; turn input_db down"]
    calibrated = slot.input_db != 0
    if NOTHING_DB < loudest_db < QUIET_DB and seconds >= LOOK_BACK_S and not calibrated:
        return [f"{slot.id}: too quiet for its capture, below {QUIET_DB:.0f} dBFS; turn input_db up, or the sound card"]
    return []


def in_words(kind: str, text: str, slot: str | None) -> str:
    """A trouble of the engine for people; `slot` is whose it is, "" the limiter's, None nobody's."""
    name = f"slot {slot}" if slot else "the limiter" if slot == LIMITER_ID else "the rack"
    said = {
        "nonfinite": f"{name} made something that is no sound; it was silenced and begins anew",
        "exception": f"an error in the audio callback: {text}",
        "late": f"blocks come late: {text}",
    }
    return said.get(kind, text)
