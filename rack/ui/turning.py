"""What a hand does to a knob, as arithmetic: steps, drags, and which turns belong to one gesture."""

from __future__ import annotations

from rack.catalogue import KnobInfo

DECIBEL_STEP = 0.5
FINE = 0.1
COARSE = 10
DRAG_CELLS = 20  # a drag over so many cells turns a knob all the way
BURST_S = 0.7  # presses closer together than this are one gesture


def nudge(info: KnobInfo, value: float, steps: float) -> float:
    """The value so many steps further: 0.5 dB, one label, or for anything else 1 % of the travel."""
    if info.labels:
        whole = round(steps) or (1 if steps > 0 else -1)
        return _within(info, round(value) + whole)
    if info.unit == "dB" and info.curve == "linear":
        return _within(info, value + steps * DECIBEL_STEP)
    return at(info, info.position(value) + steps / 100)


def at(info: KnobInfo, position: float) -> float:
    """The value at a position; a knob with labels stops at each of them."""
    value = info.value(position)
    return _within(info, round(value) if info.labels else value)


def drag(info: KnobInfo, start: float, cells: float, fine: bool) -> float:
    """The value after dragging upwards by `cells` from where the knob stood at `start`."""
    return at(info, info.position(start) + cells / DRAG_CELLS * (FINE if fine else 1.0))


def _within(info: KnobInfo, value: float) -> float:
    # Six digits: repeated steps must not end in 0.30000000000000004.
    return float(f"{min(max(value, info.low), info.high):.6g}")


def exact(info: KnobInfo, value: float) -> str:
    """A value in full precision with its unit."""
    return info.format(value) if info.labels else f"{value:.5g} {info.unit}".strip()


def span(info: KnobInfo) -> str:
    """What a knob can be set to, and where it starts: -15..15 dB, default 0."""
    if info.labels:
        return " | ".join(info.labels)
    return f"{info.low:g} .. {info.high:g} {info.unit}".rstrip() + f", default {info.default:.4g}"


class Gestures:
    """Numbers that tell the server which changes are one undo step."""

    def __init__(self) -> None:
        self._last = 0
        self._burst = ("", 0.0, 0)  # what was turned, when, and its gesture

    def new(self) -> int:
        """A gesture of its own: a drag, a typed value."""
        self._last += 1
        self._burst = ("", 0.0, 0)
        return self._last

    def burst(self, key: str, now_s: float) -> int:
        """The gesture of a key press: the one before, while presses on the same thing follow each other closely."""
        name, then, gesture = self._burst
        if name != key or now_s - then > BURST_S:
            gesture = self.new()
        self._burst = (key, now_s, gesture)
        return gesture
